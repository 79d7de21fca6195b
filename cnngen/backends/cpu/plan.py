"""Planning: which kernel computes each node, with which tiles, and where every tensor lies.

`plan_graph` decides everything; what comes after only prints and packs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cnngen.arithmetic import FLOAT32, Arithmetic
from cnngen.backends.cpu.fuse_pools import fuse_pools
from cnngen.backends.cpu.halo import halo_of, spare_of
from cnngen.backends.cpu.kernels import (
    AnyKernel,
    ConvKernel,
    HaloKernel,
    PlanarRowsKernel,
    WinogradKernel,
    WinogradRowsKernel,
)
from cnngen.backends.cpu.lower import copy, lower
from cnngen.backends.cpu.target import Target
from cnngen.backends.cpu.winograd_rows import in_planes
from cnngen.errors import PlanError
from cnngen.ir import Graph, Node
from cnngen.ops import Dense
from cnngen.plan.layout import Layout, ScratchRooms, lay_out
from cnngen.plan.memory import View, verify_arena
from cnngen.plan.network_plan import Blob, NetworkPlan, lower_graph, verify_parameters
from cnngen.plan.steps import Call, Step
from cnngen.weight_storage import narrows


@dataclass(frozen=True, eq=False)
class Plan(NetworkPlan[AnyKernel]):
    """A network, ready to be printed as C."""

    target: Target
    in_turn: int = 1
    """Images of a batch that a run computes one after the other; `graph` has one of them (`cnngen.batching`)."""

    @property
    def repeats(self) -> int:
        return self.in_turn

    @property
    def element(self) -> np.dtype[np.generic]:
        return np.dtype(np.float32)

    @property
    def suffix(self) -> str:
        return self.target.name.replace("-", "_").replace(".", "")

    @property
    def weight_storage(self) -> str:
        return self.target.weight_storage

    def arithmetic(self, node: str) -> Arithmetic:
        for kernel in (call.kernel for number in self.steps_of(node) for call in self.steps[number].calls):
            if isinstance(kernel, WinogradKernel):
                return Arithmetic(tile=kernel.tile)
            if isinstance(kernel, WinogradRowsKernel | PlanarRowsKernel):
                return Arithmetic(rows=kernel.tile)
            if isinstance(kernel, ConvKernel):
                return Arithmetic(weights=kernel.storage)
        return FLOAT32


def plan_graph(graph: Graph, target: Target) -> Plan:
    """Plan `graph`, which must be optimised and verified, for `target`."""
    target = replace(target, parameter_bytes=parameter_bytes(graph, target.weight_storage))
    graph = fuse_pools(graph, target)
    planes = in_planes(graph, lambda node: halo_of(graph, node, target), target)
    layout = lay_out(graph, lambda graph, node: halo_of(graph, node, target), spare_of, planes)
    blob, scratch = Blob(layout.constant_floats), ScratchRooms(layout)
    lanes = target.isa.lanes
    steps = lower_graph(
        graph,
        layout,
        blob,
        lambda node: lower(node, layout, target, scratch.room),
        lambda read, write: copy(read, write, lanes),
    )
    steps = _fill_halos(steps, scratch.added(), target)
    views, arena, steps = scratch.added().resolve(steps)
    return verify_plan(Plan(graph.name, graph, tuple(steps), views, arena, blob.size, layout.constants, target))


def parameter_bytes(graph: Graph, weight_storage: str = "fp32") -> int:
    """What all weights of a network take in memory."""
    return sum(node_bytes(node, weight_storage) for node in graph.nodes)


def node_bytes(node: Node, weight_storage: str) -> int:
    """What the weights of a node take in memory."""
    size = sum(array.nbytes for array in node.weights.values())
    if weight_storage == "fp32" or not isinstance(node.op, Dense) or not narrows(node.weights["weight"].size):
        return size
    return size - node.weights["weight"].nbytes // 2


def verify_plan(plan: Plan) -> Plan:
    """Return `plan` if tiles cover every loop exactly once, memory does not clash and parameters fit."""
    verify_arena(plan.arena)
    for step in plan.steps:
        for call in step.calls:
            call.kernel.verify()
    verify_parameters(plan)
    missing = [name for name in plan.graph.types if name not in plan.views]
    if missing:
        raise PlanError(f"tensors {missing} have no place")
    return plan


def _fill_halos(steps: list[Step[AnyKernel]], layout: Layout, target: Target) -> list[Step[AnyKernel]]:
    """Let the first step that writes into a buffer with a halo also zero the halo."""
    filled: set[int] = set()
    result = []
    for step in steps:
        fills: list[Call[AnyKernel]] = []
        for call in step.calls:
            view = call.write
            if view.space == "arena" and view.index not in filled:
                filled.add(view.index)
                buffer = layout.buffers[view.index]
                if any(buffer.halo):
                    whole = View("arena", view.index, 0, buffer.shape, (1, 1, 1, 1))
                    fills.append(Call(HaloKernel(target.isa.lanes, buffer.shape, buffer.halo), (), (), whole))
        result.append(replace(step, calls=(*fills, *step.calls)))
    return result
