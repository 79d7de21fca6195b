"""Packing: the weights of a graph in the order and precision in which the CUDA kernels read them."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from cnngen.arithmetic import round_to_tf32
from cnngen.backends.cuda.kernels import (
    AnyKernel,
    ArgReduceKernel,
    ChannelNormKernel,
    CopyKernel,
    DenseKernel,
    DepthwiseKernel,
    ElementwiseKernel,
    FillKernel,
    GemmConvKernel,
    GlobalPoolKernel,
    ImageNormKernel,
    LrnKernel,
    MatMulKernel,
    PoolKernel,
    ReduceKernel,
    ReduceSplitsKernel,
    SoftmaxKernel,
    StridedCopyKernel,
)
from cnngen.backends.cuda.kernels.movement import PixelKernel
from cnngen.backends.cuda.plan import CudaPlan
from cnngen.backends.cuda.target import Precision
from cnngen.backends.packing import bias_of, pack_plan
from cnngen.ir import Array, Graph, Node
from cnngen.ops import BatchNorm


def pack(plan: CudaPlan, graph: Graph | None = None) -> Array:
    """The blob for `plan` in units of four bytes, with the weights of `graph` (default: the planned one)."""
    return pack_plan(plan, graph, pack_kernel)


def pack_kernel(kernel: AnyKernel, node: Node) -> list[Array]:
    """The parameter arrays of one kernel, in the order of its arguments."""
    match kernel:
        case GemmConvKernel():
            return _pack_conv(kernel, node)
        case FillKernel() | ReduceSplitsKernel():
            return bias_of(node)
        case DenseKernel():
            packed = np.zeros((kernel.padded_units, kernel.padded_inputs), np.float32)
            packed[: kernel.units, : kernel.inputs] = node.weights["weight"].T
            return [packed.astype(kernel.precision.dtype), *bias_of(node)]
        case DepthwiseKernel():
            return [node.weights["weight"].reshape(-1, kernel.channels), *bias_of(node)]
        case ImageNormKernel() | ChannelNormKernel():
            return [node.weights[name] for name in kernel.parameters]
        case ElementwiseKernel():
            if isinstance(node.op, BatchNorm):
                return [array.astype(np.float32) for array in node.op.affine(node.weights)]
            return [node.weights[name] for name in kernel.parameters]
        case (
            CopyKernel()
            | StridedCopyKernel()
            | ReduceKernel()
            | ArgReduceKernel()
            | MatMulKernel()
            | GlobalPoolKernel()
            | LrnKernel()
            | PixelKernel()
            | PoolKernel()
            | SoftmaxKernel()
        ):
            return []
        case _:
            assert_never(kernel)


def _pack_conv(kernel: GemmConvKernel, node: Node) -> list[Array]:
    """Weights [group][channel][tap] with zeros up to whole tiles, and biases [group][channel]."""
    weight = node.weights["weight"].reshape(kernel.taps, kernel.groups, kernel.group_outputs).transpose(1, 2, 0)
    packed = np.zeros((kernel.groups, kernel.padded_channels, kernel.padded_taps), np.float32)
    packed[:, : kernel.group_outputs, : kernel.taps] = weight
    return [stored(packed, kernel.precision), *(bias_of(node) if kernel.has_bias else [])]


def stored(array: Array, precision: Precision) -> Array:
    """Factors of products as the kernels multiply them: rounded to the precision once, here."""
    if precision.name == "tf32":
        return round_to_tf32(array)
    return array.astype(precision.dtype)
