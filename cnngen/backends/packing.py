"""Packing, what is alike for every backend: the blob of a plan, filled with the arrays that each kernel reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from cnngen.backends.sources import AnyBlob, StoredBlob
from cnngen.errors import PlanError
from cnngen.ir import Array, Graph, Node
from cnngen.plan.network_plan import L, NetworkPlan
from cnngen.plan.steps import Taps

IN_MEMORY = 8 << 20
"""Bytes up to which a blob is an array; a larger one goes to a file, array by array."""
PIECE = 4 << 20
"""Bytes of an array that are brought into order at a time."""


def pack_plan(plan: NetworkPlan[L], graph: Graph | None, pack_kernel: Callable[[L, Node], Sequence[Array]]) -> Array:
    """The blob for `plan` in words of four bytes, with the weights of `graph` (default: the planned one).

    `pack_kernel` gives the parameter arrays of a kernel, of whatever type, in the order of its arguments.
    """
    blob = np.zeros(plan.blob_floats, np.float32)
    for offset, array in _arrays(plan, graph or plan.graph, pack_kernel):
        put(blob[offset : offset + array.nbytes // 4].view(array.dtype), array)
    return blob


def store_plan(plan: NetworkPlan[L], pack_kernel: Callable[[L, Node], Sequence[Array]]) -> AnyBlob:
    """The blob of `pack_plan`. A large one is in a file, so that no more than one kernel's part is in memory."""
    if 4 * plan.blob_floats <= IN_MEMORY:
        return pack_plan(plan, None, pack_kernel)
    try:
        blob = StoredBlob(4 * plan.blob_floats)
        for offset, array in _arrays(plan, plan.graph, pack_kernel):
            place = 4 * offset
            for piece in _pieces(array):
                blob.write(place, piece)
                place += piece.nbytes
    except OSError:  # no folder for temporary files, or a full one: a library is built elsewhere
        return pack_plan(plan, None, pack_kernel)
    return blob


def _arrays(
    plan: NetworkPlan[L], graph: Graph, pack_kernel: Callable[[L, Node], Sequence[Array]]
) -> Iterator[tuple[int, Array]]:
    """The arrays of a blob, each with its offset in words, with the weights of `graph`."""
    nodes = {node.name: node for node in graph.nodes}
    for name, view in plan.constants.items():
        yield view.offset, nodes[name].weights["value"]
    for step in plan.steps:
        for call in step.calls:
            if not call.params:
                continue
            arrays = pack_kernel(call.kernel, with_taps(nodes[step.node], call.taps))
            for offset, size, array in zip(call.params, call.kernel.parameter_sizes, arrays, strict=True):
                if array.nbytes != 4 * size:
                    raise PlanError(f"packed {array.nbytes} bytes, planned {4 * size}", layer=step.node)
                yield offset, array


def _pieces(array: Array) -> Iterator[Array]:
    """The elements of `array` in C order, in arrays that lie in memory that way; large ones are not copied whole."""
    if array.flags.c_contiguous or array.nbytes <= PIECE:
        yield np.ascontiguousarray(array)
    elif len(array) == 1:
        yield from _pieces(array[0])
    else:
        rows = max(PIECE * len(array) // array.nbytes, 1)
        for first in range(0, len(array), rows):
            yield from _pieces(array[first : first + rows])


def with_taps(node: Node, taps: Taps | None) -> Node:
    """`node` with the rows and columns `taps` of its kernel as its weights; all of them where there are none."""
    if taps is None:
        return node
    return replace(node, weights={**node.weights, "weight": node.weights["weight"][np.ix_(*taps)]})


def bias_of(node: Node) -> list[Array]:
    """The bias of a layer, if it has one."""
    return [node.weights["bias"]] if "bias" in node.weights else []


def put(place: Array, array: Array) -> None:
    """Copy into a flat array, in one go: `array.reshape(-1)` of a transposed one is a copy as large as the weights."""
    place.reshape(array.shape)[...] = array
