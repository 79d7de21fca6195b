"""The loops of reductions and of matrix products over tensors of any rank. Shared between the backends."""

from __future__ import annotations

from dataclasses import dataclass

from cnngen.ir import Node
from cnngen.ops import ArgReduce, Reduce
from cnngen.ops.matmul import matrices
from cnngen.plan.layout import Layout
from cnngen.plan.loops import Nest
from cnngen.plan.memory import View, strides_of

Loop = tuple[int, int, int]
"""Count, and the steps of what is read and of what is written."""


@dataclass(frozen=True)
class ReductionLoops:
    """The loops over what is kept, and inside of them those over what is reduced: counts and steps.

    `along` says that the innermost loop of all reads neighbours that become one; else it is that over what is kept,
    and both sides go on by 1 there.
    """

    kept: tuple[Loop, ...]
    reduced: tuple[tuple[int, int], ...]
    along: bool


def reduction_loops(op: Reduce | ArgReduce, node: Node, layout: Layout) -> ReductionLoops:
    """As few loops as the places in memory allow."""
    (name,) = node.inputs
    read, source = layout.views[name], layout.graph.types[name]
    write, tensor = layout.views[node.name], layout.graph.types[node.name]
    axes = op.reduced()
    steps = iter(strides_of(write, tensor))
    kept = [axis for axis in range(len(source.shape)) if axis not in axes]
    if op.keep_dims:
        own = dict(enumerate(steps))
        outs = [0 if axis in axes else own[axis] for axis in range(len(source.shape))]
    else:
        outs = [next(steps) if axis in kept else 0 for axis in range(len(source.shape))]
    nest = Nest(source.shape, (strides_of(read, source), tuple(outs))).merged()
    loops = list(zip(nest.counts, *nest.strides, strict=True))
    along = bool(loops) and loops[-1][2] == 0 and loops[-1][1] == 1
    if not along and not (loops and loops[-1][1:] == (1, 1)):
        loops.append((1, 1, 1))
    return ReductionLoops(
        tuple(loop for loop in loops if loop[2]), tuple(loop[:2] for loop in loops if not loop[2]), along
    )


@dataclass(frozen=True)
class Product:
    """Matrix products ``y = a b`` of (rows, inner) and (inner, columns), and the loops over pairs of matrices.

    The steps of a loop are those of a, b and y; columns lie side by side in b and y.
    """

    reads: tuple[View, View]
    write: View
    rows: int
    inner: int
    columns: int
    a_strides: tuple[int, int]
    b_stride: int
    out_stride: int
    loops: tuple[tuple[int, int, int, int], ...]


def product_loops(node: Node, layout: Layout) -> Product:
    """The places of both operands and of the result as matrices."""
    types, write = layout.graph.input_types(node), layout.views[node.name]
    views = layout.views[node.inputs[0]], layout.views[node.inputs[1]]
    (a, b), steps = (
        matrices(types[0].shape, types[1].shape),
        [strides_of(v, t) for v, t in zip(views, types, strict=True)],
    )
    a_steps = (0, *steps[0]) if len(types[0].shape) == 1 else steps[0]
    b_steps = (*steps[1], 1) if len(types[1].shape) == 1 else steps[1]
    tensor = layout.graph.types[node.name]
    outs = list(strides_of(write, tensor))
    if len(types[1].shape) == 1:
        outs.append(1)
    if len(types[0].shape) == 1:
        outs.insert(len(outs) - 1, 0)
    front = tensor.shape[: len(outs) - 2]
    pairs = []
    for shape, own in ((a, a_steps), (b, b_steps)):
        missing = len(front) - (len(shape) - 2)
        pairs.append((0,) * missing + tuple(0 if n == 1 else s for n, s in zip(shape[:-2], own[:-2], strict=True)))
    nest = Nest(front, (*pairs, tuple(outs[:-2]))).merged()
    return Product(
        (views[0], views[1]),
        write,
        a[-2],
        a[-1],
        b[-1],
        (a_steps[-2], a_steps[-1]),
        b_steps[-2],
        outs[-2],
        tuple((count, *rest) for count, *rest in zip(nest.counts, *nest.strides, strict=True)),
    )
