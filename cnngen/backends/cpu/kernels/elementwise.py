"""The kernel that works element by element, on one tensor or on several that are broadcast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from cnngen.backends.cpu.kernels.base import Epilogue, Kernel, Strides
from cnngen.errors import PlanError

Arithmetic = Literal["add", "sub", "mul", "div", "pow", "maximum", "minimum"]
Operation = Literal["map", "affine", "prelu"] | Arithmetic
"""What is done to the operands: nothing, scale and shift, a slope below zero, or arithmetic from left to right."""

FUNCTIONS = {
    "add": "v_add",
    "sub": "v_sub",
    "mul": "v_mul",
    "div": "v_div",
    "pow": "v_pow",
    "maximum": "v_max_nan",
    "minimum": "v_min_nan",
}
SIGNS = {"add": " + ", "sub": " - ", "mul": " * ", "div": " / "}
PARAMETERS = {"affine": ("scale", "shift"), "prelu": ("alpha",)}
"""Arrays with a value for each channel."""
HELD_VECTORS = 8
"""So many registers at most hold operands that are the same in every pixel of a row."""


@dataclass(frozen=True)
class ElementwiseKernel(Kernel):
    """The operation on all operands, then the epilogue; vectorised over channels.

    `in_strides` are 0 along the axes on which an operand is broadcast. Such an operand is not read for
    every pixel: one value for all channels is spread over a vector once, and channels that are the same
    along a row are held in registers where they fit.
    """

    template: ClassVar[str] = "elementwise.c.j2"
    shape: tuple[int, int, int, int]
    in_strides: tuple[Strides, ...]
    out_strides: Strides
    operation: Operation
    epilogue: Epilogue

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        names = [(position, self.broadcast(position)) for position in range(len(self.in_strides))]
        suffix = "".join(f"_x{position}{axes}" for position, axes in names if axes)
        return f"{self.operation}{len(self.in_strides)}_c{c}_p{n * h * w}{suffix}{self.epilogue.suffix}"

    @property
    def title(self) -> str:
        """The formula, and which operands are the same along which axes."""
        operands = [f"x{position}" for position in range(len(self.in_strides))]
        match self.operation:
            case "map":
                text = str(self.epilogue.activation) if self.epilogue.activation else "copy"
            case "affine":
                text = "scale and shift of each channel"
            case "prelu":
                text = "a slope for each channel below zero"
            case "maximum" | "minimum" | "pow":
                text = f"{self.operation}({', '.join(operands)})"
            case operation:
                text = SIGNS[operation].join(operands)
        same = [(operand, self.broadcast(position)) for position, operand in enumerate(operands)]
        return text + "".join(f"; {operand} is the same along {' and '.join(axes)}" for operand, axes in same if axes)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the arrays with a value for each channel."""
        return PARAMETERS.get(self.operation, ())

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        return (self.vectors * self.lanes,) * len(self.parameters)

    @property
    def tail(self) -> int:
        return self.shape[3] % self.lanes

    @property
    def vectors(self) -> int:
        """Vectors for one pixel, the last one partly filled where there is a tail."""
        return -(-self.shape[3] // self.lanes)

    @property
    def held(self) -> tuple[int, ...]:
        """Operands that stay in registers for a row of pixels; the channels are then written out one by one."""
        still = tuple(i for i in range(len(self.in_strides)) if self.still(i) and not self.spread(i))
        return still if len(still) * self.vectors <= HELD_VECTORS else ()

    def broadcast(self, position: int) -> str:
        """The axes, of n, h, w and c, along which an operand is the same."""
        strides = self.in_strides[position]
        axes = zip("nhwc", self.shape, strides, strict=True)
        return "".join(name for name, size, stride in axes if size > 1 and stride == 0)

    def spread(self, position: int) -> bool:
        """Whether an operand has one value for all channels."""
        return "c" in self.broadcast(position)

    def still(self, position: int) -> bool:
        """Whether an operand is the same in every pixel of a row, and there are several."""
        return "w" in self.broadcast(position)

    def combined(self, a: str, b: str) -> str:
        """The C expression for `a` with the next operand `b`."""
        return f"{FUNCTIONS[self.operation]}({a}, {b})"

    def adjusted(self, a: str, channel: str | int) -> str:
        """The C expression for `a` with the parameters from `channel` on."""
        offset = f" + {channel}" if channel else ""
        arguments = ", ".join([a, *(f"v_load({name}{offset})" for name in self.parameters)])
        return f"{'v_fma' if self.operation == 'affine' else 'act_leaky_relu'}({arguments})"

    def verify(self) -> None:
        arithmetic = self.operation in FUNCTIONS
        if arithmetic != (len(self.in_strides) > 1):
            raise PlanError(f"{self.operation} of {len(self.in_strides)} operands")
        if any(size > 1 and not stride for size, stride in zip(self.shape, self.out_strides, strict=True)):
            raise PlanError(f"strides {self.out_strides} of the output write several elements to one place")
        if any(strides[3] not in (0, 1) for strides in self.in_strides) or self.out_strides[3] != 1:
            raise PlanError("channels do not lie side by side")
