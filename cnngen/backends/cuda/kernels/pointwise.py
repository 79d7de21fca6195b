"""Kernels with one thread for each element, or for each vector of channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.cuda.kernels.base import CudaKernel, Launch, Strides, ceil_div


@dataclass(frozen=True)
class CopyKernel(CudaKernel):
    """A copy between any two layouts and precisions: transposition, concatenation, conversion."""

    template: ClassVar[str] = "copy.cu.j2"
    threads: ClassVar[int] = 256
    shape: tuple[int, int, int, int]
    in_strides: Strides
    out_strides: Strides
    input_type: str
    output_type: str

    @property
    def label(self) -> str:
        return "copy_" + "x".join(map(str, self.shape))

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def launch(self) -> Launch:
        return Launch((ceil_div(self.elements, self.threads), 1, 1), self.threads)
