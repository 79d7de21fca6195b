"""What all kernels share: the base class, loops over output pixels, the epilogue, C literals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.text import c_float, called
from cnngen.errors import PlanError
from cnngen.ops import Activation

Strides = tuple[int, int, int, int]


@dataclass(frozen=True)
class Epilogue:
    """What happens to a result before it is stored."""

    activation: Activation | None = None

    def apply(self, variable: str) -> str:
        """The C expression for the activated `variable` (functions of vector_math.h)."""
        if self.activation is None:
            return variable
        return called(self.activation, variable, lambda value: f"v_set1({c_float(value)})")

    @property
    def passes_maxima(self) -> bool:
        """Whether it never falls, so that of a maximum it is the maximum of its values, bit for bit."""
        return self.activation is None or self.activation.function in ("relu", "relu6")

    @property
    def long(self) -> bool:
        """Whether its code is kept out of loops around it: all but relu, whose only constant is zero.

        A compiler would load its constants once, in front of the loops, and keep them in registers that the sums
        need: convolutions with relu6 measured up to 1.6, with silu up to 2 times as slow.
        """
        return self.activation is not None and self.activation.function != "relu"

    @property
    def divides(self) -> bool:
        """Whether it takes a division for each vector, which has a unit of its own."""
        return self.activation is not None and self.activation.function in ("sigmoid", "silu", "swish")

    @property
    def suffix(self) -> str:
        """Part of a kernel's name."""
        return f"_{self.activation.function}" if self.activation else ""


@dataclass(frozen=True)
class Kernel:
    """Base: `template` is the file under `templates/c/`, `lanes` the vector width it is made for."""

    template: ClassVar[str]
    lanes: int

    @property
    def label(self) -> str:
        """Name of the specialisation, without the ISA."""
        raise NotImplementedError

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        """Floats in each packed parameter array."""
        return ()

    def verify(self) -> None:
        """Raise `PlanError` unless the tiles cover every output element exactly once."""


@dataclass(frozen=True)
class Axis:
    """One loop over output pixels: `count` steps, each so many floats further in every operand."""

    count: int
    input: int
    output: int
    residual: int = 0


@dataclass(frozen=True)
class Strip:
    """`repeat` register tiles of `pixels` pixels side by side, beginning at pixel `first`."""

    first: int
    pixels: int
    repeat: int


def verify_strips(strips: tuple[Strip, ...], columns: int) -> None:
    """Raise `PlanError` unless `strips` cover `columns` pixels exactly once, in order."""
    end = 0
    for strip in strips:
        if strip.first != end:
            raise PlanError(f"strip {strip} begins at {strip.first}, not at {end}")
        end += strip.pixels * strip.repeat
    if end != columns:
        raise PlanError(f"strips {strips} cover {end} of {columns} pixels")
