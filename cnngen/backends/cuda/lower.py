"""Lowering: the kernels that compute a node, with their tiles, and the views they are called on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

from cnngen.backends.cuda.access import c_type, common_width, distances
from cnngen.backends.cuda.kernels import (
    AnyKernel,
    ArgReduceKernel,
    BilinearKernel,
    ChannelNormKernel,
    CopyKernel,
    ElementwiseKernel,
    Epilogue,
    FillKernel,
    GlobalPoolKernel,
    ImageNormKernel,
    LrnKernel,
    MatMulKernel,
    PadKernel,
    PoolKernel,
    ReduceKernel,
    ReshapeKernel,
    ResizeKernel,
    SoftmaxKernel,
    StridedCopyKernel,
    UpsampleKernel,
)
from cnngen.backends.cuda.lower_convolution import convolution, dense, depthwise, transposed
from cnngen.backends.cuda.target import CudaTarget
from cnngen.backends.cuda.tiling import vector_width
from cnngen.ir import Node, TensorType
from cnngen.ops import (
    LRN,
    Activate,
    ArgReduce,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Constant,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthToSpace,
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
    Pad,
    Pool2D,
    PRelu,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    SpaceToDepth,
    Transpose,
    Upsample,
    UpsampleBilinear,
)
from cnngen.plan.axis_loops import product_loops, reduction_loops
from cnngen.plan.layout import Layout, Scratch
from cnngen.plan.loops import Nest, broadcast_nest, different_ranks
from cnngen.plan.memory import View
from cnngen.plan.moves import Move, moves, reshape_move, reshape_views
from cnngen.plan.norm_sets import norm_sets
from cnngen.plan.rearrange import copies, padded_parts
from cnngen.plan.steps import Lowered


def lower(node: Node, layout: Layout, target: CudaTarget, scratch: Scratch) -> Iterator[Lowered[AnyKernel]]:
    """The kernels of one node, in order, each with the views it reads and the view it writes."""
    op = node.op
    reads = tuple(layout.views[name] for name in node.inputs)
    write = layout.views[node.name]
    match op:
        case Conv2D():
            if op.depthwise([TensorType(reads[0].shape)]) and op.filters == op.groups:
                yield depthwise(op, reads, write, target)
            else:
                yield from convolution(op, reads, write, target, scratch)
        case Conv2DTranspose():
            yield from transposed(op, reads, write, target, scratch)
        case Dense():
            yield from dense(op, reads, write, target, scratch)
        case Pool2D():
            yield _pool(op, reads, write, target)
        case GlobalPool2D():
            yield _global_pool(op, reads, write, target)
        case Activate():
            yield elementwise("map", reads, write, target, Epilogue(op.activation))
        case Elementwise() if different_ranks(node, layout):
            yield _in_loops(op.kind, broadcast_nest(node, layout), reads, write, target, Epilogue(op.activation))
        case Elementwise():
            yield elementwise(op.kind, reads, write, target, Epilogue(op.activation))
        case BatchNorm():
            yield elementwise("affine", reads, write, target, Epilogue(op.activation))
        case InstanceNorm() | GroupNorm() | LayerNorm():
            yield _statistics_norm(op, reads, write, target)
        case PRelu():
            yield elementwise("prelu", reads, write, target, Epilogue())
        case LRN():
            types = c_type(reads[0], target), c_type(write, target)
            lrn = LrnKernel(
                target.precision,
                write.shape,
                reads[0].strides,
                write.strides,
                *types,
                op.size,
                op.alpha,
                op.beta,
                op.bias,
            )
            yield Lowered(lrn, reads, write)
        case Softmax() | LogSoftmax():
            types = c_type(reads[0], target), c_type(write, target)
            strides = reads[0].strides, write.strides
            softmax = SoftmaxKernel(target.precision, write.shape, *strides, *types, isinstance(op, LogSoftmax))
            yield Lowered(softmax, reads, write)
        case Upsample() | UpsampleBilinear() | Resize():
            yield _movement(op, reads, write, target)
        case Pad():
            yield from _padded(op, reads[0], write, target)
        case DepthToSpace() | SpaceToDepth() | ChannelShuffle():
            for part, place in copies(op, reads[0], write):
                yield copy(part, place, target)
        case Transpose() | Slice() | Expand():
            yield from (_moved(move, target) for move in moves(op, node, layout))
        case Reduce() | ArgReduce():
            yield Lowered(_reduction(op, node, layout, target), reads, write)
        case MatMul():
            p = product_loops(node, layout)
            types3 = c_type(reads[0], target), c_type(reads[1], target), c_type(write, target)
            matrices = (p.rows, p.inner, p.columns, p.a_strides, p.b_stride, p.out_stride, p.loops)
            yield Lowered(MatMulKernel(target.precision, *matrices, *types3), reads, write)
        case Flatten() | Reshape():
            yield _reshaped(op, node, layout, target)
        case Constant():
            yield copy(layout.constants[node.name], write, target)
        case Identity():
            yield copy(reads[0], write, target)
        case Concat() if not op.of_channels(layout.graph.types[node.name]):
            yield from (_moved(move, target) for move in moves(op, node, layout))
        case Concat():
            first = 0
            for name, read in zip(node.inputs, reads, strict=True):
                slot = write.slice_channels(first, read.shape[3])
                first += read.shape[3]
                if not layout.lies_in(name, node.name):
                    yield copy(read, slot, target)
        case _:
            assert_never(op)


def _statistics_norm(
    op: InstanceNorm | GroupNorm | LayerNorm, reads: tuple[View, ...], write: View, target: CudaTarget
) -> Lowered[AnyKernel]:
    sets = norm_sets(op, reads[0], write)
    types = c_type(reads[0], target), c_type(write, target)
    places = (target.precision, sets.shape, sets.in_strides, sets.out_strides, *types)
    affine = (op.epsilon, op.scale, op.center, Epilogue(op.activation))
    if sets.over_channels:
        return Lowered(ChannelNormKernel(*places, *affine, sets.grouped), reads, write)
    return Lowered(ImageNormKernel(*places, *affine, sets.groups, sets.per_element), reads, write)


def copy(read: View, write: View, target: CudaTarget) -> Lowered[AnyKernel]:
    """A copy between two views of one shape, with the conversion where one side is the caller's."""
    kernel = CopyKernel(
        target.precision, read.shape, read.strides, write.strides, c_type(read, target), c_type(write, target)
    )
    return Lowered(kernel, (read,), write)


