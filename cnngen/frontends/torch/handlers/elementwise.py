"""Arithmetic on two tensors, or on a tensor and a constant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnngen.frontends.torch.lowering import Lowering, Tensor, UnsupportedError, Value, array, handles, is_constant, last
from cnngen.ir import Array
from cnngen.ops import Add, BatchNorm, Div, Maximum, Minimum, Mul, Op, Sub

Combine = Callable[[], Op]


@handles("add.Tensor", "add.Scalar")
def add(g: Lowering, x: Value, other: Value, alpha: float = 1) -> Tensor:
    if is_constant(other):
        return affine(g, x, shift=_number(other) * np.float64(alpha))
    if is_constant(x):
        return affine(g, other, scale=alpha, shift=_number(x))
    return _two(g, Add, x, other if alpha == 1 else affine(g, other, scale=alpha))


@handles("sub.Tensor", "sub.Scalar")
def sub(g: Lowering, x: Value, other: Value, alpha: float = 1) -> Tensor:
    if is_constant(other):
        return affine(g, x, shift=-_number(other) * np.float64(alpha))
    if is_constant(x):
        return affine(g, other, scale=-alpha, shift=_number(x))
    return _two(g, Sub, x, other if alpha == 1 else affine(g, other, scale=alpha))


@handles("rsub.Scalar", "rsub.Tensor")
def rsub(g: Lowering, x: Value, other: Value, alpha: float = 1) -> Tensor:
    return sub(g, other, x, alpha)


@handles("mul.Tensor", "mul.Scalar")
def mul(g: Lowering, x: Value, other: Value) -> Tensor:
    if is_constant(other):
        return affine(g, x, scale=_number(other))
    if is_constant(x):
        return affine(g, other, scale=_number(x))
    return _two(g, Mul, x, other)


@handles("div.Tensor", "div.Scalar")
def div(g: Lowering, x: Value, other: Value) -> Tensor:
    if is_constant(other):
        divisor = _number(other)
        if not np.all(divisor):
            raise UnsupportedError("divides by zero")
        return affine(g, x, scale=1 / np.asarray(divisor, np.float64))
    if is_constant(x):
        raise UnsupportedError("divides a constant by a tensor")
    return _two(g, Div, x, other)


@handles("neg.default")
def neg(g: Lowering, x: Tensor) -> Tensor:
    return affine(g, x, scale=-1)


@handles("maximum.default", "max.other")
def maximum(g: Lowering, x: Value, other: Value) -> Tensor:
    return _two(g, Maximum, x, other)


@handles("minimum.default", "min.other")
def minimum(g: Lowering, x: Value, other: Value) -> Tensor:
    return _two(g, Minimum, x, other)


def _two(g: Lowering, op: Combine, x: Value, other: Value) -> Tensor:
    """An op on two tensors of one rank, in the order that the larger one has already."""
    if not isinstance(x, Tensor) or not isinstance(other, Tensor):
        raise UnsupportedError("has a constant tensor as an operand")
    if x.rank != other.rank:
        raise UnsupportedError(f"combines tensors of {x.rank} and {other.rank} axes", remedy="reshape one of them")
    order = max(x, other, key=lambda tensor: (np.prod(tensor.shape), tensor.order == x.order)).order
    return g.add(op(), (g.arranged(x, order), g.arranged(other, order)), order)


def _number(constant: Value) -> Array:
    """A constant operand in float64."""
    return np.asarray(constant if isinstance(constant, int | float) else array(constant), np.float64)


def affine(g: Lowering, x: Tensor, *, scale: Value = 1.0, shift: Value = 0.0) -> Tensor:
    """``scale x + shift`` with constants that vary along one axis of `x` at most: a batch norm, so that it is folded.

    Raises `UnsupportedError` for constants that vary along several axes, or make the result larger.
    """
    parts = [np.asarray(part, np.float64) for part in (scale, shift)]
    if any(part.ndim > x.rank for part in parts):
        raise UnsupportedError("has a constant with more axes than the tensor")
    parts = [part.reshape((1,) * (x.rank - part.ndim) + part.shape) for part in parts]
    varying = sorted({axis for part in parts for axis, size in enumerate(part.shape) if size > 1})
    if any(size not in (1, x.shape[axis]) for part in parts for axis, size in enumerate(part.shape)):
        raise UnsupportedError("has a constant that is larger than the tensor")
    if len(varying) > 1 or varying == [0]:
        raise UnsupportedError(
            f"has a constant that varies along the axes {varying}", remedy="use one for each channel"
        )
    axis = varying[0] if varying else x.order[-1]
    order = x.order if x.order[-1] == axis else last(x.rank, axis)
    gamma, beta = (np.broadcast_to(np.float32(part).reshape(-1), (x.shape[axis],)) for part in parts)
    weights = {"gamma": gamma, "beta": beta, "mean": np.zeros_like(beta), "variance": np.ones_like(beta)}
    return g.add(BatchNorm(0.0), (g.arranged(x, order),), order, weights)
