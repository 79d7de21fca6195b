"""Lowering: the kernels that compute a node, with their tiles, and the views they are called on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cnngen.backends.cpu.layout import Layout
from cnngen.backends.cuda.kernels import AnyKernel, CopyKernel, GemmConvKernel
from cnngen.backends.cuda.kernels.base import Epilogue, ceil_div
from cnngen.backends.cuda.kernels.convolution import ROW_BYTES
from cnngen.backends.cuda.target import CudaTarget
from cnngen.backends.cuda.tiling import choose_tile, vector_width
from cnngen.errors import PlanError
from cnngen.ir import Node
from cnngen.ops import Concat, Conv2D, Dense, Flatten, Identity, Transpose
from cnngen.plan.memory import View

Lowered = tuple[AnyKernel, tuple[View, ...], View]


def lower(node: Node, layout: Layout, target: CudaTarget) -> Iterator[Lowered]:
    """The kernels of one node, in order, each with the views it reads and the view it writes."""
    op = node.op
    reads = tuple(layout.views[name] for name in node.inputs)
    write = layout.views[node.name]
    match op:
        case Conv2D():
            yield from _convolution(op, reads, write, target)
        case Dense():
            as_convolution = Conv2D(op.units, (1, 1), use_bias=op.use_bias, activation=op.activation)
            yield from _convolution(as_convolution, reads, write, target)
        case Transpose():
            yield copy(_permuted(reads[0], op.axes), write, target)
        case Identity():
            yield copy(reads[0], write, target)
        case Flatten():
            yield _flatten(op, reads[0], write, target)
        case Concat():
            first = 0
            for name, read in zip(node.inputs, reads, strict=True):
                slot = write.slice_channels(first, read.shape[3])
                first += read.shape[3]
                if not layout.lies_in(name, node.name):
                    yield copy(read, slot, target)
        case _:
            raise PlanError(f"the CUDA backend has no kernel for {op.kind}", layer=node.name)


def copy(read: View, write: View, target: CudaTarget) -> Lowered:
    """A copy between two views of one shape, with the conversion where one side is the caller's."""
    kernel = CopyKernel(
        target.precision, write.shape, read.strides, write.strides, c_type(read, target), c_type(write, target)
    )
    return kernel, (read,), write


def c_type(view: View, target: CudaTarget) -> str:
    """The caller's arrays are float32; the arena holds numbers of the target's precision."""
    return target.precision.element if view.space == "arena" else "float"


def _convolution(op: Conv2D, reads: tuple[View, ...], write: View, target: CudaTarget) -> Iterator[Lowered]:
    source, precision = reads[0], target.precision
    group_inputs, group_outputs = source.shape[3] // op.groups, op.filters // op.groups
    taps = op.kernel[0] * op.kernel[1] * group_inputs
    slices = ceil_div(taps * precision.element_bytes, ROW_BYTES)
    pixels = write.shape[0] * write.shape[1] * write.shape[2]
    tile = choose_tile(pixels, group_outputs, op.groups, slices, target)
    tile = replace(tile, splits=1)
    vector = vector_width((source.offset, *source.strides[:3], group_inputs), precision.element_bytes)
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
        (write.shape[1], write.shape[2]),
        write.strides,
        reads[1].strides if op.residual else (0, 0, 0, 0),
        c_type(source, target),
        c_type(write, target),
        tile,
        vector,
        op.use_bias,
        op.residual,
        Epilogue(op.activation),
    )
    yield kernel, reads, write


def _flatten(op: Flatten, read: View, write: View, target: CudaTarget) -> Lowered:
    """Copy into a dense vector whose elements are numbered in the flatten's order."""
    n, h, w, c = read.shape
    strides = (h * w * c, w * c, c, 1) if op.order == "hwc" else (h * w * c, w, 1, h * w)
    return copy(read, View(write.space, write.index, write.offset, read.shape, strides), target)


def _permuted(view: View, axes: tuple[int, ...]) -> View:
    a, b, c, d = axes
    shape, strides = view.shape, view.strides
    return replace(
        view, shape=(shape[a], shape[b], shape[c], shape[d]), strides=(strides[a], strides[b], strides[c], strides[d])
    )