def elementwise(
    operation: str, reads: Sequence[View], write: View, target: CudaTarget, epilogue: Epilogue
) -> Lowered[AnyKernel]:
    """The operation on tensors that are broadcast to the shape of `write`."""
    strides = []
    for read in reads:
        pixels = [0 if n == 1 else s for n, s in zip(read.shape[:3], read.strides[:3], strict=True)]
        strides.append((*pixels, read.strides[3] if read.shape[3] == write.shape[3] else 0))
    nest = Nest(write.shape, (*strides, write.strides))
    return _in_loops(operation, nest, reads, write, target, epilogue)


def _in_loops(
    operation: str, nest: Nest, reads: Sequence[View], write: View, target: CudaTarget, epilogue: Epilogue
) -> Lowered[AnyKernel]:
    """The operation in four nested loops with these steps, the output's as the last."""
    *operands, out = ((a, b, c, d) for a, b, c, d in nest.strides)
    numbers = [nest.counts[3]]
    for view, steps in zip((*reads, write), (*operands, out), strict=True):
        if steps[3]:
            numbers += distances(view, nest.counts[:3], steps[:3])
    n, h, w, c = nest.counts
    kernel = ElementwiseKernel(
        target.precision,
        (n, h, w, c),
        tuple(operands),
        out,
        c_type(reads[0], target),
        c_type(write, target),
        vector_width(tuple(numbers), target.precision.element_bytes),
        operation,
        epilogue,
    )
    return Lowered(kernel, tuple(reads), write)


