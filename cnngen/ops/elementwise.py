"""Element by element arithmetic on two or more tensors, broadcast against each other as in NumPy.

Along every axis the sizes are equal, or 1 for a tensor that is the same everywhere along it. Every result
is rounded from left to right, as NumPy does: ``a - b`` of two, ``a + b + c`` as ``(a + b) + c``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.activation import Activation, activated
from cnngen.ops.base import (
    POINTWISE,
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    Bound,
    Cost,
    Everything,
    Field,
    Op,
    Types,
    Weights,
    Window,
)
from cnngen.ops.elementary import power, power_roundings

AXES = {4: ("batch", "height", "width", "channels"), 2: ("batch", "features")}
SMALLEST_DENORMAL = SMALLEST_NORMAL * UNIT_ROUNDOFF
"""2^-150: half the distance of denormal numbers."""
POWER_OPERATIONS = 12
"""An exponential and a logarithm, beside the product that is counted already."""


@dataclass(frozen=True)
class Elementwise(Op):
    """Base: `most` is the largest number of inputs, None where there is no limit."""

    activation: Activation | None = None
    most: ClassVar[int | None] = None

    def infer(self, inputs: Types) -> TensorType:
        if len(inputs) < 2 or (self.most is not None and len(inputs) > self.most):
            count = "at least two inputs" if self.most is None else f"exactly {self.most} inputs"
            raise ShapeError(f"{self.kind} needs {count}, and has {len(inputs)}", remedy="list them under inputs:")
        shapes = " and ".join(map(str, inputs))
        rank = max(len(tensor.shape) for tensor in inputs)
        names = AXES.get(rank, ())
        aligned = [(1,) * (rank - len(tensor.shape)) + tensor.shape for tensor in inputs]
        for axis, sizes in enumerate(zip(*aligned, strict=True)):
            if len({size for size in sizes if size != 1}) > 1:
                name = names[axis] if names else f"axis {axis}"
                raise ShapeError(
                    f"{self.kind} takes tensors whose sizes are equal or 1 along each axis, not {shapes} "
                    f"({name} {' and '.join(map(str, sizes))})",
                    remedy=self._remedy(inputs),
                )
        return TensorType(np.broadcast_shapes(*(tensor.shape for tensor in inputs)))

    def keeps_batch(self, inputs: Types, constant: Sequence[bool]) -> bool:
        rank = max(len(tensor.shape) for tensor in inputs)
        return rank > 0 and all(
            (len(tensor.shape) < rank or tensor.shape[0] == 1) if same else len(tensor.shape) == rank
            for tensor, same in zip(inputs, constant, strict=True)
        )

    def seen(self, inputs: Types, position: int) -> Field:
        """Receptive-field step of input number `position`: one that is broadcast is repeated along that axis."""
        own, output = inputs[position].shape, self.infer(inputs).shape
        if len(own) == len(output) == 4:
            return Window(repeat=(output[1] // own[1], output[2] // own[2]))
        return POINTWISE if own[1:] == output[1:] else Everything()

    def _remedy(self, inputs: Types) -> str:
        if len({len(tensor.shape) for tensor in inputs}) > 1:
            return "axes are aligned from the last: reshape the flat one to an image of one pixel, [1, 1, channels]"
        return "match stride and filters of the branches, for example by a 1x1 conv2d"

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        activation = self.activation.rule.operations if self.activation else 0
        return Cost(other=output.elements * (len(inputs) - 1 + activation))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # infinities and NaN are results
            value = self.combine(inputs)
        return self.activation.evaluate(value) if self.activation else value

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return activated(self.combined_bound(inputs), self.activation)

    @abstractmethod
    def combine(self, inputs: Sequence[Array]) -> Array:
        """The result in front of the activation."""

    @abstractmethod
    def combined_bound(self, inputs: Sequence[Array]) -> Bound:
        """The bound in front of the activation."""


@dataclass(frozen=True)
class Add(Elementwise):
    """Sum of two or more tensors, then the activation."""

    def combine(self, inputs: Sequence[Array]) -> Array:
        return _reduce(np.add, inputs)

    def combined_bound(self, inputs: Sequence[Array]) -> Bound:
        magnitude = _reduce(np.add, [np.abs(x) for x in inputs])
        return Bound.of_sum(self.combine(inputs), magnitude, len(inputs) - 1)


@dataclass(frozen=True)
class Sub(Elementwise):
    """Difference of two tensors, then the activation."""

    most: ClassVar[int | None] = 2

    def combine(self, inputs: Sequence[Array]) -> Array:
        return _reduce(np.subtract, inputs)

    def combined_bound(self, inputs: Sequence[Array]) -> Bound:
        return _rounded_once(self.combine(inputs))


@dataclass(frozen=True)
class Mul(Elementwise):
    """Product of two or more tensors, then the activation."""

    def combine(self, inputs: Sequence[Array]) -> Array:
        return _reduce(np.multiply, inputs)

    def combined_bound(self, inputs: Sequence[Array]) -> Bound:
        value = self.combine(inputs)
        found = Bound.of_sum(value, np.abs(value), len(inputs) - 1)
        # A partial product that is denormal is off by up to half a denormal, which the factors behind it enlarge.
        lost: Array = np.zeros(())
        for x in inputs[2:]:
            lost = (lost + SMALLEST_DENORMAL) * np.abs(x)
        return Bound(value, found.limit + 2 * lost, found.alarm + 2 * lost)


@dataclass(frozen=True)
class Div(Elementwise):
    """Quotient of two tensors, then the activation. By zero it is infinite, or NaN for 0 / 0."""

    most: ClassVar[int | None] = 2

    def combine(self, inputs: Sequence[Array]) -> Array:
        return _reduce(np.divide, inputs)

    def combined_bound(self, inputs: Sequence[Array]) -> Bound:
        return _rounded_once(self.combine(inputs))


@dataclass(frozen=True)
class Power(Elementwise):
    """The first of two tensors to the power of the second, then the activation.

    NaN where the base is negative and the exponent not whole, and 1 for the exponent 0 and the base 1, as in C.
    """

    most: ClassVar[int | None] = 2

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        cost = super().cost(inputs, output)
        return Cost(other=cost.other + POWER_OPERATIONS * output.elements)

    def combine(self, inputs: Sequence[Array]) -> Array:
        return power(*inputs)

    def combined_bound(self, inputs: Sequence[Array]) -> Bound:
        value = self.combine(inputs)
        size = np.where(np.isfinite(value), np.abs(value), 0.0)  # infinities and NaN are exact
        limit = power_roundings(*inputs) * UNIT_ROUNDOFF * size + SMALLEST_NORMAL
        return Bound(value, limit, limit)


@dataclass(frozen=True)
class Maximum(Elementwise):
    """The largest of two or more tensors, NaN where one is NaN; then the activation."""

    def combine(self, inputs: Sequence[Array]) -> Array:
        return _reduce(np.maximum, inputs)

    def combined_bound(self, inputs: Sequence[Array]) -> Bound:
        return Bound.exact(self.combine(inputs))


@dataclass(frozen=True)
class Minimum(Elementwise):
    """The smallest of two or more tensors, NaN where one is NaN; then the activation."""

    def combine(self, inputs: Sequence[Array]) -> Array:
        return _reduce(np.minimum, inputs)

    def combined_bound(self, inputs: Sequence[Array]) -> Bound:
        return Bound.exact(self.combine(inputs))


def _reduce(function: np.ufunc, inputs: Sequence[Array]) -> Array:
    """From left to right."""
    result = inputs[0]
    for x in inputs[1:]:
        result = function(result, x)
    return np.asarray(result)


def _rounded_once(value: Array) -> Bound:
    """One correctly rounded operation: relative to the result itself, whatever cancels in it."""
    return Bound.of_sum(value, np.abs(value), 1)
