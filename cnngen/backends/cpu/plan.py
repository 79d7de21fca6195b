"""Planning: which kernel computes each node, with which tiles, and where every tensor lies.

`plan_graph` decides everything; what comes after only prints and packs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from cnngen.arithmetic import FLOAT32, Arithmetic
from cnngen.backends.cpu.halo import halo_of
from cnngen.backends.cpu.kernels import AnyKernel, CopyKernel, HaloKernel
from cnngen.backends.cpu.lower import lower
from cnngen.backends.cpu.target import Target
from cnngen.errors import PlanError
from cnngen.ir import Graph, Node
from cnngen.ops import Concat
from cnngen.plan.layout import Layout, lay_out
from cnngen.plan.memory import ALIGNMENT, Arena, View, verify_arena
from cnngen.plan.steps import Call, Step


@dataclass(frozen=True, eq=False)
class Plan:
    """A network, ready to be printed. `views` says where every tensor of the graph lies."""

    name: str
    graph: Graph
    target: Target
    steps: tuple[Step[AnyKernel], ...]
    views: Mapping[str, View]
    arena: Arena
    blob_floats: int

    element: ClassVar[np.dtype[np.float32]] = np.dtype(np.float32)
    """Type of the numbers in the arena."""

    @property
    def arena_bytes(self) -> int:
        return self.element.itemsize * self.arena.size

    @property
    def kernels(self) -> dict[AnyKernel, str]:
        """Every distinct kernel with its symbol, in order of first use."""
        symbols: dict[AnyKernel, str] = {}
        taken: set[str] = set()
        for step in self.steps:
            for call in step.calls:
                if call.kernel not in symbols:
                    base = f"{call.kernel.label}__{self.target.name.replace('-', '_').replace('.', '')}"
                    symbol, number = base, 2
                    while symbol in taken:
                        symbol, number = f"{base}_{number}", number + 1
                    taken.add(symbol)
                    symbols[call.kernel] = symbol
        return symbols

    def arithmetic(self, node: str) -> Arithmetic:
        """How the kernels of `node` round: float32 throughout."""
        return FLOAT32

    def steps_of(self, node: str) -> range:
        """Numbers of the steps that compute `node`; empty where it is only another view."""
        numbers = [i for i, step in enumerate(self.steps) if step.node == node]
        return range(numbers[0], numbers[-1] + 1) if numbers else range(0)


def plan_graph(graph: Graph, target: Target) -> Plan:
    """Plan `graph`, which must be optimised and verified, for `target`."""
    layout = lay_out(graph, halo_of)
    steps: list[Step[AnyKernel]] = []
    blob = 0
    for tensor in graph.inputs:
        if tensor.name in layout.staged:
            steps.append(_copy_step(graph, target, tensor.name, layout.external_input(tensor.name), layout, "stage"))
    for node in graph.nodes:
        if node.name in layout.aliases or _concat_in_place(node, layout):
            continue
        calls = []
        for kernel, reads, write, taps in lower(node, layout, target):
            params = []
            for size in kernel.parameter_sizes:
                params.append(blob)
                blob += -(-size // ALIGNMENT) * ALIGNMENT
            calls.append(Call(kernel, reads, tuple(params), write, taps))
        steps.append(Step(node.name, describe(graph, node), tuple(calls)))
    for index, name in enumerate(graph.outputs):
        if index in layout.copied_outputs:
            steps.append(_output_step(graph, target, index, name, layout))
    steps = _fill_halos(steps, layout, target)
    views, arena, steps = layout.resolve(steps)
    return verify_plan(Plan(graph.name, graph, target, tuple(steps), views, arena, blob))


def describe(graph: Graph, node: Node) -> str:
    """One line on a node: op, inputs' and output's shape."""
    inputs = ", ".join(str(graph.types[name]) for name in node.inputs)
    return f"{node.op.kind} {node.name}: {inputs} -> {graph.types[node.name]}"


def verify_plan(plan: Plan) -> Plan:
    """Return `plan` if tiles cover every loop exactly once, memory does not clash and parameters fit."""
    verify_arena(plan.arena)
    ends = [0]
    for step in plan.steps:
        for call in step.calls:
            call.kernel.verify()
            sizes = call.kernel.parameter_sizes
            if len(sizes) != len(call.params):
                raise PlanError(f"{len(call.params)} parameter arrays, the kernel has {len(sizes)}", layer=step.node)
            for offset, size in zip(call.params, sizes, strict=True):
                if offset < ends[-1] or offset % ALIGNMENT:
                    raise PlanError("parameter arrays overlap or are not aligned", layer=step.node)
                ends.append(offset + size)
    if ends[-1] > plan.blob_floats:
        raise PlanError("parameters exceed the blob")
    missing = [name for name in plan.graph.types if name not in plan.views]
    if missing:
        raise PlanError(f"tensors {missing} have no place")
    return plan


def _concat_in_place(node: Node, layout: Layout) -> bool:
    return isinstance(node.op, Concat) and all(layout.lies_in(name, node.name) for name in node.inputs)


def _copy_step(graph: Graph, target: Target, name: str, source: View, layout: Layout, verb: str) -> Step[AnyKernel]:
    write = layout.views[name]
    kernel = CopyKernel(target.isa.lanes, write.shape, source.strides, write.strides)
    return Step(name, f"{verb} {name}: {graph.types[name]}", (Call(kernel, (source,), (), write),))


def _output_step(graph: Graph, target: Target, index: int, name: str, layout: Layout) -> Step[AnyKernel]:
    read = layout.views[name]
    write = View.packed("output", index, graph.types[name])
    kernel = CopyKernel(target.isa.lanes, read.shape, read.strides, write.strides)
    title = f"output {name}: {graph.types[name]}"
    return Step(f"output {index}", title, (Call(kernel, (read,), (), write),))


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
