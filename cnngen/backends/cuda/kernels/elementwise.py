"""The kernel that works element by element, on one tensor or on several that are broadcast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.cuda.kernels.base import Epilogue, ItemKernel, Strides
from cnngen.errors import PlanError

FORMULAS = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "power": "powf({}, {})",
    "maximum": "max_nan({}, {})",
    "minimum": "min_nan({}, {})",
}
"""Arithmetic from left to right; `map`, `affine` and `prelu` have one operand."""
PARAMETERS = {"affine": ("scale", "shift"), "prelu": ("alpha",)}
"""Arrays with a value for each channel."""


@dataclass(frozen=True)
class ElementwiseKernel(ItemKernel):
    """The operation on all operands, then the epilogue. Strides are 0 along axes on which an operand is broadcast."""

    template: ClassVar[str] = "elementwise.cu.j2"
    shape: tuple[int, int, int, int]
    in_strides: tuple[Strides, ...]
    out_strides: Strides
    input_type: str
    output_type: str
    vector: int
    operation: str
    epilogue: Epilogue

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        broadcast = "".join(
            f"_b{position}{''.join('nhwc'[axis] for axis in range(4) if not strides[axis] and self.shape[axis] > 1)}"
            for position, strides in enumerate(self.in_strides)
            if any(not strides[axis] and self.shape[axis] > 1 for axis in range(4))
        )
        return f"{self.operation}{len(self.in_strides)}_c{c}_p{n * h * w}{broadcast}{self.epilogue.suffix}"

    @property
    def title(self) -> str:
        match self.operation:
            case "map":
                return str(self.epilogue.activation or "copy")
            case "affine":
                return "scale and shift of each channel"
            case "prelu":
                return "a slope for each channel below zero"
        return f"{self.operation} of {len(self.in_strides)} tensors"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the arrays with a value for each channel."""
        return PARAMETERS.get(self.operation, ())

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        return (self.shape[3],) * len(self.parameters)

    @property
    def others(self) -> range:
        """Operands behind the first one."""
        return range(1, len(self.in_strides))

    @property
    def vectors(self) -> int:
        return self.shape[3] // self.vector

    @property
    def items(self) -> int:
        """Threads with something to do."""
        return math.prod(self.shape[:3]) * self.vectors

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Where `pixel` lies along the axes on which it matters: declarations."""
        _, height, width, _ = self.shape
        ways = (f"n = pixel / {height * width}", f"h = pixel / {width} % {height}", f"w = pixel % {width}")
        strides = (*self.in_strides, self.out_strides)
        return tuple(way for axis, way in enumerate(ways) if any(each[axis] for each in strides))

    def operand(self, position: int) -> str:
        """The expression for operand number `position` at channel `c + v`."""
        return f"to_float(v{position}.values[v])" if self.in_strides[position][3] else f"s{position}"

    def combine(self, left: str, right: str) -> str:
        return FORMULAS[self.operation].format(left, right)

    def position(self, strides: Strides) -> str:
        """The offset of pixel (n, h, w)."""
        return "".join(f" + {axis} * {stride}" for axis, stride in zip("nhw", strides, strict=False) if stride)

    def verify(self) -> None:
        if self.shape[3] % self.vector:
            raise PlanError(f"vectors of {self.vector} do not fill {self.shape[3]} channels")
        if len(self.in_strides) > 1 and self.operation not in FORMULAS:
            raise PlanError(f"{self.operation} has one operand, not {len(self.in_strides)}")
