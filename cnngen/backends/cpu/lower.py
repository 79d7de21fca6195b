"""Lowering: the kernel that computes a node, with its tiles, and the views it is called on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from cnngen.backends.cpu.choices import unpooled
from cnngen.backends.cpu.kernels import (
    AnyKernel,
    ArgReduceKernel,
    BilinearKernel,
    ChannelNormKernel,
    CopyKernel,
    ElementwiseKernel,
    Epilogue,
    FillKernel,
    ImageNormKernel,
    LrnKernel,
    MatMulKernel,
    Operation,
    PadKernel,
    PoolKernel,
    ReduceKernel,
    ReshapeKernel,
    ResizeKernel,
    SoftmaxKernel,
    StridedCopyKernel,
    Strides,
    UpsampleKernel,
)
from cnngen.backends.cpu.lower_convolution import convolution, dense, pools_itself, results_in, transposed
from cnngen.backends.cpu.target import Target
from cnngen.ir import Node
from cnngen.ops import (
    LRN,
    Activate,
    Activation,
    Add,
    ArgReduce,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Constant,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthToSpace,
    Div,
    Elementwise,
    Expand,
    Flatten,
    GlobalPool2D,
    GroupNorm,
    Identity,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    MatMul,
    Maximum,
    Minimum,
    Mul,
    Pad,
    Pool2D,
    Power,
    PRelu,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    SpaceToDepth,
    Sub,
    Transpose,
    Upsample,
    UpsampleBilinear,
)
from cnngen.plan.axis_loops import product_loops, reduction_loops
from cnngen.plan.layout import Layout, Scratch
from cnngen.plan.loops import broadcast_nest, different_ranks
from cnngen.plan.memory import View
from cnngen.plan.moves import Move, moves, reshape_move, reshape_views
from cnngen.plan.norm_sets import norm_sets
from cnngen.plan.rearrange import copies, padded_parts
from cnngen.plan.steps import Lowered

ARITHMETIC: dict[type[Elementwise], Operation] = {
    Add: "add",
    Sub: "sub",
    Mul: "mul",
    Div: "div",
    Power: "pow",
    Maximum: "maximum",
    Minimum: "minimum",
}


def lower(node: Node, layout: Layout, target: Target, scratch: Scratch) -> Iterator[Lowered[AnyKernel]]:
    """The kernels of one node, in order, each with the views it reads and the view it writes."""
    op = node.op
    reads = tuple(layout.views[name] for name in node.inputs)
    write = layout.views[node.name]
    lanes = target.isa.lanes
    match op:
        case Conv2D() if op.pool == (1, 1) or pools_itself(op, reads[0], write, target):
            yield convolution(op, reads, write, target, scratch)
        case Conv2D():
            before = results_in(scratch, unpooled(op, write.shape)[1])
            yield convolution(op.unpooled, reads, before, target, scratch)
            yield Lowered(_pool(Pool2D("max", op.pool, op.pool), before, write, lanes), (before,), write)
        case Conv2DTranspose():
            yield from transposed(op, reads, write, target)
        case Dense():
            yield dense(op, reads, write, target)
        case Pool2D():
            yield Lowered(_pool(op, reads[0], write, lanes), reads, write)
        case GlobalPool2D():
            size = reads[0].shape[1:3]
            yield Lowered(_pool(Pool2D(op.reduction, size, size, order=op.order), reads[0], write, lanes), reads, write)
        case Activate():
            yield Lowered(_elementwise("map", reads, write, lanes, op.activation), reads, write)
        case Elementwise() if different_ranks(node, layout):
            yield Lowered(_broadcast(ARITHMETIC[type(op)], node, layout, lanes, op.activation), reads, write)
        case Elementwise():
            yield Lowered(_elementwise(ARITHMETIC[type(op)], reads, write, lanes, op.activation), reads, write)
        case BatchNorm():
            yield Lowered(_elementwise("affine", reads, write, lanes, op.activation), reads, write)
        case InstanceNorm() | GroupNorm() | LayerNorm():
            yield Lowered(_statistics_norm(op, reads[0], write, lanes), reads, write)
        case PRelu():
            yield Lowered(_elementwise("prelu", reads, write, lanes), reads, write)
        case LRN():
            kernel = LrnKernel(lanes, write.shape, reads[0].strides, write.strides, op.size, op.alpha, op.beta, op.bias)
            yield Lowered(kernel, reads, write)
        case Softmax():
            yield Lowered(SoftmaxKernel(lanes, write.shape, reads[0].strides, write.strides), reads, write)
        case LogSoftmax():
            logarithm = SoftmaxKernel(lanes, write.shape, reads[0].strides, write.strides, logarithm=True)
            yield Lowered(logarithm, reads, write)
        case Transpose() | Slice() | Expand():
            yield from (_moved(move, lanes) for move in moves(op, node, layout))
        case Reduce():
            loops = reduction_loops(op, node, layout)
            reduce = ReduceKernel(lanes, op.function, loops.kept, loops.reduced, loops.along)
            yield Lowered(reduce, reads, write)
        case ArgReduce():
            loops = reduction_loops(op, node, layout)
            count, step = loops.reduced[0] if loops.reduced else (1, 0)
            yield Lowered(ArgReduceKernel(lanes, op.function, op.select_last, loops.kept, count, step), reads, write)
        case MatMul():
            p = product_loops(node, layout)
            product = MatMulKernel(lanes, p.rows, p.inner, p.columns, p.a_strides, p.b_stride, p.out_stride, p.loops)
            yield Lowered(product, reads, write)
        case Flatten() | Reshape():
            yield _reshaped(op, node, layout, lanes)
        case Constant():
            yield copy(layout.constants[node.name], write, lanes)
        case Upsample():
            yield Lowered(UpsampleKernel(lanes, write.shape, op.scale, reads[0].strides, write.strides), reads, write)
        case UpsampleBilinear():
            positions = (op.positions(0), op.positions(1))
            bilinear = BilinearKernel(lanes, write.shape, op.scale, reads[0].strides, write.strides, positions)
            yield Lowered(bilinear, reads, write)
        case Resize():
            tables, size = op.tables(reads[0].shape), (reads[0].shape[1], reads[0].shape[2])
            value, strides = op.extrapolation_value, reads[0].strides
            yield Lowered(ResizeKernel(lanes, write.shape, size, tables, value, strides, write.strides), reads, write)
        case DepthToSpace() | SpaceToDepth() | ChannelShuffle():
            for part, place in copies(op, reads[0], write):
                yield Lowered(CopyKernel(lanes, part.shape, part.strides, place.strides), (part,), place)
        case Pad():
            yield from _padded(op, reads[0], write, lanes)
        case Concat() if not op.of_channels(layout.graph.types[node.name]):
            yield from (_moved(move, lanes) for move in moves(op, node, layout))
        case Concat():
            first = 0
            for name, read in zip(node.inputs, reads, strict=True):
                slot = write.slice_channels(first, read.shape[3])
                first += read.shape[3]
                if not layout.lies_in(name, node.name):
                    yield copy(read, slot, lanes)
        case Identity():
            yield copy(reads[0], write, lanes)
        case _:
            assert_never(op)


def copy(read: View, write: View, lanes: int) -> Lowered[AnyKernel]:
    """A copy between two views of one shape."""
    return Lowered(CopyKernel(lanes, read.shape, read.strides, write.strides), (read,), write)


def _statistics_norm(
    op: InstanceNorm | GroupNorm | LayerNorm, read: View, write: View, lanes: int
) -> ImageNormKernel | ChannelNormKernel:
    sets = norm_sets(op, read, write)
    places = (lanes, sets.shape, sets.in_strides, sets.out_strides)
    affine = (op.epsilon, op.scale, op.center, Epilogue(op.activation))
    if sets.over_channels:
        return ChannelNormKernel(*places, *affine, sets.grouped)
    return ImageNormKernel(*places, *affine, sets.groups, sets.per_element)


def _pool(op: Pool2D, source: View, write: View, lanes: int) -> PoolKernel:
    return PoolKernel(
        lanes,
        op.reduction,
        op.kernel,
        op.stride,
        op.dilation,
        op.padding,
        op.count_include_pad,
        source.shape[0],
        source.shape[3],
        (source.shape[1], source.shape[2]),
        (write.shape[1], write.shape[2]),
        source.strides,
        write.strides,
        op.order,
    )


def _padded(op: Pad, source: View, write: View, lanes: int) -> Iterator[Lowered[AnyKernel]]:
    """The image with its borders, and channels that hold the value alone."""
    for read, place in padded_parts(op, source, write):
        if read is None:
            fill = FillKernel(lanes, place.shape, place.strides, None, False, Epilogue(), op.value)
            yield Lowered(fill, (), place)
        elif any(op.borders):
            size, value = (read.shape[1], read.shape[2]), op.value if op.mode == "constant" else 0.0
            pad = PadKernel(lanes, place.shape, size, op.borders, op.mode, value, read.strides, place.strides)
            yield Lowered(pad, (read,), place)
        else:
            yield Lowered(CopyKernel(lanes, read.shape, read.strides, place.strides), (read,), place)


def _elementwise(
    operation: Operation, reads: Sequence[View], write: View, lanes: int, activation: Activation | None = None
) -> ElementwiseKernel:
    operands = [_spread(read, write.shape) for read in reads]
    kernel = ElementwiseKernel(lanes, write.shape, tuple(operands), write.strides, operation, Epilogue(activation))
    n, h, w, c = write.shape
    if kernel.parameters or any(strides[2] != c * strides[3] for strides in (*operands, write.strides)):
        return kernel
    # A row of pixels is one run of memory in every operand: as one pixel of many channels it has fewer tails.
    rows = [(strides[0], strides[1], w * c * strides[3], strides[3]) for strides in (*operands, write.strides)]
    return replace(kernel, shape=(n, h, 1, w * c), in_strides=tuple(rows[:-1]), out_strides=rows[-1])


def _broadcast(
    operation: Operation, node: Node, layout: Layout, lanes: int, activation: Activation | None
) -> ElementwiseKernel:
    """The operation on tensors of any ranks: the loops that the places of all of them leave."""
    nest = broadcast_nest(node, layout)
    n, h, w, c = nest.counts
    *operands, out = ((a, b, c, d) for a, b, c, d in nest.strides)
    return ElementwiseKernel(lanes, (n, h, w, c), tuple(operands), out, operation, Epilogue(activation))


def _moved(move: Move, lanes: int) -> Lowered[AnyKernel]:
    """A copy; of a transposition the loop that reads neighbours is next to the one that writes them."""
    counts, (reads, writes) = move.nest.counts, move.nest.strides
    if len(counts) > 2 and writes[-1] == 1 and reads[-1] not in (0, 1) and 1 in reads:
        order = [axis for axis in range(len(counts)) if reads[axis] != 1]
        order.insert(len(order) - 1, reads.index(1))
        counts, reads, writes = (tuple(steps[axis] for axis in order) for steps in (counts, reads, writes))
    return Lowered(StridedCopyKernel(lanes, counts, reads, writes), (move.read,), move.write)


def _reshaped(op: Flatten | Reshape, node: Node, layout: Layout, lanes: int) -> Lowered[AnyKernel]:
    """A copy in plain loops where one side is dense, else element by element."""
    move = reshape_move(op, node, layout)
    if move is not None:
        return _moved(move, lanes)
    read, write = reshape_views(op, node, layout)
    kernel = ReshapeKernel(lanes, write.shape, read.shape, op.order, read.strides, write.strides)
    return Lowered(kernel, (read,), write)


def _spread(read: View, shape: tuple[int, int, int, int]) -> Strides:
    """The strides of an operand that is broadcast to `shape`: 0 along the axes that it lacks."""
    n, h, w, c = (
        0 if own == 1 and whole > 1 else stride
        for own, whole, stride in zip(read.shape, shape, read.strides, strict=True)
    )
    return n, h, w, c
