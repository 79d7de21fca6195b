"""Lowering of convolutions and dense layers: which kernel, which tile, how the taps are split."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

from cnngen.backends.cpu.choices import layer_key
from cnngen.backends.cuda.access import c_type, common_width, pixel_distances
from cnngen.backends.cuda.kernels import (
    AnyKernel,
    DenseKernel,
    DepthwiseKernel,
    Epilogue,
    FillKernel,
    GemmConvKernel,
    ReduceSplitsKernel,
)
from cnngen.backends.cuda.kernels.base import ceil_div
from cnngen.backends.cuda.kernels.convolution import CHUNK_BYTES, ROW_BYTES
from cnngen.backends.cuda.target import CudaTarget
from cnngen.backends.cuda.tiling import Product, choose_tile, vector_width
from cnngen.ops import Conv2D, Conv2DTranspose, Dense
from cnngen.plan.layout import Scratch
from cnngen.plan.memory import View
from cnngen.plan.phases import phase_view
from cnngen.plan.steps import Lowered

STREAMED_IMAGES = 8
"""A dense layer for up to so many images streams its weights; for more it is a matrix product."""
DEPTHWISE_SPAN = 4
"""Pixels side by side that a thread of a depthwise convolution computes."""


def convolution(
    op: Conv2D,
    reads: tuple[View, ...],
    write: View,
    target: CudaTarget,
    scratch: Scratch,
    layer: Conv2D | Dense | None = None,
) -> Iterator[Lowered[AnyKernel]]:
    """A matrix product, and a second kernel that adds its parts where the taps are split.

    `layer` is what it computes, for tuned choices, where that is not `op` itself.
    """
    source, precision = reads[0], target.precision
    group_inputs, group_outputs = source.shape[3] // op.groups, op.filters // op.groups
    taps = op.kernel[0] * op.kernel[1] * group_inputs
    slices = ceil_div(taps * precision.element_bytes, ROW_BYTES)
    pixels = write.shape[0] * write.shape[1] * write.shape[2]
    vector = vector_width((*pixel_distances(source), group_inputs), precision.element_bytes)
    product = Product(
        precision,
        pixels,
        group_outputs,
        op.groups,
        slices,
        op.kernel != (1, 1),
        CHUNK_BYTES // (vector * precision.element_bytes),
        math.prod(source.shape) * precision.element_bytes,
    )
    chosen = target.choices.find(layer_key(layer or op, source.shape, write.shape)) if target.choices.items else None
    tile = chosen or choose_tile(product, target)
    # A lane has pairs of channels on tensor cores.
    width = 1 if group_outputs % 2 or not precision.tensor_cores else 2
    aligned = not any(step % width for view in (write, *reads[1:]) for step in pixel_distances(view))
    out_size = (write.shape[1], write.shape[2])
    residual_strides = reads[1].strides if op.residual else (0, 0, 0, 0)
    kernel = GemmConvKernel(
        precision,
        source.shape[0],
        (source.shape[1], source.shape[2]),
        source.strides,
        op.groups,
        group_inputs,
        group_outputs,
        op.kernel,
        op.stride,
        op.dilation,
        (op.padding[0], op.padding[2]),
        out_size,
        write.strides,
        residual_strides,
        c_type(source, target),
        c_type(write, target),
        tile,
        vector,
        width if aligned else 1,
        op.use_bias,
        op.residual,
        Epilogue(op.activation),
    )
    if tile.splits == 1:
        yield Lowered(kernel, reads, write)
        return
    partial = scratch(tile.splits * pixels * op.filters)
    bare = replace(
        kernel, output_type="float", store_vector=width, has_bias=False, has_residual=False, epilogue=Epilogue()
    )
    yield Lowered(bare, reads[:1], partial)
    reduce = ReduceSplitsKernel(
        precision, tile.splits, pixels, op.filters, out_size, write.strides, residual_strides, kernel.output_type,
        op.use_bias, op.residual, kernel.epilogue,
    )  # fmt: skip
    yield Lowered(reduce, (partial, *reads[1:]), write)


def transposed(
    op: Conv2DTranspose, reads: tuple[View, ...], write: View, target: CudaTarget, scratch: Scratch
) -> Iterator[Lowered[AnyKernel]]:
    """For each phase of the output a convolution of stride 1 with some of the taps; without any, the epilogue."""
    for rows, columns in itertools.product(op.phases(0, write.shape[1]), op.phases(1, write.shape[2])):
        own, *residual = (phase_view(view, op.stride, rows, columns) for view in (write, *reads[1:]))
        taps = (rows.taps, columns.taps)
        kernel = (len(rows.taps), len(columns.taps))
        if 0 in kernel:
            strides = residual[0].strides if residual else (0, 0, 0, 0)
            fill = FillKernel(
                target.precision, own.shape, own.strides, strides, c_type(own, target), op.use_bias, op.residual,
                Epilogue(op.activation),
            )  # fmt: skip
            yield Lowered(fill, tuple(residual), own, taps)
            continue
        window = Conv2D(
            op.filters, kernel, (1, 1), (rows.begin, 0, columns.begin, 0), (rows.dilation, columns.dilation),
            op.groups, op.use_bias, op.activation, op.residual,
        )  # fmt: skip
        for lowered in convolution(window, (reads[0], *residual), own, target, scratch):
            yield lowered._replace(taps=taps)


def depthwise(op: Conv2D, reads: tuple[View, ...], write: View, target: CudaTarget) -> Lowered[AnyKernel]:
    """A convolution whose channels do not meet."""
    source = reads[0]
    kernel = DepthwiseKernel(
        target.precision,
        source.shape[0],
        source.shape[3],
        (source.shape[1], source.shape[2]),
        (write.shape[1], write.shape[2]),
        op.kernel,
        op.stride,
        op.dilation,
        (op.padding[0], op.padding[2]),
        source.strides,
        write.strides,
        reads[1].strides if op.residual else (0, 0, 0, 0),
        c_type(source, target),
        c_type(write, target),
        common_width([*reads, write], target),
        min(DEPTHWISE_SPAN, write.shape[2]),
        op.use_bias,
        op.residual,
        Epilogue(op.activation),
    )
    return Lowered(kernel, reads, write)


def dense(
    op: Dense, reads: tuple[View, ...], write: View, target: CudaTarget, scratch: Scratch
) -> Iterator[Lowered[AnyKernel]]:
    """A product that streams its weights for few images, a matrix product for more."""
    source = reads[0]
    if source.shape[0] > STREAMED_IMAGES:
        product = Conv2D(op.units, (1, 1), use_bias=op.use_bias, activation=op.activation)
        yield from convolution(product, reads, write, target, scratch, op)
        return
    kernel = DenseKernel(
        target.precision,
        source.shape[0],
        source.shape[3],
        op.units,
        source.strides,
        write.strides,
        c_type(source, target),
        c_type(write, target),
        op.use_bias,
        Epilogue(op.activation),
    )
    yield Lowered(kernel, reads, write)
