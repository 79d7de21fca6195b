"""Activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cnngen.frontends.torch.lowering import Lowering, Tensor, UnsupportedError, Value, array, handles, is_constant
from cnngen.ops import Activate, Activation, PRelu

SIMPLE = {
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "hardswish": "hard_swish",
    "silu": "silu",
    "mish": "mish",
    "selu": "selu",
    "sqrt": "sqrt",
    "exp": "exp",
    "log": "log",
    "abs": "abs",
    "neg": "neg",
    "reciprocal": "reciprocal",
    "erf": "erf",
    "square": "square",
    "floor": "floor",
    "ceil": "ceil",
    "round": "round",
    "sign": "sign",
}
"""Functions without parameters, by their names in ATen and in cnngen."""

SOFTPLUS_EXACT = 17.0
"""From here on ``log(1 + e^x)`` rounds to x in float32: PyTorch returns x itself above its threshold."""


def activate(g: Lowering, x: Tensor, function: str, alpha: float = 0.0, beta: float = 0.0) -> Tensor:
    """An activation, whatever the order of the axes."""
    return g.add(Activate(Activation(function, alpha, beta)), (x.name,), x.order)


def _simple(function: str) -> Callable[..., Tensor]:
    def handler(g: Lowering, x: Tensor) -> Tensor:
        return activate(g, x, function)

    return handler


for _aten, _function in SIMPLE.items():
    handles(f"{_aten}.default")(_simple(_function))


@handles("hardsigmoid.default")
def hardsigmoid(g: Lowering, x: Tensor) -> Tensor:
    return activate(g, x, "hard_sigmoid", 1 / 6, 0.5)


@handles("leaky_relu.default")
def leaky_relu(g: Lowering, x: Tensor, negative_slope: float) -> Tensor:
    return activate(g, x, "leaky_relu", negative_slope)


@handles("elu.default")
def elu(g: Lowering, x: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    if (scale, input_scale) == (1, 1):
        return activate(g, x, "elu", alpha)
    if math.isclose(alpha, 1.6732632423543772) and math.isclose(scale, 1.0507009873554805) and input_scale == 1:
        return activate(g, x, "selu")
    raise UnsupportedError(f"has the scales {scale} and {input_scale}")


@handles("celu.default")
def celu(g: Lowering, x: Tensor, alpha: float) -> Tensor:
    return activate(g, x, "celu", alpha)


@handles("threshold.default")
def threshold(g: Lowering, x: Tensor, threshold: float, value: float) -> Tensor:
    if value != 0 or threshold < 0:
        raise UnsupportedError(
            f"puts {value} below {threshold}", remedy="use the value 0, and a threshold of 0 or more"
        )
    return activate(g, x, "thresholded_relu", threshold)


@handles("log_sigmoid.default")
def log_sigmoid(g: Lowering, x: Tensor) -> Tensor:
    """``-softplus(-x)``"""
    return activate(g, activate(g, activate(g, x, "neg"), "softplus"), "neg")


@handles("rsqrt.default")
def rsqrt(g: Lowering, x: Tensor) -> Tensor:
    return activate(g, activate(g, x, "sqrt"), "reciprocal")


@handles("pow.Tensor_Scalar")
def power(g: Lowering, x: Tensor, exponent: float) -> Tensor:
    if exponent == 2:
        return activate(g, x, "square")
    return activate(g, x, "pow", exponent)


@handles("gelu.default")
def gelu(g: Lowering, x: Tensor, approximate: str) -> Tensor:
    return activate(g, x, "gelu_tanh" if approximate == "tanh" else "gelu")


@handles("softplus.default")
def softplus(g: Lowering, x: Tensor, beta: float, threshold: float) -> Tensor:
    if beta != 1 or threshold < SOFTPLUS_EXACT:
        raise UnsupportedError(f"has beta {beta} and threshold {threshold}", remedy="use beta 1 and threshold 20")
    return activate(g, x, "softplus")


@handles("clamp.default", "hardtanh.default")
def clamp(
    g: Lowering,
    x: Tensor,
    min: float | None = None,
    max: float | None = None,
    min_val: float | None = None,
    max_val: float | None = None,
) -> Tensor:
    low = min if min_val is None else min_val
    high = max if max_val is None else max_val
    if (low, high) in ((0, None), (0, 6)):
        return activate(g, x, "relu" if high is None else "relu6")
    return activate(g, x, "clip", -math.inf if low is None else low, math.inf if high is None else high)


@handles("clamp_min.default")
def clamp_min(g: Lowering, x: Tensor, min: float) -> Tensor:
    return clamp(g, x, min=min)


@handles("clamp_max.default")
def clamp_max(g: Lowering, x: Tensor, max: float) -> Tensor:
    return clamp(g, x, max=max)


@handles("prelu.default")
def prelu(g: Lowering, x: Tensor, weight: Value) -> Tensor:
    if not is_constant(weight):
        raise UnsupportedError("has a slope that depends on the input")
    order = x.order if x.rank < 2 or x.order[-1] == 1 else (*(a for a in range(x.rank) if a != 1), 1)
    slopes = array(weight)
    return g.add(PRelu(), (g.arranged(x, order),), order, {"alpha": np.broadcast_to(slopes, (x.shape[1],))})
