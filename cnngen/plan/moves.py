"""Where ops that move elements along any axes of any rank find them and put them. Shared between the backends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cnngen.ir import Node, TensorType
from cnngen.ops import Concat, Expand, Flatten, Reshape, Slice, Transpose
from cnngen.plan.layout import Layout
from cnngen.plan.loops import Nest, broadcast_strides
from cnngen.plan.memory import View, dense_strides, strides_of


@dataclass(frozen=True)
class Move:
    """A copy of as few nested loops as possible: element (i, j, ...) is read from `read` and written to `write`.

    `nest` has the steps in memory of the input, then those of the output, and is in the order of the output.
    """

    read: View
    write: View
    nest: Nest

    @staticmethod
    def of(shape: tuple[int, ...], read: View, reads: tuple[int, ...], write: View, writes: tuple[int, ...]) -> Move:
        nest = Nest(shape, (reads, writes)).merged()
        return Move(read, write, nest if nest.counts else Nest((1,), ((1,), (1,))))


def moves(op: Transpose | Slice | Concat | Expand, node: Node, layout: Layout) -> Iterator[Move]:
    """The copies that make up `node`."""
    write, tensor = layout.views[node.name], layout.graph.types[node.name]
    writes = strides_of(write, tensor)
    for name in node.inputs:
        read, source = layout.views[name], layout.graph.types[name]
        steps = strides_of(read, source)
        match op:
            case Transpose():
                yield Move.of(tensor.shape, read, tuple(steps[axis] for axis in op.axes), write, writes)
            case Slice():
                taken = list(steps)
                for cut in op.cuts:
                    read = replace(read, offset=read.offset + cut.start * steps[cut.axis])
                    taken[cut.axis] = cut.step * steps[cut.axis]
                yield Move.of(tensor.shape, read, tuple(taken), write, writes)
            case Expand():
                yield Move.of(tensor.shape, read, broadcast_strides(read, source, tensor.shape), write, writes)
            case Concat():
                yield Move.of(source.shape, read, steps, write, writes)
                write = replace(write, offset=write.offset + source.shape[op.axis] * writes[op.axis])


def reshape_move(op: Flatten | Reshape, node: Node, layout: Layout) -> Move | None:
    """The copy that a reshape is where one side has no gaps: its elements are numbered as those of the other side."""
    read, write = layout.views[node.inputs[0]], layout.views[node.name]
    if op.order == "hwc":
        if read.dense:
            return Move.of(write.shape, read, dense_strides(write.shape), write, write.strides)
        if write.dense:
            return Move.of(read.shape, read, read.strides, write, dense_strides(read.shape))
    elif len(layout.graph.types[node.name].shape) != 4:
        # The output lies as it is numbered, so the input's elements go to where their number says.
        n, h, w, c = read.shape
        return Move.of((n, c, h, w), read, _channels_first(read.strides), write, (h * w * c, h * w, w, 1))
    return None


def reshape_views(op: Flatten | Reshape, node: Node, layout: Layout) -> tuple[View, View]:
    """What a reshape reads and writes, as images whose elements `op.order` numbers."""
    types = layout.graph.types
    read, write = layout.views[node.inputs[0]], layout.views[node.name]
    if op.order == "hwc":
        return read, write
    return _numbered(read, types[node.inputs[0]]), _numbered(write, types[node.name])


def _channels_first(strides: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    n, h, w, c = strides
    return n, c, h, w


def _numbered(view: View, tensor: TensorType) -> View:
    """A tensor that is no image as one row of elements for each of its batch: they are numbered as they lie."""
    if len(tensor.shape) in (2, 4):
        return view
    batch, h, w, c = view.shape
    size = h * w * c
    return replace(view, shape=(batch, 1, 1, size), strides=(size, size, size, 1))
