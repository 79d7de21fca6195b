"""Packing: the weights of a graph in the order in which the kernels read them.

The result is one blob of float32, or of pairs of weights in 16 bits, which is embedded in the library. Packing another
graph of the same structure gives a blob that the same library can run on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

import numpy as np

from cnngen.arithmetic import round_to_bf16
from cnngen.backends.cpu.kernels import (
    AnyKernel,
    ArgReduceKernel,
    ChannelNormKernel,
    ConvKernel,
    CopyKernel,
    DepthwiseKernel,
    ElementwiseKernel,
    FillKernel,
    HaloKernel,
    ImageNormKernel,
    LrnKernel,
    MatMulKernel,
    PadKernel,
    PlanarConvKernel,
    PlanarRowsKernel,
    PoolKernel,
    ReduceKernel,
    ReshapeKernel,
    ResizeKernel,
    SoftmaxKernel,
    StridedCopyKernel,
    UpsampleKernel,
    WinogradKernel,
    WinogradRowsKernel,
)
from cnngen.backends.cpu.plan import Plan
from cnngen.backends.packing import PIECE, bias_of, pack_plan, put
from cnngen.errors import WeightsError
from cnngen.ir import Array, Graph, Node
from cnngen.ops import BatchNorm, PRelu
from cnngen.winograd import transform_filters
from cnngen.winograd_rows import transform_rows


def pack(plan: Plan, graph: Graph | None = None) -> Array:
    """The blob for `plan`, with the weights of `graph` (default: the planned one)."""
    return pack_plan(plan, graph, pack_kernel)


def pack_kernel(kernel: AnyKernel, node: Node) -> list[Array]:
    """The parameter arrays of one kernel, in the order of its arguments."""
    match kernel:
        case ConvKernel():
            return _pack_conv(kernel, node)
        case WinogradKernel():
            return _pack_winograd(kernel, node)
        case WinogradRowsKernel():
            return _pack_rows(kernel, node)
        case PlanarRowsKernel():
            weight = (
                transform_rows(node.weights["weight"], kernel.tile, 1)[:, :, 0, 0].transpose(1, 0, 2).astype(np.float32)
            )
            parts = [weight[:, :, first : first + count].reshape(-1) for first, count in kernel.passes]
            return [np.concatenate(parts), *bias_of(node)]
        case PlanarConvKernel():
            weight = node.weights["weight"].reshape(len(kernel.taps), kernel.filters)
            parts = [weight[:, first : first + count].reshape(-1) for first, count in kernel.passes]
            return [np.concatenate(parts), *bias_of(node)]
        case DepthwiseKernel():
            kh, kw = kernel.kernel
            weight = _to_vectors(node.weights["weight"].reshape(kh * kw, kernel.channels), kernel.lanes)
            return [weight.transpose(1, 0, 2), *(_to_vectors(bias, kernel.lanes) for bias in bias_of(node))]
        case FillKernel():
            return [_to_vectors(bias, kernel.lanes) for bias in bias_of(node)]
        case ElementwiseKernel():
            per_channel: tuple[Array, ...] = ()
            if isinstance(node.op, BatchNorm):
                per_channel = node.op.affine(node.weights)
            elif isinstance(node.op, PRelu):
                per_channel = (node.weights["alpha"],)
            return [_to_vectors(array.astype(np.float32), kernel.lanes) for array in per_channel]
        case ImageNormKernel() | ChannelNormKernel():
            return [node.weights[name] for name in kernel.parameters]
        case (
            PoolKernel()
            | LrnKernel()
            | SoftmaxKernel()
            | ReduceKernel()
            | ArgReduceKernel()
            | MatMulKernel()
            | CopyKernel()
            | StridedCopyKernel()
            | UpsampleKernel()
            | PadKernel()
            | ReshapeKernel()
            | ResizeKernel()
            | HaloKernel()
        ):
            return []
        case _:
            assert_never(kernel)


def _pack_conv(kernel: ConvKernel, node: Node) -> list[Array]:
    """Weights [group][block][stream][tap][channel] and biases [group][block][channel], for each set of blocks."""
    weight = node.weights["weight"].reshape(kernel.taps, kernel.groups, kernel.group_outputs)
    if kernel.storage != "fp32":
        weight = _narrowed(weight, kernel.storage, node)
    weights, biases = [], []
    for block in kernel.blocks:
        channels = slice(block.first, kernel.last_channel(block) + 1)
        width = block.vectors * kernel.lanes
        part = _padded(weight[:, :, channels], block.count * width)
        part = part.reshape(kernel.taps, kernel.groups, block.count, block.streams, width // block.streams)
        weights.append(part.transpose(1, 2, 3, 0, 4))
        for bias in bias_of(node):
            grouped = bias.reshape(kernel.groups, kernel.group_outputs)[:, channels]
            biases.append(_padded(grouped, block.count * width))
    return [_whole_words(_joined(weights)), *([_joined(biases)] if biases else [])]


def _narrowed(weight: Array, storage: str, node: Node) -> Array:
    """Weights in 16 bits, as their bits. Raises `WeightsError` where one of them is too large for the format."""
    result = np.empty(weight.shape, np.uint16)
    rows = max(PIECE * len(weight) // weight.nbytes, 1)
    for first in range(0, len(weight), rows):
        piece = np.ascontiguousarray(weight[first : first + rows])
        if storage == "bf16":
            rounded = round_to_bf16(piece)
            result[first : first + rows] = rounded.view(np.uint32) >> np.uint32(16)
        else:
            with np.errstate(over="ignore"):
                rounded = piece.astype(np.float16)
            result[first : first + rows] = rounded.view(np.uint16)
        if np.any(np.isinf(rounded) & np.isfinite(piece)):
            largest = float(np.abs(piece[np.isfinite(piece)]).max())
            remedy = "use weight_storage='bf16'" if storage == "fp16" else "use weight_storage='fp32'"
            problem = f"a weight of magnitude {largest:g} is beyond {storage}"
            raise WeightsError(problem, layer=node.name, source=node.source, remedy=remedy)
    return result


def _whole_words(array: Array) -> Array:
    """`array` as words of four bytes can hold it: an odd number of weights in 16 bits gets a zero behind them."""
    return np.append(array, np.zeros(1, array.dtype)) if array.nbytes % 4 else array


def _pack_winograd(kernel: WinogradKernel, node: Node) -> list[Array]:
    """The transformed filters, rounded once: those of a product with a group for each element. The bias in vectors."""
    filters, elements = node.weights["weight"], kernel.elements
    weight = np.empty((kernel.channels, elements, filters.shape[3]), np.float32)
    rows = max(PIECE // (8 * elements * filters.shape[3]), 1)  # float64 takes memory: some channels at a time
    for first in range(0, kernel.channels, rows):
        transformed = transform_filters(filters[:, :, first : first + rows], *kernel.axes)
        weight[first : first + rows] = transformed.reshape(elements, -1, filters.shape[3]).transpose(1, 0, 2)
    product = replace(node, weights={"weight": weight})
    return [*_pack_conv(kernel.product, product), *(_to_vectors(bias, kernel.lanes) for bias in bias_of(node))]


def _pack_rows(kernel: WinogradRowsKernel, node: Node) -> list[Array]:
    """The filters transformed along the height, rounded once: a group for each transformed row. The bias in vectors."""
    transformed = transform_rows(node.weights["weight"], kernel.tile, kernel.step)
    weight = np.ascontiguousarray(transformed.transpose(2, 1, 3, 0, 4), np.float32)
    product = replace(node, weights={"weight": weight})
    return [*_pack_conv(kernel.product, product), *(_to_vectors(bias, kernel.lanes) for bias in bias_of(node))]


def _joined(arrays: list[Array]) -> Array:
    """Arrays one after the other; a single one as it is."""
    if len(arrays) == 1:
        return arrays[0]
    joined = np.empty(sum(array.size for array in arrays), arrays[0].dtype)
    position = 0
    for array in arrays:
        put(joined[position : position + array.size], array)
        position += array.size
    return joined


def _to_vectors(array: Array, lanes: int) -> Array:
    """The last axis cut into vectors, the last one filled with zeros."""
    count = -(-array.shape[-1] // lanes)
    return _padded(array, count * lanes).reshape(*array.shape[:-1], count, lanes)


def _padded(array: Array, size: int) -> Array:
    """The last axis filled with zeros up to `size`."""
    room = size - array.shape[-1]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, room)]) if room else array
