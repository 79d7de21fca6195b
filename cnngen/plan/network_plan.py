"""What the plans of all backends have in common: steps of kernels, the place of every tensor, packed parameters."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from cnngen.arithmetic import Arithmetic
from cnngen.errors import PlanError
from cnngen.ir import Graph, Node
from cnngen.ops import Concat
from cnngen.plan.layout import Layout
from cnngen.plan.memory import ALIGNMENT, Arena, View, aligned
from cnngen.plan.steps import Call, Lowered, Step


class Labelled(Protocol):
    """A kernel: its name, without the target, and the sizes of its packed parameter arrays."""

    @property
    def label(self) -> str: ...
    @property
    def parameter_sizes(self) -> tuple[int, ...]: ...


L = TypeVar("L", bound=Labelled)


@dataclass(frozen=True, eq=False)
class NetworkPlan(ABC, Generic[L]):
    """A network, ready to be printed. `views` says where every tensor of the graph lies.

    Sizes and offsets in the arena count its elements, those in the blob of packed parameters words of 4 bytes.
    """

    name: str
    graph: Graph
    steps: tuple[Step[L], ...]
    views: Mapping[str, View]
    arena: Arena
    blob_floats: int
    constants: Mapping[str, View]
    """Where each constant of the graph lies among the packed parameters."""

    @property
    @abstractmethod
    def element(self) -> np.dtype[np.generic]:
        """Type of the numbers in the arena."""

    @property
    @abstractmethod
    def suffix(self) -> str:
        """What the target adds to the names of kernels."""

    @property
    def repeats(self) -> int:
        """How often a run goes through the plan, each time with the next images of its batch."""
        return 1

    @property
    def weight_storage(self) -> str:
        """The format in which large dense layers keep their weights, beside what the tensors have."""
        return "fp32"

    @abstractmethod
    def arithmetic(self, node: str) -> Arithmetic:
        """How the kernels of `node` round."""

    @property
    def arena_bytes(self) -> int:
        return self.element.itemsize * self.arena.size

    @property
    def kernels(self) -> dict[L, str]:
        """Every distinct kernel with its symbol, in order of first use."""
        symbols: dict[L, str] = {}
        taken: set[str] = set()
        for step in self.steps:
            for call in step.calls:
                if call.kernel not in symbols:
                    base = f"{call.kernel.label}__{self.suffix}"
                    symbol, number = base, 2
                    while symbol in taken:
                        symbol, number = f"{base}_{number}", number + 1
                    taken.add(symbol)
                    symbols[call.kernel] = symbol
        return symbols

    def steps_of(self, node: str) -> range:
        """Numbers of the steps that compute `node`; empty where it is only another view."""
        numbers = [i for i, step in enumerate(self.steps) if step.node == node]
        return range(numbers[0], numbers[-1] + 1) if numbers else range(0)


class Blob:
    """Gives packed parameter arrays their offsets."""

    def __init__(self, size: int = 0) -> None:
        self.size = size

    def place(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Offsets of arrays of these sizes, one behind the other, each aligned."""
        offsets = []
        for size in sizes:
            offsets.append(self.size)
            self.size += -(-size // ALIGNMENT) * ALIGNMENT
        return tuple(offsets)


def lower_graph(
    graph: Graph,
    layout: Layout,
    blob: Blob,
    lower: Callable[[Node], Iterable[Lowered[L]]],
    copy: Callable[[View, View], Lowered[L]],
) -> list[Step[L]]:
    """The steps of a network: staged inputs, nodes, copied outputs; parameters get their places in `blob`."""

    def call(lowered: Lowered[L]) -> Call[L]:
        kernel, reads, write, taps, scratch = lowered
        return Call(kernel, reads, blob.place(kernel.parameter_sizes), write, taps, scratch)

    steps = []
    for tensor in graph.inputs:
        if tensor.name in layout.staged:
            staged = copy(layout.external_input(tensor.name), layout.views[tensor.name])
            steps.append(Step(tensor.name, f"stage {tensor.name}: {tensor.type}", (call(staged),)))
    for node in graph.nodes:
        if not layout.free(node) and not concat_in_place(node, layout):
            steps.append(Step(node.name, describe(graph, node), tuple(map(call, lower(node)))))
    for index, name in enumerate(graph.outputs):
        if index in layout.copied_outputs:
            copied = copy(layout.views[name], View.packed("output", index, graph.types[name]))
            steps.append(Step(f"output {index}", f"output {name}: {graph.types[name]}", (call(copied),)))
    return steps


def verify_parameters(plan: NetworkPlan[L]) -> None:
    """Raise `PlanError` where packed parameters overlap, are not aligned or leave the blob."""
    end = sum(aligned(math.prod(view.shape)) for view in plan.constants.values())
    for step in plan.steps:
        for call in step.calls:
            sizes = call.kernel.parameter_sizes
            if len(sizes) != len(call.params):
                raise PlanError(f"{len(call.params)} parameter arrays, the kernel has {len(sizes)}", layer=step.node)
            for offset, size in zip(call.params, sizes, strict=True):
                if offset < end or offset % ALIGNMENT:
                    raise PlanError("parameter arrays overlap or are not aligned", layer=step.node)
                end = offset + size
    if end > plan.blob_floats:
        raise PlanError("parameters exceed the blob")


def describe(graph: Graph, node: Node) -> str:
    """One line on a node: op, inputs' and output's shape."""
    inputs = ", ".join(str(graph.types[name]) for name in node.inputs)
    return f"{node.op.kind} {node.name}: {inputs} -> {graph.types[node.name]}"


def concat_in_place(node: Node, layout: Layout) -> bool:
    """Whether all inputs of a concatenation were written where they belong."""
    return isinstance(node.op, Concat) and all(layout.lies_in(name, node.name) for name in node.inputs)
