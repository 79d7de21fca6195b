"""Kernels with one thread for each element, or for each vector of channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.cuda.kernels.base import CudaKernel, Epilogue, ItemKernel, Launch, Strides, ceil_div
from cnngen.backends.text import c_float


@dataclass(frozen=True)
class LrnKernel(ItemKernel):
    """Local response normalisation across channels, a thread for each element."""

    template: ClassVar[str] = "lrn.cu.j2"
    shape: tuple[int, int, int, int]
    in_strides: Strides
    out_strides: Strides
    input_type: str
    output_type: str
    size: int
    alpha: float
    beta: float
    bias: float

    @property
    def label(self) -> str:
        return f"lrn{self.size}_c{self.channels}_p{self.pixels}"

    @property
    def pixels(self) -> int:
        return math.prod(self.shape[:3])

    @property
    def channels(self) -> int:
        return self.shape[3]

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.shape[1], self.shape[2]

    @property
    def before(self) -> int:
        """Channels of the window below the own one."""
        return (self.size - 1) // 2

    @property
    def scale(self) -> str:
        return c_float(self.alpha / self.size)

    @property
    def bias_literal(self) -> str:
        return c_float(self.bias)

    @property
    def beta_literal(self) -> str:
        return c_float(self.beta)

    @property
    def items(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class SoftmaxKernel(CudaKernel):
    """Softmax over the channels, or its logarithm; a warp for each pixel."""

    template: ClassVar[str] = "softmax.cu.j2"
    threads: ClassVar[int] = 128
    shape: tuple[int, int, int, int]
    in_strides: Strides
    out_strides: Strides
    input_type: str
    output_type: str
    logarithm: bool = False

    @property
    def label(self) -> str:
        return f"{'log_' if self.logarithm else ''}softmax_c{self.channels}_p{self.pixels}"

    @property
    def pixels(self) -> int:
        return math.prod(self.shape[:3])

    @property
    def channels(self) -> int:
        return self.shape[3]

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.shape[1], self.shape[2]

    @property
    def launch(self) -> Launch:
        return Launch((ceil_div(self.pixels, self.threads // 32), 1, 1), self.threads)


@dataclass(frozen=True)
class FillKernel(ItemKernel):
    """What the epilogue makes of `value`: outputs of a transposed convolution that no tap reaches, added channels."""

    template: ClassVar[str] = "fill.cu.j2"
    parameters_first: ClassVar[bool] = True
    shape: tuple[int, int, int, int]
    out_strides: Strides
    residual_strides: Strides
    output_type: str
    has_bias: bool
    has_residual: bool
    epilogue: Epilogue
    value: float = 0.0

    @property
    def value_literal(self) -> str:
        return c_float(self.value)

    @property
    def label(self) -> str:
        return f"fill_c{self.channels}_p{math.prod(self.shape[:3])}{self.epilogue.suffix}"

    @property
    def channels(self) -> int:
        return self.shape[3]

    @property
    def out_size(self) -> tuple[int, int]:
        return self.shape[1], self.shape[2]

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        return (self.channels,) if self.has_bias else ()

    @property
    def items(self) -> int:
        return math.prod(self.shape)
