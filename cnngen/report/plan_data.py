"""What the compiler makes of each layer: its kernels, or why it needs none; and the arena over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnngen.backends.cpu.kernels import HaloKernel
from cnngen.backends.cpu.plan import Plan
from cnngen.ir import Graph
from cnngen.ops import Concat, Identity

if TYPE_CHECKING:
    from cnngen.backends import AnyPlan


@dataclass(frozen=True)
class LayerCode:
    """How a layer is computed: in `steps` (first and last) by `kernels`, by their symbols.

    Where a layer has no kernel, `note` says why: it is part of another layer, a view, or not needed.
    `merged_into` is the layer whose kernel computes it as well.
    """

    kernels: tuple[str, ...] = ()
    steps: tuple[int, int] | None = None
    note: str = ""
    merged_into: str | None = None


def layer_code(graph: Graph, plan: AnyPlan) -> dict[str, LayerCode]:
    """For every layer of `graph`, as it was written, its code in `plan`, which was made from it."""
    symbols: Mapping[Any, str] = plan.kernels
    consumers = graph.consumers()
    kept = {node.name: node for node in plan.graph.nodes}
    code: dict[str, LayerCode] = {}
    for node in reversed(graph.nodes):
        readers = consumers[node.name]
        if node.name in kept:
            steps = plan.steps_of(node.name)
            names = [
                symbols[call.kernel]
                for step in steps
                for call in plan.steps[step].calls
                if not isinstance(call.kernel, HaloKernel)
            ]
            if names:
                code[node.name] = LayerCode(tuple(dict.fromkeys(names)), (steps[0], steps[-1]))
            elif isinstance(kept[node.name].op, Concat):
                code[node.name] = LayerCode(note="no code: its inputs are written into their places")
            else:
                code[node.name] = LayerCode(note="no code: another view of its input")
        elif isinstance(node.op, Identity):
            code[node.name] = LayerCode(note="no code: it changes nothing")
        else:
            # Fused nodes carry the name of the last of them, and an output's that of its Identity.
            heirs = [
                reader.name
                for reader in readers
                if (len(readers) == 1 or isinstance(reader.op, Identity)) and not _is_nothing(code[reader.name])
            ]
            if heirs:
                into = code[heirs[0]].merged_into or heirs[0]
                code[node.name] = LayerCode(steps=code[into].steps, note=f"part of {into}", merged_into=into)
            else:
                code[node.name] = LayerCode(note="no code: no output depends on it")
    return {node.name: code[node.name] for node in graph.nodes}


def _is_nothing(code: LayerCode) -> bool:
    return not code.kernels and code.merged_into is None


@dataclass(frozen=True)
class Occupied:
    """A piece of the arena from step `first` to step `last`, in bytes; `tensors` (or scratch memory) lie in it."""

    tensors: tuple[str, ...]
    first: int
    last: int
    offset: int
    bytes: int
    halo: bool


@dataclass(frozen=True)
class Timeline:
    """The arena of a plan over its steps. `live` is how many bytes are in use at each step."""

    steps: tuple[str, ...]
    occupied: tuple[Occupied, ...]
    live: tuple[int, ...]
    arena_bytes: int
    lower_bound_bytes: int
    weight_bytes: int

    @property
    def peak(self) -> int:
        """The first step at which most is live."""
        return self.live.index(max(self.live)) if self.live else 0


def timeline(plan: Plan) -> Timeline:
    """Which tensors occupy which bytes of the arena, from which step to which."""
    arena = plan.arena
    tensors: dict[int, list[str]] = {buffer.index: [] for buffer in arena.buffers}
    # What is only a part of a concatenation comes first, so that the last name stands for the whole.
    for name, view in sorted(plan.views.items(), key=lambda item: item[0] not in plan.graph.placements):
        if view.space == "arena":
            tensors[view.index].append(name)
    for step in plan.steps:
        for call in step.calls:
            if call.scratch:
                tensors[call.scratch.index].append(f"scratch of {step.node}")
    return Timeline(
        steps=tuple(step.node for step in plan.steps),
        occupied=tuple(
            Occupied(
                tuple(tensors[buffer.index]),
                buffer.first,
                buffer.last,
                4 * buffer.offset,
                4 * buffer.size,
                buffer.has_halo,
            )
            for buffer in arena.buffers
        ),
        live=tuple(
            sum(4 * buffer.size for buffer in arena.buffers if buffer.first <= step <= buffer.last)
            for step in range(len(plan.steps))
        ),
        arena_bytes=4 * arena.size,
        lower_bound_bytes=4 * arena.lower_bound,
        weight_bytes=4 * plan.blob_floats,
    )
