"""Lowering: the kernel that computes a node, with its tiles, and the views it is called on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from cnngen.backends.cpu import tiling
from cnngen.backends.cpu.kernels import (
    AnyKernel,
    Axis,
    ConvKernel,
    CopyKernel,
    DepthwiseKernel,
    ElementwiseKernel,
    Epilogue,
    Loop,
    LrnKernel,
    Operation,
    Pixel,
    PlanarConvKernel,
    PoolKernel,
    SoftmaxKernel,
    Strides,
    UpsampleKernel,
    even_strips,
)
from cnngen.backends.cpu.layout import Layout
from cnngen.backends.cpu.target import Target
from cnngen.ir import Node, TensorType
from cnngen.ops import (
    LRN,
    Activate,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Div,
    Elementwise,
    Flatten,
    GlobalPool2D,
    Identity,
    Maximum,
    Minimum,
    Mul,
    Pool2D,
    PRelu,
    Softmax,
    Sub,
    Transpose,
    Upsample,
)
from cnngen.plan.memory import View

Lowered = tuple[AnyKernel, tuple[View, ...], View]

ARITHMETIC: dict[type[Elementwise], Operation] = {
    Add: "add",
    Sub: "sub",
    Mul: "mul",
    Div: "div",
    Maximum: "maximum",
    Minimum: "minimum",
}

ONE_ROW_PIXELS = 64
"""Up to so many pixels an image may be tiled as one row: each tile is a function of its own."""

PLANAR_STORE_CYCLES = 1.2
"""Cycles to store one result of the planar convolution, which turns rows into pixels."""


def lower(node: Node, layout: Layout, target: Target) -> Iterator[Lowered]:
    """The kernels of one node, in order, each with the views it reads and the view it writes."""
    op = node.op
    reads = tuple(layout.views[name] for name in node.inputs)
    write = layout.views[node.name]
    lanes = target.isa.lanes
    match op:
        case Conv2D():
            yield _convolution(op, reads, write, target)
        case Dense():
            yield _dense(op, reads, write, target)
        case Pool2D():
            yield _pool(op, reads[0], write, lanes), reads, write
        case GlobalPool2D():
            size = reads[0].shape[1:3]
            yield _pool(Pool2D(op.reduction, size, size), reads[0], write, lanes), reads, write
        case Activate():
            yield _elementwise("map", reads, write, lanes, op.activation), reads, write
        case Elementwise():
            yield _elementwise(ARITHMETIC[type(op)], reads, write, lanes, op.activation), reads, write
        case BatchNorm():
            yield _elementwise("affine", reads, write, lanes), reads, write
        case PRelu():
            yield _elementwise("prelu", reads, write, lanes), reads, write
        case LRN():
            kernel = LrnKernel(lanes, write.shape, reads[0].strides, write.strides, op.size, op.alpha, op.beta, op.bias)
            yield kernel, reads, write
        case Softmax():
            yield SoftmaxKernel(lanes, write.shape, reads[0].strides, write.strides), reads, write
        case Transpose():
            read = _permuted(reads[0], op.axes)
            yield CopyKernel(lanes, write.shape, read.strides, write.strides), (read,), write
        case Upsample():
            yield UpsampleKernel(lanes, write.shape, op.scale, reads[0].strides, write.strides), reads, write
        case Flatten():
            yield _flatten_copy(op, reads[0], write, lanes)
        case Concat():
            first = 0
            for name, read in zip(node.inputs, reads, strict=True):
                slot = write.slice_channels(first, read.shape[3])
                first += read.shape[3]
                if not layout.lies_in(name, node.name):
                    yield CopyKernel(lanes, read.shape, read.strides, slot.strides), (read,), slot
        case Identity():
            yield CopyKernel(lanes, write.shape, reads[0].strides, write.strides), reads, write
        case _:
            assert_never(op)


def merge_axes(axes: Sequence[Axis]) -> list[Axis]:
    """The same loop nest with as few loops as possible; at least one remains."""
    merged = [axes[0]]
    for inner in axes[1:]:
        outer = merged[-1]
        steps = (inner.input * inner.count, inner.output * inner.count, inner.residual * inner.count)
        if inner.count == 1:
            continue
        if outer.count == 1:
            merged[-1] = inner
        elif (outer.input, outer.output, outer.residual) == steps:
            merged[-1] = replace(inner, count=inner.count * outer.count)
        else:
            merged.append(inner)
    return merged


def row_pixels(axes: Sequence[Axis]) -> tuple[Pixel, ...]:
    """Every pixel of a loop nest, the last axis fastest."""
    counts = [range(axis.count) for axis in axes]
    return tuple(
        Pixel(
            sum(i * axis.input for i, axis in zip(position, axes, strict=True)),
            sum(i * axis.output for i, axis in zip(position, axes, strict=True)),
            sum(i * axis.residual for i, axis in zip(position, axes, strict=True)),
        )
        for position in itertools.product(*counts)
    )


def merge_loops(loops: Sequence[Loop]) -> tuple[Loop, ...]:
    """The same reduction with as few loops as possible; at least one remains."""
    merged: list[Loop] = []
    for inner in loops:
        if inner.count == 1:
            continue
        if merged and merged[-1].step == inner.count * inner.step:
            merged[-1] = Loop(merged[-1].count * inner.count, inner.step, f"{merged[-1].index}_{inner.index}")
        else:
            merged.append(inner)
    return tuple(merged) or (loops[-1],)


def _convolution(op: Conv2D, reads: tuple[View, ...], write: View, target: Target) -> Lowered:
    source, lanes = reads[0], target.isa.lanes
    top, _, left, _ = op.padding
    shifted = replace(source, offset=source.offset - top * source.strides[1] - left * source.strides[2])
    residual = reads[1] if op.residual else None
    reads = (shifted, *reads[1:])
    axes = _pixel_axes(op.stride, source, write, residual)
    name = "x".join(map(str, op.kernel)) + "s" + "x".join(map(str, sorted(set(op.stride))))
    channels = source.shape[3]
    epilogue = Epilogue(op.activation)
    if op.depthwise([TensorType(source.shape)]) and op.filters == channels:
        merged = [axis for axis in axes[:2] if axis.count > 1] or [axes[0]]
        strips = tiling.tile_row(axes[2].count, 1, target.isa.registers, op.kernel[1] + 1).strips
        return (
            DepthwiseKernel(
                lanes,
                f"dwconv2d_{name}",
                tuple(merged),
                axes[2],
                channels,
                op.kernel,
                op.dilation[0] * source.strides[1],
                source.strides[2],
                op.stride[1],
                op.dilation[1],
                strips,
                op.use_bias,
                op.residual,
                epilogue,
            ),
            reads,
            write,
        )
    planar = _planar(op, name, shifted, write, residual, target, axes)
    if planar is not None:
        return planar, reads, write
    group_inputs = channels // op.groups
    loops = merge_loops(
        [
            Loop(op.kernel[0], op.dilation[0] * source.strides[1], "ky"),
            Loop(op.kernel[1], op.dilation[1] * source.strides[2], "kx"),
            Loop(group_inputs, source.strides[3], "c"),
        ]
    )
    kernel = _tiled(
        f"conv2d_{name}", axes, op.groups, group_inputs, op.filters // op.groups, source.strides[3], loops,
        op.use_bias, op.residual, epilogue, target,
    )  # fmt: skip
    return kernel, reads, write


def _dense(op: Dense, reads: tuple[View, ...], write: View, target: Target) -> Lowered:
    source = reads[0]
    axes = _pixel_axes((1, 1), source, write, None)
    features = source.shape[3]
    loops, epilogue = (Loop(features, 1, "c"),), Epilogue(op.activation)
    kernel = _tiled("dense", axes, 1, features, op.units, 1, loops, op.use_bias, False, epilogue, target)
    return kernel, reads, write


def _tiled(
    family: str,
    axes: Sequence[Axis],
    groups: int,
    group_inputs: int,
    group_outputs: int,
    channel_step: int,
    loops: tuple[Loop, ...],
    has_bias: bool,
    has_residual: bool,
    epilogue: Epilogue,
    target: Target,
) -> ConvKernel:
    lanes, registers = target.isa.lanes, target.isa.registers
    *outer, columns = merge_axes(axes)
    if not outer and columns.count > 1:
        length = tiling.chunk(columns.count, group_outputs, lanes, registers)
        outer = [
            Axis(columns.count // length, length * columns.input, length * columns.output, length * columns.residual)
        ]
        columns = replace(columns, count=length)
    pixels = row_pixels([columns])
    tiled = tiling.tile_channels(group_outputs, len(pixels), lanes, registers)
    rows = math.prod(axis.count for axis in outer)
    if rows > 1 and rows * len(pixels) <= ONE_ROW_PIXELS:
        # Tiles that cross the lines of a small image waste fewer pixels and read the weights less often.
        crossing = tiling.tile_channels(group_outputs, rows * len(pixels), lanes, registers)
        if crossing.cycles < 0.97 * rows * tiled.cycles:
            pixels, tiled, outer = row_pixels([*outer, columns]), crossing, []
    blocks = tuple(replace(block, strips=even_strips(block.strips, pixels)) for block in tiled.blocks)
    return ConvKernel(
        lanes,
        family,
        tuple(outer) or (Axis(1, 0, 0, 0),),
        pixels,
        groups,
        group_inputs,
        group_outputs,
        group_inputs * channel_step,
        loops,
        blocks,
        has_bias,
        has_residual,
        epilogue,
    )


def _planar(
    op: Conv2D, name: str, source: View, write: View, residual: View | None, target: Target, axes: Sequence[Axis]
) -> PlanarConvKernel | None:
    """The planar kernel, where the input allows it and the model finds it faster than the direct one."""
    lanes, registers = target.isa.lanes, target.isa.registers
    columns = axes[2]
    if lanes == 1 or columns.input != 1 or op.groups != 1 or op.stride[1] != 1:
        return None
    vectors, filters_tile, cycles = tiling.planar_tile(columns.count, op.filters, lanes, registers)
    taps = [
        a * op.dilation[0] * source.strides[1] + b * op.dilation[1] + c * source.strides[3]
        for a in range(op.kernel[0])
        for b in range(op.kernel[1])
        for c in range(source.shape[3])
    ]
    planar_cycles = len(taps) * cycles + PLANAR_STORE_CYCLES * columns.count * op.filters
    direct_cycles = len(taps) * tiling.tile_channels(op.filters, columns.count, lanes, registers).cycles
    if planar_cycles >= direct_cycles:
        return None
    return PlanarConvKernel(
        lanes,
        f"conv2d_{name}",
        tuple(axis for axis in axes[:2] if axis.count > 1) or (axes[1],),
        columns.count,
        op.filters,
        filters_tile,
        vectors,
        tuple(taps),
        write.strides[2],
        residual.strides[2] if residual else 0,
        op.use_bias,
        op.residual,
        Epilogue(op.activation),
    )


def _pixel_axes(stride: tuple[int, int], source: View, write: View, residual: View | None) -> list[Axis]:
    """Loops over images, rows and columns of the output."""
    steps = (1, *stride)
    extra = residual.strides if residual else (0, 0, 0, 0)
    return [Axis(write.shape[i], steps[i] * source.strides[i], write.strides[i], extra[i]) for i in range(3)]


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
    )


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


def _spread(read: View, shape: tuple[int, int, int, int]) -> Strides:
    """The strides of an operand that is broadcast to `shape`: 0 along the axes that it lacks."""
    n, h, w, c = (
        0 if own == 1 and whole > 1 else stride
        for own, whole, stride in zip(read.shape, shape, read.strides, strict=True)
    )
    return n, h, w, c


def _flatten_copy(op: Flatten, read: View, write: View, lanes: int) -> Lowered:
    """Copy into a dense vector whose elements are numbered in the flatten's order."""
    n, h, w, c = read.shape
    strides = (h * w * c, w * c, c, 1) if op.order == "hwc" else (h * w * c, w, 1, h * w)
    target = View(write.space, write.index, write.offset, read.shape, strides)
    if math.prod((h, w, c)) != write.shape[3]:
        raise AssertionError("a flatten keeps the number of elements")
    return CopyKernel(lanes, (n, h, w, c), read.strides, strides), (read,), target


def _permuted(view: View, axes: tuple[int, ...]) -> View:
    a, b, c, d = axes
    shape, strides = view.shape, view.strides
    return replace(
        view, shape=(shape[a], shape[b], shape[c], shape[d]), strides=(strides[a], strides[b], strides[c], strides[d])
    )