def _pool(op: Pool2D, reads: tuple[View, ...], write: View, target: CudaTarget) -> Lowered[AnyKernel]:
    source = reads[0]
    kernel = PoolKernel(
        target.precision,
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
        c_type(source, target),
        c_type(write, target),
        common_width([source, write], target),
        op.order,
    )
    return Lowered(kernel, reads, write)


def _global_pool(op: GlobalPool2D, reads: tuple[View, ...], write: View, target: CudaTarget) -> Lowered[AnyKernel]:
    source = reads[0]
    kernel = GlobalPoolKernel(
        target.precision,
        op.reduction,
        source.shape[0],
        source.shape[3],
        (source.shape[1], source.shape[2]),
        source.strides,
        write.strides,
        c_type(source, target),
        c_type(write, target),
        op.order,
    )
    return Lowered(kernel, reads, write)


def _movement(
    op: Upsample | UpsampleBilinear | Resize, reads: tuple[View, ...], write: View, target: CudaTarget
) -> Lowered[AnyKernel]:
    (read,) = reads
    precision, strides = target.precision, (read.strides, write.strides)
    types, vector = (c_type(read, target), c_type(write, target)), common_width([read, write], target)
    kernel: AnyKernel
    match op:
        case Upsample():
            kernel = UpsampleKernel(precision, write.shape, *strides, *types, vector, op.scale)
        case UpsampleBilinear():
            kernel = BilinearKernel(precision, write.shape, *strides, *types, vector, op.scale)
        case Resize():
            size, tables = (read.shape[1], read.shape[2]), op.tables(read.shape)
            kernel = ResizeKernel(
                precision, write.shape, *strides, *types, vector, size, tables, op.extrapolation_value
            )
        case _:
            assert_never(op)
    return Lowered(kernel, reads, write)


def _padded(op: Pad, source: View, write: View, target: CudaTarget) -> Iterator[Lowered[AnyKernel]]:
    """The image with its borders, and channels that hold the value alone."""
    for read, place in padded_parts(op, source, write):
        if read is None:
            fill = FillKernel(
                target.precision, place.shape, place.strides, (0, 0, 0, 0), c_type(place, target), False, False,
                Epilogue(), op.value,
            )  # fmt: skip
            yield Lowered(fill, (), place)
        elif any(op.borders):
            types, size = (c_type(read, target), c_type(place, target)), (read.shape[1], read.shape[2])
            kernel = PadKernel(
                target.precision, place.shape, read.strides, place.strides, *types, common_width([read, place], target),
                size, op.borders, op.mode, op.value,
            )  # fmt: skip
            yield Lowered(kernel, (read,), place)
        else:
            yield copy(read, place, target)


def _reduction(
    op: Reduce | ArgReduce, node: Node, layout: Layout, target: CudaTarget
) -> ReduceKernel | ArgReduceKernel:
    loops = reduction_loops(op, node, layout)
    types = c_type(layout.views[node.inputs[0]], target), c_type(layout.views[node.name], target)
    if isinstance(op, Reduce):
        return ReduceKernel(target.precision, op.function, loops.kept, loops.reduced, loops.along, *types)
    count, step = loops.reduced[0] if loops.reduced else (1, 0)
    return ArgReduceKernel(target.precision, op.function, op.select_last, loops.kept, count, step, *types)


def _moved(move: Move, target: CudaTarget) -> Lowered[AnyKernel]:
    types = c_type(move.read, target), c_type(move.write, target)
    reads, writes = move.nest.strides
    kernel = StridedCopyKernel(target.precision, move.nest.counts, reads, writes, *types)
    return Lowered(kernel, (move.read,), move.write)


def _reshaped(op: Flatten | Reshape, node: Node, layout: Layout, target: CudaTarget) -> Lowered[AnyKernel]:
    """A copy in plain loops where one side is dense, else element by element."""
    move = reshape_move(op, node, layout)
    if move is not None:
        return _moved(move, target)
    read, write = reshape_views(op, node, layout)
    types = c_type(read, target), c_type(write, target)
    kernel = ReshapeKernel(target.precision, write.shape, read.strides, write.strides, *types, 1, read.shape, op.order)
    return Lowered(kernel, (read,), write)
