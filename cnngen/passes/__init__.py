"""The passes: each a function ``Graph -> Graph`` that keeps what the network computes.

Names: inputs and outputs keep theirs. Where nodes become one, it carries the name of the last, which
its readers know, and the source of the first, which is the layer that a person wrote.
"""

from __future__ import annotations

from collections.abc import Callable

from cnngen.ir import Graph, verify_graph
from cnngen.passes.elide_concat import elide_concat, verify_placements
from cnngen.passes.expand_operands import expand_operands
from cnngen.passes.fold_batch_norm import fold_batch_norm
from cnngen.passes.fold_flatten import fold_flatten
from cnngen.passes.fuse_epilogues import fuse_epilogues
from cnngen.passes.fuse_gates import fuse_gates
from cnngen.passes.infer_shapes import infer_shapes
from cnngen.passes.lower_matmul import lower_matmul
from cnngen.passes.nest_concats import nest_concats
from cnngen.passes.pool_first import pool_first
from cnngen.passes.pool_reductions import pool_reductions
from cnngen.passes.remove_dead import remove_dead
from cnngen.passes.remove_identity import remove_identity
from cnngen.passes.simplify_movement import simplify_movement

PASSES: tuple[Callable[[Graph], Graph], ...] = (
    simplify_movement,
    pool_reductions,
    lower_matmul,
    remove_dead,
    remove_identity,  # a dropout between flatten and dense, or layer and activation, would hide them
    fold_flatten,
    fold_batch_norm,
    pool_first,  # an activation behind the average then fuses with the convolution
    fuse_gates,
    fuse_epilogues,
    expand_operands,
    nest_concats,
    elide_concat,
)
"""In the order in which `optimise` applies them; all but the order's reason is in their docstrings."""


def optimise(graph: Graph) -> Graph:
    """Apply every pass to a typed graph, verifying what each returns."""
    for apply in PASSES:
        graph = verify_graph(apply(graph))
    return verify_placements(graph)


__all__ = [
    "PASSES",
    "elide_concat",
    "expand_operands",
    "fold_batch_norm",
    "fold_flatten",
    "fuse_epilogues",
    "fuse_gates",
    "infer_shapes",
    "lower_matmul",
    "nest_concats",
    "optimise",
    "pool_first",
    "pool_reductions",
    "remove_dead",
    "remove_identity",
    "simplify_movement",
    "verify_placements",
]
