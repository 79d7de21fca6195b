"""The product of two computed matrices, or of many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.base import Bound, Cost, Everything, Field, Op, Types, Weights


@dataclass(frozen=True)
class MatMul(Op):
    """``y[..., i, j] = sum over k of a[..., i, k] b[..., k, j]``, the axes in front broadcast as in NumPy.

    A tensor of rank 1 is a row on the left and a column on the right, whose axis is left out of the result.
    """

    def infer(self, inputs: Types) -> TensorType:
        if len(inputs) != 2:
            raise ShapeError(f"matmul takes two inputs, and has {len(inputs)}", remedy="list them under inputs:")
        a, b = (tensor.shape for tensor in inputs)
        shapes = " and ".join(map(str, inputs))
        if not a or not b:
            raise ShapeError(f"matmul takes no scalars, and has {shapes}", remedy="use mul")
        left, right = matrices(a, b)
        if left[-1] != right[-2]:
            raise ShapeError(
                f"matmul sums over {left[-1]} elements of the first and {right[-2]} of the second input ({shapes})",
                remedy="the last axis of the first and the last but one of the second have one size: transpose one",
            )
        try:
            front = np.broadcast_shapes(left[:-2], right[:-2])
        except ValueError:
            raise ShapeError(
                f"matmul of {shapes}: the axes in front of the matrices are neither equal nor 1",
                remedy="reshape one of them",
            ) from None
        rows = (left[-2],) if len(a) > 1 else ()
        columns = (right[-1],) if len(b) > 1 else ()
        return TensorType((*front, *rows, *columns))

    def keeps_batch(self, inputs: Types, constant: Sequence[bool]) -> bool:
        rank = len(self.infer(inputs).shape)
        first, second = (tensor.shape for tensor in inputs)
        if constant[0]:
            return rank > 2 and len(second) == rank and (len(first) < rank or first[0] == 1)
        if constant[1] and len(second) == 1:
            return rank > 0
        if constant[1]:
            return rank == len(first) > 1 and (len(second) < max(rank, 3) or second[0] == 1)
        return rank > 2 and len(first) == len(second) == rank

    def field(self, inputs: Types) -> Field:
        return Everything()

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(macs=output.elements * inputs[0].shape[-1])

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        with np.errstate(invalid="ignore", over="ignore"):
            return np.asarray(np.matmul(*inputs))

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        magnitude = self.evaluate([np.abs(x) for x in inputs], weights)
        return Bound.of_sum(self.evaluate(inputs, weights), magnitude, inputs[0].shape[-1])


def matrices(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of two operands with a vector as one row on the left, or as one column on the right."""
    return (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
