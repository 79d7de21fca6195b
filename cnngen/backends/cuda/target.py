"""What code is generated for: GPU architectures, and the precision that kernels compute in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnngen.backends.cuda.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURES, Architecture, of_device
from cnngen.backends.cuda.choices import NO_CHOICES, TileChoices
from cnngen.errors import TargetError

if TYPE_CHECKING:
    from cnngen.backends.cuda.driver import Properties

EMULATED = "cuda-emulated"
"""The target whose kernels run on this machine's CPU, for checking without a GPU."""


@dataclass(frozen=True)
class Precision:
    """How numbers are stored and multiplied; sums are always float32.

    `element` is the C type of stored tensors.
    """

    name: str
    element: str
    dtype: np.dtype[np.generic]

    @property
    def tensor_cores(self) -> bool:
        return self.name != "fp32"

    @property
    def product_taps(self) -> int:
        """Taps of one product of the tensor cores, m16n8k16 in fp16 and m16n8k8 in TF32: 32 bytes."""
        return 32 // self.element_bytes

    @property
    def element_bytes(self) -> int:
        return self.dtype.itemsize


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("fp32", "float", np.dtype(np.float32)),
        Precision("tf32", "float", np.dtype(np.float32)),
        Precision("fp16", "float16", np.dtype(np.float16)),
    )
}


@dataclass(frozen=True)
class CudaTarget:
    """What code is generated for: architectures, all of which get the same kernels, and a precision.

    The planner chooses the tiles, but for layers that are among the `choices`.
    """

    architectures: tuple[Architecture, ...]
    precision: Precision
    emulated: bool = False
    choices: TileChoices = NO_CHOICES

    @property
    def name(self) -> str:
        word = "cuda-emulated" if self.emulated else "cuda"
        return f"{word} {self.precision.name}"

    @property
    def threads(self) -> int:
        return 1

    @property
    def shared(self) -> int:
        """Bytes of shared memory that a block may use on every architecture."""
        return min(architecture.shared for architecture in self.architectures)


def resolve(architectures: str, precision: str, *, emulated: bool = False, gpu: Properties | None = None) -> CudaTarget:
    """The target for a comma-separated list of architectures, or `native`, and a precision.

    With a `gpu` the kernels are planned for that one, in place of the usual card of its architecture. Raises
    `TargetError` for unknown names, and for a precision that an architecture lacks.
    """
    if precision not in PRECISIONS:
        raise TargetError(f"unknown precision {precision!r}", remedy=f"use one of {', '.join(PRECISIONS)}")
    chosen = [name.strip() for name in architectures.split(",") if name.strip()]
    if architectures == "native":
        chosen = [name for name in DEFAULT_ARCHITECTURES if precision in ARCHITECTURES[name].precisions]
    for name in chosen:
        if name not in ARCHITECTURES:
            raise TargetError(f"unknown GPU architecture {name!r}", remedy=f"use {', '.join(ARCHITECTURES)}")
        if precision not in ARCHITECTURES[name].precisions:
            raise TargetError(f"{name} has no {precision}", remedy="use fp32 or fp16, or leave this architecture out")
    if not chosen:
        raise TargetError("no GPU architecture is named", remedy=f"use {', '.join(ARCHITECTURES)}")
    figures = dict(ARCHITECTURES)
    if gpu is not None:
        own = of_device(gpu)
        figures[own.name] = own
    return CudaTarget(tuple(figures[name] for name in chosen), PRECISIONS[precision], emulated)
