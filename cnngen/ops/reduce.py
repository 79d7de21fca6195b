"""Reductions: many elements along some axes become one."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
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
)
from cnngen.ops.function import EXP_ROUNDINGS, LOG_ROUNDINGS

Reduction = Literal[
    "mean", "sum", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "log_sum_exp"
]  # fmt: skip
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)
SMALLEST_DENORMAL = SMALLEST_NORMAL * UNIT_ROUNDOFF
"""2^-150: half the distance of denormal numbers."""


class _Over(TypedDict):
    """What NumPy's reductions take."""

    axis: tuple[int, ...]
    keepdims: bool


def reduced_shape(tensor: TensorType, axes: tuple[int, ...], keep_dims: bool) -> tuple[int, ...]:
    """What is left of a shape without the `axes`, or with sizes of 1 there. Raises `ShapeError` for wrong axes."""
    rank = len(tensor.shape)
    if len(set(axes)) < len(axes) or any(not 0 <= axis < rank for axis in axes):
        raise ShapeError(f"axes {list(axes)} of {tensor or 'a scalar'}", remedy=f"name axes of 0 to {rank - 1} once")
    sizes = enumerate(tensor.shape)
    return tuple(1 if axis in axes else size for axis, size in sizes if keep_dims or axis not in axes)


class AxisReduction(Op):
    """Base of the ops that leave one element of those along some axes."""

    @abstractmethod
    def reduced(self) -> tuple[int, ...]:
        """The axes, counted from the front."""

    def keeps_batch(self, inputs: Types, constant: Sequence[bool]) -> bool:
        return len(inputs[0].shape) > 0 and 0 not in self.reduced()

    def field(self, inputs: Types) -> Field:
        rank = len(inputs[0].shape)
        pixelwise = rank == 4 and len(self.infer(inputs).shape) == 4 and not {1, 2} & set(self.reduced())
        return POINTWISE if pixelwise else Everything()


