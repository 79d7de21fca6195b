"""Packing, what is alike for every backend: the blob of a plan, filled with the arrays that each kernel reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from cnngen.errors import PlanError
from cnngen.ir import Array, Graph, Node
from cnngen.plan.network_plan import L, NetworkPlan, pack_constants
from cnngen.plan.steps import Taps


def pack_plan(plan: NetworkPlan[L], graph: Graph | None, pack_kernel: Callable[[L, Node], Sequence[Array]]) -> Array:
    """The blob for `plan` in words of four bytes, with the weights of `graph` (default: the planned one).

    `pack_kernel` gives the parameter arrays of a kernel, of whatever type, in the order of its arguments.
    """
    nodes = {node.name: node for node in (graph or plan.graph).nodes}
    blob = np.zeros(plan.blob_floats, np.float32)
    pack_constants(plan, nodes, blob)
    for step in plan.steps:
        for call in step.calls:
            if not call.params:
                continue
            arrays = pack_kernel(call.kernel, with_taps(nodes[step.node], call.taps))
            for offset, size, array in zip(call.params, call.kernel.parameter_sizes, arrays, strict=True):
                if array.nbytes != 4 * size:
                    raise PlanError(f"packed {array.nbytes} bytes, planned {4 * size}", layer=step.node)
                put(blob[offset : offset + size].view(array.dtype), array)
    return blob


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
