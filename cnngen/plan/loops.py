"""Loops over tensors of any rank: as few as the places of the operands in memory allow. Shared between the backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnngen.errors import PlanError
from cnngen.ir import Node, TensorType
from cnngen.plan.layout import Layout
from cnngen.plan.memory import View, strides_of


@dataclass(frozen=True)
class Nest:
    """Nested loops, the outermost first: their counts, and for each operand its step along each of them."""

    counts: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    def merged(self) -> Nest:
        """Without loops of one step, and neighbours as one where all operands go on where the inner one ended."""
        counts: list[int] = []
        columns: list[tuple[int, ...]] = []  # steps of all operands along a loop
        for count, steps in zip(self.counts, zip(*self.strides, strict=True), strict=True):
            if count == 1:
                continue
            if counts and all(outer == inner * count for outer, inner in zip(columns[-1], steps, strict=True)):
                counts[-1] *= count
                columns[-1] = steps
            else:
                counts.append(count)
                columns.append(steps)
        strides = tuple(zip(*columns, strict=True)) if columns else ((),) * len(self.strides)
        return Nest(tuple(counts), strides)

    def ending_in_a_run(self, fill: int = 1) -> Nest:
        """With a loop of one step more where the innermost one is no run of memory (step 1, or 0 where broadcast)."""
        if self.counts and all(steps[-1] in (0, 1) for steps in self.strides) and self.strides[-1][-1] == 1:
            return self
        return Nest((*self.counts, 1), tuple((*steps, fill) for steps in self.strides))

    def padded(self, loops: int) -> Nest:
        """With loops of one step in front, so that there are `loops` of them."""
        more = loops - len(self.counts)
        return Nest((1,) * more + self.counts, tuple((0,) * more + steps for steps in self.strides))


def broadcast_strides(view: View, tensor: TensorType, shape: Sequence[int]) -> tuple[int, ...]:
    """The step of a tensor along each axis of `shape`, to which it is broadcast: 0 where it is the same all along."""
    own = strides_of(view, tensor)
    missing = len(shape) - len(own)
    steps = [
        0 if size == 1 and whole > 1 else step
        for size, whole, step in zip(tensor.shape, shape[missing:], own, strict=True)
    ]
    return (0,) * missing + tuple(steps)


MAX_LOOPS = 4
"""Nested loops of an elementwise kernel."""


def different_ranks(node: Node, layout: Layout) -> bool:
    """Whether the inputs of `node` are no images or vectors whose axes correspond one to one, and not all alike."""
    types = {*layout.graph.input_types(node), layout.graph.types[node.name]}
    return len(types) > 1 and {len(tensor.shape) for tensor in types} not in ({2}, {4})


def broadcast_nest(node: Node, layout: Layout) -> Nest:
    """`MAX_LOOPS` loops over all elements of `node`, with the steps of its inputs, and its own as the last."""
    tensor = layout.graph.types[node.name]
    nest = operand_nest(
        [(layout.views[name], layout.graph.types[name]) for name in node.inputs], layout.views[node.name], tensor
    )
    if len(nest.counts) > MAX_LOOPS:
        raise PlanError(f"broadcasting takes {len(nest.counts)} loops", layer=node.name)
    return nest.padded(MAX_LOOPS)


def operand_nest(operands: Sequence[tuple[View, TensorType]], write: View, tensor: TensorType) -> Nest:
    """As few loops as possible over a tensor at `write`, to which the operands are broadcast."""
    steps = [broadcast_strides(view, own, tensor.shape) for view, own in operands]
    return Nest(tensor.shape, (*steps, strides_of(write, tensor))).merged().ending_in_a_run()
