"""Element by element arithmetic on tensors of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.activation import Activation, activated
from cnngen.ops.base import Bound, Cost, Op, Types, Weights


@dataclass(frozen=True)
class Add(Op):
    """Sum of two or more tensors of the same shape, from left to right, then the activation."""

    activation: Activation | None = None

    def infer(self, inputs: Types) -> TensorType:
        if len(inputs) < 2:
            raise ShapeError("add needs at least two inputs", remedy="list them under inputs:")
        for tensor in inputs[1:]:
            if tensor != inputs[0]:
                raise ShapeError(
                    f"add takes tensors of one shape, not {' and '.join(map(str, inputs))}",
                    remedy="match stride and filters of the branches, for example by a 1x1 conv2d",
                )
        return inputs[0]

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        activation = self.activation.rule.operations if self.activation else 0
        return Cost(other=output.elements * (len(inputs) - 1 + activation))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        total = np.sum(np.stack(list(inputs)), axis=0)
        return self.activation.evaluate(total) if self.activation else np.asarray(total)

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        stacked = np.stack(list(inputs))
        total = Bound.of_sum(stacked.sum(axis=0), np.abs(stacked).sum(axis=0), len(inputs) - 1)
        return activated(total, self.activation)
