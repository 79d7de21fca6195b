"""What all CUDA kernels share: the base class, the launch, the epilogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.cuda.target import Precision
from cnngen.backends.text import c_float, called
from cnngen.ops import Activation

Strides = tuple[int, int, int, int]


@dataclass(frozen=True)
class Launch:
    """How a kernel is started: blocks, threads of a block, bytes of dynamic shared memory."""

    grid: tuple[int, int, int]
    threads: int
    shared: int = 0


@dataclass(frozen=True)
class CudaKernel:
    """Base: `template` is the file under `templates/cuda/`, `precision` that of the network's tensors."""

    template: ClassVar[str]
    parameters_first: ClassVar[bool] = False
    """Whether the packed parameters come before the first input in the signature."""
    precision: Precision

    @property
    def label(self) -> str:
        """Name of the specialisation, without the precision."""
        raise NotImplementedError

    @property
    def launch(self) -> Launch:
        raise NotImplementedError

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        """Size of each packed parameter array in units of four bytes."""
        return ()

    @property
    def parameter_types(self) -> tuple[str, ...]:
        """C type of each packed parameter array."""
        return ("float",) * len(self.parameter_sizes)

    def read_type(self, position: int) -> str:
        """C type of the numbers of input number `position` that lie in the arena."""
        return self.precision.element

    @property
    def element_bytes(self) -> int:
        return self.precision.element_bytes

    def verify(self) -> None:
        """Raise `PlanError` unless the launch covers every output element exactly once."""


@dataclass(frozen=True)
class ItemKernel(CudaKernel):
    """Base of the kernels in which a thread does one of `items` pieces of work."""

    threads: ClassVar[int] = 256

    @property
    def items(self) -> int:
        """Threads with something to do."""
        raise NotImplementedError

    @property
    def launch(self) -> Launch:
        return Launch((ceil_div(self.items, self.threads), 1, 1), self.threads)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass(frozen=True)
class Epilogue:
    """What happens to a result before it is stored."""

    activation: Activation | None = None

    def apply(self, variable: str) -> str:
        """The CUDA expression for the activated `variable` (functions of activations.cuh)."""
        if self.activation is None:
            return variable
        return called(self.activation, variable, c_float)

    @property
    def suffix(self) -> str:
        """Part of a kernel's name."""
        return f"_{self.activation.function}" if self.activation else ""
