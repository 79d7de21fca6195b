"""Gemm and MatMul with constant weights."""

from __future__ import annotations

import numpy as np

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.values import Tensor
from cnngen.ir import Array
from cnngen.ops import Dense


@handles("Gemm")
def gemm(node: NodeReader) -> Tensor:
    x, weight = node.tensor(0), node.weight(1)
    if x.rank != 2 or weight.ndim != 2:
        raise ModelError(f"Gemm takes matrices, not {list(x.shape)} and {list(weight.shape)}")
    if node.whole("transA", 0):
        raise UnsupportedError("Gemm with transA", reason="transpose of the batch")
    if node.whole("transB", 0):
        weight = weight.T
    if weight.shape[0] != x.shape[1]:
        raise ModelError(f"Gemm multiplies {list(x.shape)} by {list(weight.shape)}")
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if alpha != 1:
        weight = np.asarray(weight * np.float64(alpha), np.float32)
    bias = _bias(node, (x.shape[0], weight.shape[1]), beta) if node.has(2) and beta else None
    weights = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    name = node.add(Dense(weight.shape[1], bias is not None), node.plain(x), weights=weights)
    return node.builder.tensor(name, (x.shape[0], weight.shape[1]), "plain")


def _bias(node: NodeReader, shape: tuple[int, int], beta: float) -> Array:
    """The third operand as one number for each column."""
    array = node.weight(2)
    try:
        whole = np.broadcast_to(array, shape)
    except ValueError:
        raise ModelError(f"the bias {list(array.shape)} does not fit the result {list(shape)}") from None
    if array.ndim == 2 and array.shape[0] > 1:
        raise UnsupportedError(f"Gemm with a bias {list(array.shape)}", reason="constant operand")
    return np.asarray(whole[0] * np.float64(beta), np.float32)


@handles("MatMul")
def matmul(node: NodeReader) -> Tensor:
    x, weight = node.tensor(0), node.weight(1)
    if x.rank != 2 or weight.ndim != 2:
        raise UnsupportedError(
            f"MatMul of {list(x.shape)} and {list(weight.shape)}", reason="matmul of another rank than 2"
        )
    if weight.shape[0] != x.shape[1]:
        raise ModelError(f"MatMul of {list(x.shape)} and {list(weight.shape)}")
    name = node.add(Dense(weight.shape[1], False), node.plain(x), weights={"weight": weight})
    return node.builder.tensor(name, (x.shape[0], weight.shape[1]), "plain")
