"""Normalisation and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from cnngen.frontends.torch.handlers.shape import flip, with_axis, without
from cnngen.frontends.torch.lowering import (
    IMAGE,
    Lowering,
    Tensor,
    UnsupportedError,
    Value,
    array,
    handles,
    is_constant,
    last,
    natural,
)
from cnngen.ir import Array
from cnngen.ops import LRN, BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LogSoftmax, Softmax


@handles("batch_norm.default", without_effect=("momentum", "cudnn_enabled"))
def batch_norm(
    g: Lowering,
    input: Tensor,
    weight: Value,
    bias: Value,
    running_mean: Value,
    running_var: Value,
    training: bool,
    eps: float,
) -> Tensor:
    if training:
        raise UnsupportedError("normalises with the statistics of the batch, as in training", remedy="call .eval()")
    return _batch_norm(g, input, weight, bias, running_mean, running_var, eps)


@handles("_native_batch_norm_legit_no_training.default", without_effect=("momentum",))
def native_batch_norm(
    g: Lowering,
    input: Tensor,
    weight: Value,
    bias: Value,
    running_mean: Value,
    running_var: Value,
    eps: float,
) -> list[Tensor | None]:
    return [_batch_norm(g, input, weight, bias, running_mean, running_var, eps), None, None]


@handles("instance_norm.default", without_effect=("momentum", "cudnn_enabled"))
def instance_norm(
    g: Lowering,
    input: Tensor,
    weight: Value,
    bias: Value,
    running_mean: Value,
    running_var: Value,
    use_input_stats: bool,
    eps: float,
) -> Tensor:
    if not use_input_stats:
        return _batch_norm(g, input, weight, bias, running_mean, running_var, eps)
    if input.rank == 3:
        row = instance_norm(g, with_axis(g, input, 2), weight, bias, None, None, True, eps)
        return without(g, row, [2])
    op = InstanceNorm(eps, scale=weight is not None, center=bias is not None)
    return g.add(op, (g.image(input),), IMAGE, _affine(weight, bias))


@handles("group_norm.default", without_effect=("cudnn_enabled",))
def group_norm(g: Lowering, input: Tensor, num_groups: int, weight: Value, bias: Value, eps: float) -> Tensor:
    order = input.order if input.order[-1] == 1 else last(input.rank, 1)
    op = GroupNorm(eps, scale=weight is not None, center=bias is not None, groups=num_groups)
    return g.add(op, (g.arranged(input, order),), order, _affine(weight, bias))


@handles("layer_norm.default", without_effect=("cudnn_enable",))
def layer_norm(
    g: Lowering, input: Tensor, normalized_shape: Sequence[int], weight: Value, bias: Value, eps: float
) -> Tensor:
    if len(normalized_shape) not in (1, input.rank - 1):
        raise UnsupportedError(f"normalises the last {len(normalized_shape)} of {input.rank} axes")
    axes: Literal["channels", "image"] = "channels" if len(normalized_shape) == 1 else "image"
    order = input.order
    if (axes == "channels" and order[-1] != input.rank - 1) or order[0] != 0:
        order = natural(input.rank)
    op = LayerNorm(eps, scale=weight is not None, center=bias is not None, axes=axes)
    weights = _affine(weight, bias)
    if axes == "image":  # the axes of an image in the graph's order
        weights = {role: value.transpose([axis - 1 for axis in order[1:]]) for role, value in weights.items()}
    return g.add(op, (g.arranged(input, order),), order, weights)


def _affine(weight: Value, bias: Value) -> dict[str, Array]:
    if not is_constant([weight, bias]):
        raise UnsupportedError("has weights that depend on the input")
    return {role: array(value) for role, value in (("gamma", weight), ("beta", bias)) if value is not None}


def _batch_norm(
    g: Lowering, x: Tensor, weight: Value, bias: Value, mean: Value, variance: Value, epsilon: float
) -> Tensor:
    if not all(map(is_constant, (weight, bias, mean, variance))):
        raise UnsupportedError("has weights that depend on the input")
    channels = x.shape[1]
    weights = {
        "gamma": np.ones(channels, np.float32) if weight is None else array(weight),
        "beta": np.zeros(channels, np.float32) if bias is None else array(bias),
        "mean": array(mean),
        "variance": array(variance),
    }
    order = x.order if x.order[-1] == 1 else last(x.rank, 1)
    return g.add(BatchNorm(epsilon), (g.arranged(x, order),), order, weights)


@handles("softmax.int", "_softmax.default", without_effect=("dtype", "half_to_float"))
def softmax(g: Lowering, x: Tensor, dim: int) -> Tensor:
    axis = x.axis(dim)
    if axis == 0 and x.rank > 1:
        raise UnsupportedError("is taken over the batch")
    order = x.order if x.order[-1] == axis else last(x.rank, axis)
    return g.add(Softmax(), (g.arranged(x, order),), order)


@handles("log_softmax.int", "_log_softmax.default", without_effect=("dtype", "half_to_float"))
def log_softmax(g: Lowering, x: Tensor, dim: int) -> Tensor:
    axis = x.axis(dim)
    order = x.order if x.order[-1] == axis else last(x.rank, axis)
    return g.add(LogSoftmax(), (g.arranged(x, order),), order)


def local_response_norm(g: Lowering, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """`torch.nn.functional.local_response_norm`, which ATen does not have as one op.

    Of an even size PyTorch has the extra channel below, the graph's op above: the same with the channels reversed.
    """
    if size % 2 == 0:
        return flip(g, _response_norm(g, flip(g, x, [1]), size, alpha, beta, k), [1])
    return _response_norm(g, x, size, alpha, beta, k)


def _response_norm(g: Lowering, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    order = x.order if x.order[-1] == 1 else last(x.rank, 1)
    return g.add(LRN(size, alpha, beta, k), (g.arranged(x, order),), order)
