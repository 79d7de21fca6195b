"""Softmax over the channels, and its logarithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnngen.ir import Array, TensorType
from cnngen.ops.base import SMALLEST_NORMAL, UNIT_ROUNDOFF, Bound, Cost, Op, Types, Weights
from cnngen.ops.function import EXP_ROUNDINGS, LOG_ROUNDINGS


@dataclass(frozen=True)
class Softmax(Op):
    """``exp(x - max x) / sum exp(x - max x)`` over the last axis."""

    def infer(self, inputs: Types) -> TensorType:
        return inputs[0]

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(other=5 * output.elements)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        exponentials = np.exp(inputs[0] - inputs[0].max(axis=-1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        x, value = inputs[0], self.evaluate(inputs, weights)
        distance = x.max(axis=-1, keepdims=True) - x
        # x - max is rounded once, which exp turns into a relative error of |x - max| u; then exp itself.
        term = distance + EXP_ROUNDINGS
        total = (value * term).sum(axis=-1, keepdims=True) + x.shape[-1]
        limit = (term + total + 2) * UNIT_ROUNDOFF * value * (1 + 1e-3) + SMALLEST_NORMAL
        return Bound(value, limit, limit)


@dataclass(frozen=True)
class LogSoftmax(Op):
    """``x - max x - log sum exp(x - max x)`` over the last axis."""

    @property
    def kind(self) -> str:
        return "log_softmax"

    def infer(self, inputs: Types) -> TensorType:
        return inputs[0]

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(other=5 * output.elements)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        shifted = inputs[0] - inputs[0].max(axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        x, value = inputs[0], self.evaluate(inputs, weights)
        distance = x.max(axis=-1, keepdims=True) - x
        # The relative error of the sum, as in `Softmax`, is an absolute one of its logarithm, which adds its own; then
        # the rounding of x - max and that of the difference.
        total = (np.exp(value) * (distance + EXP_ROUNDINGS)).sum(axis=-1, keepdims=True) + x.shape[-1]
        logarithm = np.log(np.exp(-distance).sum(axis=-1, keepdims=True))
        roundings = total + logarithm + LOG_ROUNDINGS + distance + np.abs(value)
        limit = roundings * UNIT_ROUNDOFF * (1 + 1e-3) + SMALLEST_NORMAL
        return Bound(value, limit, limit)
