"""What a GPU can do, as facts for the planner, and the precisions that kernels compute in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnngen.errors import DeviceError, TargetError

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
class Architecture:
    """One compute capability. `processors` is that of its usual large card, `shared` the bytes a block may use."""

    name: str
    processors: int
    shared: int
    precisions: frozenset[str] = frozenset(PRECISIONS)


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture("sm_75", 40, 64 << 10, frozenset({"fp32", "fp16"})),
        Architecture("sm_80", 108, 163 << 10),
        Architecture("sm_86", 84, 99 << 10),
        Architecture("sm_89", 128, 99 << 10),
        Architecture("sm_90", 132, 227 << 10),
        Architecture("sm_100", 148, 227 << 10),
        Architecture("sm_120", 170, 99 << 10),
    )
}
"""CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability"."""

DEFAULT_ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90")


@dataclass(frozen=True)
class CudaTarget:
    """What code is generated for: architectures, all of which get the same kernels, and a precision."""

    architectures: tuple[Architecture, ...]
    precision: Precision
    emulated: bool = False

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

    @property
    def processors(self) -> int:
        """Multiprocessors of the largest card; the planner makes enough blocks for them."""
        return max(architecture.processors for architecture in self.architectures)


def architecture_for(capability: tuple[int, int]) -> str:
    """The architecture to compile for, for a GPU of this compute capability: its own, or one whose code it runs.

    Cubins run on a GPU of the same major and a higher minor capability, PTX on every later one (CUDA C++ Programming
    Guide, "Binary Compatibility"). Raises `DeviceError` for a GPU that is older than all of them.
    """
    number = 10 * capability[0] + capability[1]
    numbers = {int(name.removeprefix("sm_")): name for name in ARCHITECTURES}
    older = [known for known in numbers if known <= number]
    if not older:
        raise DeviceError(
            f"the GPU has compute capability {capability[0]}.{capability[1]}; kernels are written for "
            f"{numbers[min(numbers)]} and newer",
            remedy="use another GPU, or target='cpu'",
        )
    same = [known for known in older if known // 10 == capability[0]]
    return numbers[max(same or older)]


def resolve(architectures: str, precision: str, *, emulated: bool = False) -> CudaTarget:
    """The target for a comma-separated list of architectures, or `native`, and a precision.

    Raises `TargetError` for unknown names, and for a precision that an architecture lacks.
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
    return CudaTarget(tuple(ARCHITECTURES[name] for name in chosen), PRECISIONS[precision], emulated)
