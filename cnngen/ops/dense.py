"""Fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnngen.ir import Array, TensorType
from cnngen.ops.activation import Activation, activated
from cnngen.ops.base import Bound, Cost, Everything, Field, Op, Types, Weights, parameters, require_rank


@dataclass(frozen=True)
class Dense(Op):
    """``y = x weight + bias``, then the activation. Weights: `weight` (in, units), `bias` (units)."""

    units: int
    use_bias: bool = True
    activation: Activation | None = None

    def weight_shapes(self, inputs: Types) -> dict[str, tuple[int, ...]]:
        require_rank(inputs, 2, "dense")
        shapes: dict[str, tuple[int, ...]] = {"weight": (inputs[0].shape[1], self.units)}
        if self.use_bias:
            shapes["bias"] = (self.units,)
        return shapes

    def infer(self, inputs: Types) -> TensorType:
        self.weight_shapes(inputs)
        return TensorType((inputs[0].shape[0], self.units))

    def field(self, inputs: Types) -> Field:
        return Everything()

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        shapes = self.weight_shapes(inputs)
        other = output.elements * self.use_bias
        other += output.elements * self.activation.rule.operations if self.activation else 0
        return Cost(macs=inputs[0].shape[1] * output.elements, other=other, params=parameters(shapes))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        y = self._linear(inputs[0], weights)
        return self.activation.evaluate(y) if self.activation else y

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        absolute = {role: np.abs(array) for role, array in weights.items()}
        linear = Bound.of_sum(
            self._linear(inputs[0], weights),
            self._linear(np.abs(inputs[0]), absolute),
            inputs[0].shape[1] + self.use_bias,
        )
        return activated(linear, self.activation)

    def _linear(self, x: Array, weights: Weights) -> Array:
        y = x @ weights["weight"]
        return np.asarray(y + weights["bias"] if self.use_bias else y)
