"""Gemm and MatMul."""

from __future__ import annotations

import numpy as np

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.node import NodeReader
from cnngen.frontends.onnx.values import Tensor
from cnngen.ir import Array
from cnngen.ops import Add, Conv2D, Dense, MatMul, Mul, Transpose


@handles("Gemm")
def gemm(node: NodeReader) -> Tensor:
    if isinstance(node.inputs[1], Tensor):
        return _of_tensors(node)
    x, weight = node.tensor(0), node.weight(1)
    if x.rank != 2 or weight.ndim != 2:
        raise ModelError(f"Gemm takes matrices, not {list(x.shape)} and {list(weight.shape)}")
    if node.whole("transA", 0):
        x = node.builder.tensor(
            node.add(Transpose((1, 0)), node.plain(x), suffix="/transposed"), x.shape[::-1], "plain"
        )
    if node.whole("transB", 0):
        weight = weight.T
    if weight.shape[0] != x.shape[1]:
        raise ModelError(f"Gemm multiplies {list(x.shape)} by {list(weight.shape)}")
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if alpha != 1:
        weight = np.asarray(weight * np.float64(alpha), np.float32)
    shape = (x.shape[0], weight.shape[1])
    if node.has(2) and beta and isinstance(node.inputs[2], Tensor):
        product = node.add(Dense(shape[1], False), node.plain(x), weights={"weight": weight}, suffix="/product")
        return _with_tensor(node, product, shape, beta)
    bias = _bias(node, shape, beta) if node.has(2) and beta else None
    by_column = bias is not None and bias.ndim == 1
    weights = {"weight": weight, "bias": bias} if bias is not None and by_column else {"weight": weight}
    whole = bias is not None and not by_column
    name = node.add(
        Dense(weight.shape[1], by_column), node.plain(x), weights=weights, suffix="/product" if whole else ""
    )
    if bias is not None and whole:
        name = node.add(Add(), name, node.plain(node.constant_tensor(bias)))
    return node.builder.tensor(name, shape, "plain")


def _of_tensors(node: NodeReader) -> Tensor:
    """Of two tensors that the network computes."""
    operands = []
    for index, flag in enumerate(("transA", "transB")):
        x = node.tensor(index)
        if x.rank != 2:
            raise ModelError(f"Gemm takes matrices, not {list(x.shape)}")
        name = node.plain(x)
        operands.append(node.add(Transpose((1, 0)), name, suffix=f"/{flag}") if node.whole(flag, 0) else name)
    beta, alpha = node.number("beta", 1.0), node.number("alpha", 1.0)
    last = not (node.has(2) and beta)
    name = node.add(MatMul(), *operands, suffix="" if last and alpha == 1 else "/product")
    if alpha != 1:
        factor = node.plain(node.constant_tensor(np.array(alpha, np.float32)))
        name = node.add(Mul(), name, factor, suffix="" if last else "/alpha")
    shape = node.builder.types[name].shape
    return node.builder.tensor(name, shape, "plain") if last else _with_tensor(node, name, (shape[0], shape[1]), beta)


def _with_tensor(node: NodeReader, product: str, shape: tuple[int, int], beta: float) -> Tensor:
    """`product` plus beta times the third operand, which the network computes."""
    other = node.plain(node.tensor(2))
    if beta != 1:
        factor = node.plain(node.constant_tensor(np.array(beta, np.float32)))
        other = node.add(Mul(), other, factor, suffix="/beta")
    return node.builder.tensor(node.add(Add(), product, other), shape, "plain")


def _bias(node: NodeReader, shape: tuple[int, int], beta: float) -> Array:
    """The third operand, times beta: one number for each column, or for each row and column."""
    array = node.weight(2)
    try:
        whole = np.broadcast_to(array, shape)
    except ValueError:
        raise ModelError(f"the bias {list(array.shape)} does not fit the result {list(shape)}") from None
    if array.ndim == 2 and array.shape[0] > 1:
        return np.asarray(array * np.float64(beta), np.float32)
    return np.asarray(whole[0] * np.float64(beta), np.float32)


@handles("MatMul")
def matmul(node: NodeReader) -> Tensor:
    """Rows by a constant matrix are a dense layer; of a tensor of rank 4 they are the pixels of an image."""
    x, weight = node.tensor(0), node.inputs[1] if node.has(1) else None
    if x.rank > 1 and x.array is None and not isinstance(weight, Tensor) and node.constant(1).ndim == 2:
        matrix = node.weight(1)
        if matrix.shape[0] != x.shape[-1]:
            raise ModelError(f"MatMul of {list(x.shape)} and {list(matrix.shape)}")
        shape, pixels = (*x.shape[:-1], matrix.shape[1]), x.rank == 4
        if x.rank in (2, 4):  # of other ranks a pass makes an image
            layer = Conv2D(shape[-1], (1, 1), use_bias=False) if pixels else Dense(shape[-1], False)
            weights = {"weight": matrix[None, None] if pixels else matrix}
            return node.builder.tensor(node.add(layer, node.plain(x), weights=weights), shape, "plain")
    name = node.add(MatMul(), node.plain(x), node.plain(node.tensor(1)))
    return node.builder.tensor(name, node.builder.types[name].shape, "plain")
