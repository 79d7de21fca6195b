"""Normalisation and softmax."""

from __future__ import annotations

import numpy as np

from cnngen.frontends.torch.lowering import Lowering, Tensor, UnsupportedError, Value, array, handles, is_constant, last
from cnngen.ops import LRN, BatchNorm, LogSoftmax, Softmax


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
    if use_input_stats:
        raise UnsupportedError("is not supported with the statistics of each image")
    return _batch_norm(g, input, weight, bias, running_mean, running_var, eps)


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

    Of an even size PyTorch has the extra channel below, the graph's op above.
    """
    if size % 2 == 0 and size > 1:
        raise UnsupportedError(f"has the even size {size}", remedy="use an odd size")
    order = x.order if x.order[-1] == 1 else last(x.rank, 1)
    return g.add(LRN(size, alpha, beta, k), (g.arranged(x, order),), order)
