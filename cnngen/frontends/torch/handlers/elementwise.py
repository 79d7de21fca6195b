"""Arithmetic on two tensors, or on a tensor and a constant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnngen.frontends.torch.handlers.shape import with_axis
from cnngen.frontends.torch.lowering import Lowering, Tensor, UnsupportedError, Value, array, handles, is_constant, last
from cnngen.ir import Array
from cnngen.ops import Activate, Activation, Add, BatchNorm, Div, Maximum, Minimum, Mul, Op, Power, Sub

Combine = Callable[[], Op]


@handles("add.Tensor", "add.Scalar")
def add(g: Lowering, x: Value, other: Value, alpha: float = 1) -> Tensor:
    if is_constant(other) and fits(x, other):
        return affine(g, x, shift=_number(other) * np.float64(alpha))
    if is_constant(x) and fits(other, x):
        return affine(g, other, scale=alpha, shift=_number(x))
    if is_constant(other) and alpha != 1:
        raise UnsupportedError(f"multiplies a constant by alpha {alpha}", remedy="multiply it in the module")
    return _two(g, Add, x, other if alpha == 1 else affine(g, other, scale=alpha))


@handles("sub.Tensor", "sub.Scalar")
def sub(g: Lowering, x: Value, other: Value, alpha: float = 1) -> Tensor:
    if is_constant(other) and fits(x, other):
        return affine(g, x, shift=-_number(other) * np.float64(alpha))
    if is_constant(x) and fits(other, x):
        return affine(g, other, scale=-alpha, shift=_number(x))
    if is_constant(other) and alpha != 1:
        raise UnsupportedError(f"multiplies a constant by alpha {alpha}", remedy="multiply it in the module")
    return _two(g, Sub, x, other if alpha == 1 else affine(g, other, scale=alpha))


@handles("rsub.Scalar", "rsub.Tensor")
def rsub(g: Lowering, x: Value, other: Value, alpha: float = 1) -> Tensor:
    return sub(g, other, x, alpha)


@handles("mul.Tensor", "mul.Scalar")
def mul(g: Lowering, x: Value, other: Value) -> Tensor:
    if is_constant(other) and fits(x, other):
        return affine(g, x, scale=_number(other))
    if is_constant(x) and fits(other, x):
        return affine(g, other, scale=_number(x))
    return _two(g, Mul, x, other)


@handles("div.Tensor", "div.Scalar")
def div(g: Lowering, x: Value, other: Value) -> Tensor:
    if is_constant(other) and fits(x, other) and np.all(_number(other)):
        return affine(g, x, scale=1 / _number(other))
    if isinstance(x, int | float) or (is_constant(x) and x.numel() == 1):
        return affine(g, g.add(Activate(Activation("reciprocal")), (other.name,), other.order), scale=_number(x))
    return _two(g, Div, x, other)


@handles("pow.Tensor_Tensor")
def power(g: Lowering, x: Value, exponent: Value) -> Tensor:
    return _two(g, Power, x, exponent)


@handles("maximum.default", "max.other")
def maximum(g: Lowering, x: Value, other: Value) -> Tensor:
    return _two(g, Maximum, x, other)


@handles("minimum.default", "min.other")
def minimum(g: Lowering, x: Value, other: Value) -> Tensor:
    return _two(g, Minimum, x, other)


def _two(g: Lowering, op: Combine, x: Value, other: Value) -> Tensor:
    """An op on two tensors, aligned at their last axes, in the order that the larger one has already."""
    rank = max(value.rank if isinstance(value, Tensor) else np.ndim(value) for value in (x, other))
    x, other = (_aligned(g, value, rank) for value in (x, other))
    order = max(x, other, key=lambda tensor: (np.prod(tensor.shape), tensor.order == x.order)).order
    return g.add(op(), (g.arranged(x, order), g.arranged(other, order)), order)


def _aligned(g: Lowering, value: Value, rank: int) -> Tensor:
    """`value` with axes of one element in front of it, so that it has `rank`; a constant becomes a tensor."""
    if not isinstance(value, Tensor):
        numbers = np.asarray(value, np.float32) if isinstance(value, int | float) else array(value)
        return g.constant(numbers.reshape((1,) * (rank - numbers.ndim) + numbers.shape))
    x: Tensor = value
    while x.rank < rank:
        x = with_axis(g, x, 0)
    return x


def _number(constant: Value) -> Array:
    """A constant operand in float64."""
    return np.asarray(constant if isinstance(constant, int | float) else array(constant), np.float64)


def fits(x: Tensor, constant: Value) -> bool:
    """Whether `affine` can have this constant: it varies along one axis of `x` at most, and not along the batch."""
    shape = np.shape(constant)
    shape = (1,) * (x.rank - len(shape)) + tuple(shape)
    varying = [axis for axis, size in enumerate(shape) if size > 1]
    if len(shape) > x.rank or len(varying) > 1 or varying == [0] or x.rank == 0:
        return False
    return all(shape[axis] == x.shape[axis] for axis in varying)


def affine(g: Lowering, x: Tensor, *, scale: Value = 1.0, shift: Value = 0.0) -> Tensor:
    """``scale x + shift`` with constants that vary along one axis of `x` at most: a batch norm, so that it is folded.

    They are constants for which `fits` holds.
    """
    parts = [np.asarray(part, np.float64) for part in (scale, shift)]
    parts = [part.reshape((1,) * (x.rank - part.ndim) + part.shape) for part in parts]
    varying = sorted({axis for part in parts for axis, size in enumerate(part.shape) if size > 1})
    axis = varying[0] if varying else x.order[-1]
    order = x.order if x.order[-1] == axis else last(x.rank, axis)
    gamma, beta = (np.broadcast_to(np.float32(part).reshape(-1), (x.shape[axis],)) for part in parts)
    weights = {"gamma": gamma, "beta": beta, "mean": np.zeros_like(beta), "variance": np.ones_like(beta)}
    return g.add(BatchNorm(0.0), (g.arranged(x, order),), order, weights)
