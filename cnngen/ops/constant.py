"""Numbers that are part of the network, as a tensor that other ops read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnngen.ir import Array, TensorType
from cnngen.ops.base import Cost, Types, Weights
from cnngen.ops.shape import Movement


@dataclass(frozen=True)
class Constant(Movement):
    """A tensor of `shape` that is the same in every run and for every image. Weights: `value`, of that shape.

    It has no batch: what reads it aligns it as NumPy does.
    """

    shape: tuple[int, ...]

    def weight_shapes(self, inputs: Types) -> dict[str, tuple[int, ...]]:
        return {"value": self.shape}

    def infer(self, inputs: Types) -> TensorType:
        return TensorType(self.shape)

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(params=output.elements)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        return weights["value"]
