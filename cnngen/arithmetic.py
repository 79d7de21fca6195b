"""How a target rounds beyond float32: formats of stored tensors and of the factors of products.

The reference models it: factors are rounded as the target rounds them, and then the bounds of float32
sums hold, for the products of two factors of 11 significant bits are exact in float32. Weights that are only
stored in fewer bits are rounded once, when they are packed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cnngen import winograd, winograd_rows
from cnngen.ir import Array, Node
from cnngen.ops import Bound, Conv2D
from cnngen.ops.base import UNIT_ROUNDOFF
from cnngen.reference import bound

HALF_ROUNDOFF = 2.0**-11
"""u of IEEE binary16."""
HALF_MAX = 65504.0
"""The largest binary16."""
HALF_UNDERFLOW = 2.0**-25
"""Half the distance of the denormal numbers of binary16."""
TENSOR_CORE_FACTOR = 4.0
"""Tensor cores truncate where they align the n addends of a product: n + 1 errors of up to 2 u for n additions
(Fasi, Higham, Mikaitis and Pranesh, Numerical behavior of NVIDIA tensor cores, 2021)."""


def round_to_tf32(array: Array) -> Array:
    """To 11 significant bits, ties away from zero, as the GPU's own conversion (PTX cvt.rna.tf32.f32)."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    finite = (bits & 0x7F800000) != 0x7F800000
    rounded = np.where(finite, (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000), bits)
    return rounded.astype(np.uint32).view(np.float32).reshape(np.shape(array)).astype(np.asarray(array).dtype)


def round_to_fp16(array: Array) -> Array:
    """To IEEE binary16, ties to even; beyond 65504 infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(array).astype(np.float16).astype(np.asarray(array).dtype)


def round_to_bf16(array: Array) -> Array:
    """To the upper half of a float32, 8 significant bits, ties to even; NaN stays one."""
    values = np.ascontiguousarray(array, np.float32)
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    kept = np.where(np.isnan(values), np.uint32(0x7FC00000), rounded)
    return kept.view(np.float32).reshape(np.shape(array)).astype(np.asarray(array).dtype)


ROUNDING = {"fp32": lambda array: array, "tf32": round_to_tf32, "fp16": round_to_fp16, "bf16": round_to_bf16}


@dataclass(frozen=True)
class Arithmetic:
    """The formats of one node: its inputs and output as they are `stored`, `factors` and `weights` of its products.

    Where a convolution is computed by Winograd's algorithm, it is in tiles of `tile` results (rows and columns), or in
    the largest possible ones within that; `rows` is m of F(m, r) where it is along the height, else 0.
    """

    stored: str = "fp32"
    factors: str = "fp32"
    weights: str = "fp32"
    tile: winograd.Tile | None = None
    rows: int = 0

    @property
    def exact(self) -> bool:
        """Whether nothing is rounded that float32 does not round."""
        return replace(self, tile=None, rows=0) == FLOAT32

    @property
    def winograd(self) -> str:
        """What Winograd's algorithm computes the node, if one does."""
        if self.tile:
            return f"Winograd's F({self.tile[0]}x{self.tile[1]})"
        return f"Winograd's F({self.rows}) along the height" if self.rows else ""

    @property
    def only_weights(self) -> bool:
        """Whether stored weights have fewer bits than float32, and nothing else."""
        return self.stored == self.factors == "fp32" != self.weights

    @property
    def tensor_cores(self) -> bool:
        return self.factors != "fp32"

    @property
    def stored_roundoff(self) -> float:
        """u of the format of stored tensors."""
        return HALF_ROUNDOFF if self.stored == "fp16" else UNIT_ROUNDOFF

    def round_inputs(self, inputs: Sequence[Array]) -> list[Array]:
        """The node's inputs as its kernel multiplies them; a residual, which is added, only as it is stored."""
        stored = [ROUNDING[self.stored](x) for x in inputs]
        return [*map(ROUNDING[self.factors], stored[:1]), *stored[1:]]

    def disturb_inputs(self, inputs: Sequence[Array], rng: np.random.Generator) -> list[Array]:
        """The inputs with errors as large as those of `round_inputs`, but drawn: each sample gets its own."""
        coarse = [
            self.stored != "fp32" or (self.factors != "fp32" and position == 0) for position in range(len(inputs))
        ]
        return [
            x * (1 + HALF_ROUNDOFF * rng.uniform(-1, 1, x.shape)) if rounds else x
            for x, rounds in zip(inputs, coarse, strict=True)
        ]

    def round_weights(self, node: Node) -> Node:
        """The node with its weights as its kernel multiplies them; a bias is added, and stays float32."""
        if self.weights == "fp32" or "weight" not in node.weights:
            return node
        return replace(node, weights={**node.weights, "weight": ROUNDING[self.weights](node.weights["weight"])})

    def bound(self, node: Node, inputs: Sequence[Array]) -> Bound:
        """The value of `node` on `inputs` (as the caller has them), with what a correct kernel may be off."""
        rounded, factors = self.round_weights(node), self.round_inputs(inputs)
        if self.tile and winograd.applies(node.op):
            weights = {role: np.asarray(array, np.float64) for role, array in rounded.weights.items()}
            found = winograd.bound(
                node.op, [np.asarray(x, np.float64) for x in factors], weights, winograd.within(node.op, self.tile)
            )
        elif self.rows in winograd_rows.row_tiles(node.op):
            assert isinstance(node.op, Conv2D)
            weights = {role: np.asarray(array, np.float64) for role, array in rounded.weights.items()}
            found = winograd_rows.bound(node.op, [np.asarray(x, np.float64) for x in factors], weights, self.rows)
        else:
            found = bound(rounded, factors)
        return self.of_result(found)

    def of_result(self, found: Bound) -> Bound:
        """The bound of a result that float32 arithmetic on rounded factors gives, once it is stored."""
        widened = TENSOR_CORE_FACTOR if self.tensor_cores else 1.0
        limit, alarm = widened * found.limit, widened * found.alarm
        if self.stored != "fp16":
            return Bound(found.value, limit, alarm)
        stored = round_to_fp16(found.value)
        if not limit.any():
            return Bound(stored, limit, alarm, HALF_MAX)
        rounding = HALF_ROUNDOFF * (1 + UNIT_ROUNDOFF) * np.abs(found.value) + HALF_UNDERFLOW
        limit, alarm = (error * (1 + HALF_ROUNDOFF) + rounding for error in (limit, alarm))
        return Bound(found.value, limit, alarm, HALF_MAX)


FLOAT32 = Arithmetic()
