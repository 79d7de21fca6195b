"""Lowering of convolutions and dense layers: which kernel, which loops merge, which tiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cnngen.backends.cpu import blocking, tiling, winograd, winograd_rows
from cnngen.backends.cpu.choices import Choice, Image, unpooled
from cnngen.backends.cpu.kernels import (
    AnyKernel,
    Axis,
    ConvKernel,
    DepthwiseKernel,
    Epilogue,
    FillKernel,
    Loop,
    Pixel,
    PlanarConvKernel,
    even_strips,
)
from cnngen.backends.cpu.kernels.convolution import STREAMED_BYTES
from cnngen.backends.cpu.target import Target
from cnngen.errors import PlanError
from cnngen.ir import TensorType
from cnngen.ops import Conv2D, Conv2DTranspose, Dense
from cnngen.plan.layout import Scratch
from cnngen.plan.memory import View
from cnngen.plan.phases import phase_view
from cnngen.plan.steps import Lowered
from cnngen.weight_storage import narrows

PLANAR_STORE_CYCLES = 1.2
"""Cycles to store one result of the planar convolution, which turns rows into pixels."""


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


def convolution(
    op: Conv2D, reads: tuple[View, ...], write: View, target: Target, scratch: Scratch
) -> Lowered[AnyKernel]:
    """A convolution in one kernel: Winograd's, in both directions or along the height, depthwise, planar or direct."""
    source = reads[0]
    choice = winograd.choose(op, source.shape, write.shape, target) if op.pool == (1, 1) else None
    if choice and source.strides[3] == write.strides[3] == 1:
        kernel = winograd.kernel(op, source, write, reads[1] if op.residual else None, choice, target)
        begin = (_with_padding(op, source), *reads[1:])
        return Lowered(kernel, begin, write, scratch=scratch(target.threads * kernel.scratch_floats))
    name = "x".join(map(str, op.kernel)) + "s" + "x".join(map(str, sorted(set(op.stride))))
    along = along_height(op, source, write, target)
    if along and along.algorithm == "planar rows":
        planar = winograd_rows.planar_kernel(op, _with_padding(op, source), write, along, target)
        return Lowered(planar, (_with_padding(op, source),), write)
    if along:

        def product(size: int, block: int, in_row: int, out_row: int) -> ConvKernel:
            _, _, pixel, channel = source.strides
            columns = unpooled(op, write.shape)[1][2]
            axes = [Axis(block, in_row, out_row), Axis(columns, op.stride[1] * pixel, out_row // columns)]
            loops = merge_loops(
                [
                    Loop(op.stride[0], in_row // op.stride[0], "phase"),
                    Loop(op.kernel[1], op.dilation[1] * pixel, "kx"),
                    Loop(source.shape[3], channel, "c"),
                ]
            )
            return _tiled(
                "product", axes, size, source.shape[3], op.filters, channel, loops,
                False, False, Epilogue(), replace(target, threads=1), along,
            )  # fmt: skip

        begin = (_with_padding(op, source), *reads[1:])
        residual = reads[1] if op.residual else None
        rows = winograd_rows.kernel(op, source, write, residual, along, target, product)
        return Lowered(rows, begin, write, scratch=scratch(target.threads * rows.scratch_floats))
    chosen = target.choices.find(op, source.shape, write.shape)
    return windowed(op, f"conv2d_{name}", reads, write, target, chosen)


def along_height(op: Conv2D, source: View, write: View, target: Target) -> Choice | None:
    """How Winograd's algorithm along the height computes a layer, where it does and all lies as its kernels need it."""
    plain, results = unpooled(op, write.shape)
    choice = winograd_rows.choose(plain, source.shape, results, target)
    return choice if choice and winograd_rows.fits(choice, source, write) else None


def pools_itself(op: Conv2D, source: View, write: View, target: Target) -> bool:
    """Whether the kernel of a convolution takes the maxima that are fused into it."""
    return along_height(op, source, write, target) is not None


def results_in(scratch: Scratch, shape: Image) -> View:
    """Room for an image of this shape, which only the calls of one step see."""
    _, height, width, channels = shape
    strides = (height * width * channels, width * channels, channels, 1)
    return replace(scratch(math.prod(shape)), shape=shape, strides=strides)


def transposed(
    op: Conv2DTranspose, reads: tuple[View, ...], write: View, target: Target
) -> Iterator[Lowered[AnyKernel]]:
    """A transposed convolution: for each phase of the output a convolution of stride 1 with some of the taps.

    Phases with equal numbers of taps are calls of one kernel. One without taps is filled with what the
    epilogue makes of nothing.
    """
    sizes = write.shape[1:3]
    strides = "x".join(map(str, sorted(set(op.stride))))
    for rows, columns in itertools.product(op.phases(0, sizes[0]), op.phases(1, sizes[1])):
        own, *residual = (phase_view(view, op.stride, rows, columns) for view in (write, *reads[1:]))
        taps = (rows.taps, columns.taps)
        kernel = (len(rows.taps), len(columns.taps))
        if 0 in kernel:
            fill = FillKernel(
                target.isa.lanes,
                own.shape,
                own.strides,
                residual[0].strides if residual else None,
                op.use_bias,
                Epilogue(op.activation),
            )
            yield Lowered(fill, tuple(residual), own, taps)
            continue
        window = Conv2D(
            op.filters,
            kernel,
            (1, 1),
            (rows.begin, 0, columns.begin, 0),
            (rows.dilation, columns.dilation),
            op.groups,
            op.use_bias,
            op.activation,
            op.residual,
        )
        name = f"conv2dt_{kernel[0]}x{kernel[1]}s{strides}"
        yield windowed(window, name, (reads[0], *residual), own, target)._replace(taps=taps)


def windowed(
    op: Conv2D, family: str, reads: tuple[View, ...], write: View, target: Target, chosen: Choice | None = None
) -> Lowered[AnyKernel]:
    """The kernel called `family` for a convolution whose padding may begin inside the input (be negative)."""
    source = reads[0]
    shifted = _with_padding(op, source)
    residual = reads[1] if op.residual else None
    reads = (shifted, *reads[1:])
    axes = _pixel_axes(op.stride, source, write, residual)
    channels = source.shape[3]
    epilogue = Epilogue(op.activation)
    if op.depthwise([TensorType(source.shape)]) and op.filters == channels:
        return Lowered(_depthwise(op, family, source, axes, channels, target, chosen), reads, write)
    planar = _planar(op, family, shifted, write, residual, target, axes, chosen)
    if planar is not None:
        return Lowered(planar, reads, write)
    group_inputs = channels // op.groups
    loops = merge_loops(
        [
            Loop(op.kernel[0], op.dilation[0] * source.strides[1], "ky"),
            Loop(op.kernel[1], op.dilation[1] * source.strides[2], "kx"),
            Loop(group_inputs, source.strides[3], "c"),
        ]
    )
    kernel = _tiled(
        family, axes, op.groups, group_inputs, op.filters // op.groups, source.strides[3], loops,
        op.use_bias, op.residual, epilogue, target, chosen or Choice("direct"),
    )  # fmt: skip
    return Lowered(kernel, reads, write)


def _depthwise(
    op: Conv2D, family: str, source: View, axes: Sequence[Axis], channels: int, target: Target, chosen: Choice | None
) -> DepthwiseKernel:
    """The kernel for one filter a channel; `axes` are the loops over images, rows and columns of the output."""
    outer = tuple(axis for axis in axes[:2] if axis.count > 1) or (axes[1],)
    row_step, columns = op.dilation[0] * source.strides[1], axes[2].count
    rows, pixels = chosen.tile if chosen and chosen.algorithm == "depthwise" else (0, 0)
    if not rows and axes[1].count > 1:
        # A row of input that two rows of output read is loaded once; the code for it is written out.
        shared = axes[1].input % row_step == 0 and axes[1].input < op.kernel[0] * row_step
        fits = math.prod(op.kernel) <= tiling.DEPTHWISE_TAPS
        rows = tiling.depthwise_rows(axes[0].count, axes[1].count, target.threads) if shared and fits else 1
    rows = min(max(rows, 1), axes[1].count)
    if rows > 1 or pixels:
        strips = tiling.even_row(columns, pixels or tiling.DEPTHWISE_PIXELS)
    else:
        strips = tiling.tile_row(columns, 1, target.isa.registers, op.kernel[1] + 1).strips
    return DepthwiseKernel(
        target.isa.lanes,
        f"dw{family}",
        outer,
        axes[2],
        channels,
        op.kernel,
        row_step,
        source.strides[2],
        op.stride[1],
        op.dilation[1],
        strips,
        op.use_bias,
        op.residual,
        Epilogue(op.activation),
        rows,
    )


def _with_padding(op: Conv2D, source: View) -> View:
    """The input from its first padding pixel on."""
    top, _, left, _ = op.padding
    return replace(source, offset=source.offset - top * source.strides[1] - left * source.strides[2])


def dense(op: Dense, reads: tuple[View, ...], write: View, target: Target) -> Lowered[AnyKernel]:
    """A dense layer as a convolution over images of one pixel."""
    source = reads[0]
    axes = _pixel_axes((1, 1), source, write, None)
    features = source.shape[3]
    loops, epilogue = (Loop(features, 1, "c"),), Epilogue(op.activation)
    chosen = target.choices.find(op, source.shape, write.shape) or Choice("direct")
    storage = target.weight_storage if narrows(features * op.units) else "fp32"
    kernel = _tiled(
        "dense", axes, 1, features, op.units, 1, loops, op.use_bias, False, epilogue, target, chosen, storage
    )
    return Lowered(kernel, reads, write)


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
    chosen: Choice,
    storage: str = "fp32",
) -> ConvKernel:
    lanes, registers = target.isa.lanes, target.isa.registers
    if not (chosen.vectors or chosen.pixels):
        registers = tiling.tile_registers(registers, epilogue.divides)
    *outer, columns = merge_axes(axes)
    if not outer and columns.count > 1:
        length = chosen.row or tiling.chunk(columns.count, group_outputs, lanes, registers, groups, target.threads)
        if columns.count % length:
            raise PlanError(f"rows of {length} pixels do not divide {columns.count}", remedy="choose a divisor")
        outer = [
            Axis(columns.count // length, length * columns.input, length * columns.output, length * columns.residual)
        ]
        columns = replace(columns, count=length)
    pixels = row_pixels([columns])
    rows = math.prod(axis.count for axis in outer)
    tile = (chosen.vectors, chosen.pixels)
    tiled = tiling.tile_channels(group_outputs, len(pixels), lanes, registers, rows * groups, target.threads, *tile)
    if rows > 1 and rows * len(pixels) <= tiling.ONE_ROW_PIXELS and chosen.row in (0, rows * len(pixels)):
        # Tiles that cross the lines of a small image waste fewer pixels and read the weights less often; but then
        # there are fewer units of work for the threads to share.
        whole = rows * len(pixels)
        crossing = tiling.tile_channels(group_outputs, whole, lanes, registers, groups, target.threads, *tile)
        if chosen.row or crossing.cycles < 0.97 * tiled.cycles:
            pixels, tiled, outer = row_pixels([*outer, columns]), crossing, []
    blocks = tuple(replace(block, strips=even_strips(block.strips, pixels)) for block in tiled.blocks)
    rows = math.prod(axis.count for axis in outer)
    pixel_count, taps = rows * len(pixels), math.prod(loop.count for loop in loops)
    passes: tuple[Loop, ...] = ()
    chunk, fetch = 1, False
    if pixel_count == 1 and 4 * taps * group_outputs > STREAMED_BYTES and not chosen.vectors:
        blocks = tiling.stream_channels(group_outputs, lanes, target.isa.registers, 4 if storage == "fp32" else 2)
    elif pixel_count > 1:
        width = max(block.vectors for block in blocks) * lanes
        chunk = blocking.rows_of_unit(rows, len(pixels))
        if 4 * chunk * len(pixels) * width <= blocking.SUMS_BYTES:
            passes, loops = blocking.cut(loops, width)
        if not passes and sum(block.count for block in blocks) == 1:
            chunk = 1
        taps = math.prod(loop.count for loop in loops)
        fetch = 4 * pixel_count * groups * group_outputs > blocking.FETCHED_BYTES and taps >= blocking.LEAST_TAPS
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
        passes=passes,
        chunk=chunk,
        fetch=fetch,
        storage=storage,
    )


def _planar(
    op: Conv2D,
    family: str,
    source: View,
    write: View,
    residual: View | None,
    target: Target,
    axes: Sequence[Axis],
    chosen: Choice | None,
) -> PlanarConvKernel | None:
    """The planar kernel, where the input allows it and the model finds it faster than the direct one.

    Raises `PlanError` where it is chosen and the input does not allow it.
    """
    lanes, registers = target.isa.lanes, target.isa.registers
    columns = axes[2]
    wanted = chosen is not None and chosen.algorithm == "planar"
    if lanes == 1 or columns.input != 1 or op.groups != 1 or op.stride[1] != 1:
        if wanted:
            raise PlanError(f"{chosen} cannot compute {op}", remedy="choose another algorithm, or tune again")
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
    if not wanted and (chosen is not None or planar_cycles >= direct_cycles):
        return None
    return PlanarConvKernel(
        lanes,
        family,
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