@dataclass(frozen=True)
class Reduce(AxisReduction):
    """One number for all elements along `axes`: ``function`` of them.

    `l1` is the sum of magnitudes, `l2` the root of the sum of squares, `log_sum` the logarithm of the sum, and
    `log_sum_exp` that of the sum of exponentials, ``m + log(sum exp(x - m))`` with m the largest.
    """

    function: Reduction
    axes: tuple[int, ...]
    keep_dims: bool = True

    @property
    def kind(self) -> str:
        return f"reduce_{self.function}"

    def reduced(self) -> tuple[int, ...]:
        return self.axes

    def infer(self, inputs: Types) -> TensorType:
        return TensorType(reduced_shape(inputs[0], self.axes, self.keep_dims))

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(other=inputs[0].elements * (12 if self.function == "log_sum_exp" else 1))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        (x,) = inputs
        how = _Over(axis=self.axes, keepdims=self.keep_dims)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            match self.function:
                case "mean":
                    return np.asarray(np.mean(x, **how))
                case "sum":
                    return np.asarray(np.sum(x, **how))
                case "max":
                    return np.asarray(np.max(x, **how))
                case "min":
                    return np.asarray(np.min(x, **how))
                case "prod":
                    return np.asarray(np.prod(x, **how))
                case "l1":
                    return np.asarray(np.sum(np.abs(x), **how))
                case "l2":
                    return np.asarray(np.sqrt(np.sum(x * x, **how)))
                case "sum_square":
                    return np.asarray(np.sum(x * x, **how))
                case "log_sum":
                    return np.asarray(np.log(np.sum(x, **how)))
                case "log_sum_exp":
                    shift = self._shift(x)
                    total = np.log(np.sum(np.exp(x - shift), axis=self.axes, keepdims=True)) + shift
                    return np.asarray(total.reshape(self.infer([TensorType(x.shape)]).shape))

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        (x,), value = inputs, self.evaluate(inputs, weights)
        count = max(math.prod(x.shape[axis] for axis in self.axes), 1)
        how = _Over(axis=self.axes, keepdims=self.keep_dims)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            match self.function:
                case "max" | "min":
                    return Bound.exact(value)
                case "sum" | "l1":
                    return Bound.of_sum(value, np.sum(np.abs(x), **how), count)
                case "mean":
                    return Bound.of_sum(value, np.mean(np.abs(x), **how), count + 1)
                case "sum_square":
                    return Bound.of_sum(value, value, count + 1)
                case "prod":
                    # A partial product that is denormal is off by half a denormal, which the other factors enlarge.
                    lost = count * SMALLEST_DENORMAL * np.prod(np.maximum(np.abs(x), 1.0), **how)
                    found = Bound.of_sum(value, np.abs(value), count)
                    return Bound(value, found.limit + lost, found.alarm + lost)
                case "l2":
                    # The root halves a relative error and adds its own; e is what squares lose to underflow.
                    lost = (count + 1) * SMALLEST_DENORMAL
                    found = Bound.of_sum(value, value, (count + 1) // 2 + 2)
                    gone = np.minimum(math.sqrt(lost), lost / np.maximum(value, SMALLEST_DENORMAL))
                    return Bound(value, found.limit + gone, found.alarm + gone)
                case "log_sum":
                    total = np.sum(x, **how)
                    found = Bound.of_sum(total, np.sum(np.abs(x), **how), count)
                    return Bound(value, _log_error(total, found.limit, value), _log_error(total, found.alarm, value))
                case "log_sum_exp":
                    return self._bound_of_exponentials(x, value, count)

    def _shift(self, x: Array) -> Array:
        """The largest along the axes, 0 where that is infinite or NaN."""
        largest = np.max(x, axis=self.axes, keepdims=True)
        return np.where(np.isfinite(largest), largest, 0.0)

    def _bound_of_exponentials(self, x: Array, value: Array, count: int) -> Bound:
        how = _Over(axis=self.axes, keepdims=True)
        distance = np.abs(x - self._shift(x))
        terms = np.exp(x - self._shift(x))
        # x - max is rounded once, which exp turns into a relative error of |x - max| u; then exp itself, and the sum.
        error = np.sum(terms * (np.where(terms > 0, distance, 0.0) + EXP_ROUNDINGS + count), **how) * UNIT_ROUNDOFF
        total = np.sum(terms, **how)
        whole = np.log(total)
        limit = (
            _log_error(total, error * (1 + 1e-3), whole) + UNIT_ROUNDOFF * np.abs(value).reshape(whole.shape)
        ).reshape(value.shape)
        return Bound(value, limit, limit)


def _log_error(total: Array, error: Array, value: Array) -> Array:
    """How far the logarithm of a `total` that is off by `error` may be from its `value`, its own error included."""
    moved = np.where(error < total, -np.log1p(-np.minimum(error / total, 1.0)), np.inf)
    moved = np.where(np.isfinite(total), moved, 0.0)
    size = np.where(np.isfinite(value), np.abs(value), 0.0)
    return np.asarray(moved + (size + LOG_ROUNDINGS) * UNIT_ROUNDOFF * (1 + 1e-3) + SMALLEST_NORMAL)


@dataclass(frozen=True)
class ArgReduce(AxisReduction):
    """Where along `axis` the largest (`max`) or smallest (`min`) element is, as a float32 number.

    The first of several equal ones, or the last with `select_last`; NaN counts as larger and smaller than all others.
    Indices below 2^24 are exact.
    """

    function: Literal["max", "min"]
    axis: int
    keep_dims: bool = True
    select_last: bool = False

    @property
    def kind(self) -> str:
        return f"arg_{self.function}"

    def reduced(self) -> tuple[int, ...]:
        return (self.axis,)

    def infer(self, inputs: Types) -> TensorType:
        return TensorType(reduced_shape(inputs[0], (self.axis,), self.keep_dims))

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(other=inputs[0].elements)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        (x,) = inputs
        find = np.argmax if self.function == "max" else np.argmin
        if not self.select_last:
            return np.asarray(find(x, axis=self.axis, keepdims=self.keep_dims), np.float64)
        found = find(np.flip(x, self.axis), axis=self.axis, keepdims=self.keep_dims)
        return np.asarray(x.shape[self.axis] - 1 - found, np.float64)

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        return Bound.exact(self.evaluate(inputs, weights))
