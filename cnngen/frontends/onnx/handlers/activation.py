"""Functions of every element, Clip, PRelu and Softmax."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.channels import channel_vector
from cnngen.frontends.onnx.handlers.registry import HANDLERS, handles
from cnngen.frontends.onnx.handlers.shape import along_last, reshaped
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.values import Tensor
from cnngen.ir import Array
from cnngen.ops import Activate, Activation, Add, LogSoftmax, Mul, PRelu, Softmax

FLOAT_MAX = float(np.finfo(np.float32).max)


def _swish(node: NodeReader) -> Activation:
    alpha = node.number("alpha", 1.0)
    return Activation("silu") if alpha == 1 else Activation("swish", alpha)


def _gelu(node: NodeReader) -> Activation:
    kind = node.text("approximate", "none")
    if kind not in ("none", "tanh"):
        raise ModelError(f"approximate is {kind[:20]!r}", remedy="it is none or tanh")
    return Activation("gelu" if kind == "none" else "gelu_tanh")


FUNCTIONS: dict[str, Callable[[NodeReader], Activation]] = {
    "Relu": lambda node: Activation("relu"),
    "LeakyRelu": lambda node: Activation("leaky_relu", node.number("alpha", 0.01)),
    "Elu": lambda node: Activation("elu", node.number("alpha", 1.0)),
    "Sigmoid": lambda node: Activation("sigmoid"),
    "Tanh": lambda node: Activation("tanh"),
    "HardSigmoid": lambda node: Activation("hard_sigmoid", node.number("alpha", 0.2), node.number("beta", 0.5)),
    "HardSwish": lambda node: Activation("hard_swish"),
    "Swish": _swish,
    "Gelu": _gelu,
    "Mish": lambda node: Activation("mish"),
    "Softplus": lambda node: Activation("softplus"),
    "Celu": lambda node: Activation("celu", node.number("alpha", 1.0)),
    "Softsign": lambda node: Activation("softsign"),
    "ThresholdedRelu": lambda node: Activation("thresholded_relu", node.number("alpha", 1.0)),
    "Exp": lambda node: Activation("exp"),
    "Log": lambda node: Activation("log"),
    "Sqrt": lambda node: Activation("sqrt"),
    "Reciprocal": lambda node: Activation("reciprocal"),
    "Erf": lambda node: Activation("erf"),
    "Abs": lambda node: Activation("abs"),
    "Neg": lambda node: Activation("neg"),
    "Floor": lambda node: Activation("floor"),
    "Ceil": lambda node: Activation("ceil"),
    "Round": lambda node: Activation("round"),
    "Sign": lambda node: Activation("sign"),
}
"""What each becomes."""


def activated(node: NodeReader, x: Tensor, activation: Activation, suffix: str = "") -> Tensor:
    """`activation` of `x`, in a form that it has."""
    form, name = node.same_form(x)
    return node.builder.tensor(node.add(Activate(activation), name, suffix=suffix), x.shape, form)


def _function(node: NodeReader) -> Tensor:
    return activated(node, node.tensor(0), FUNCTIONS[node.kind](node))


HANDLERS.update(dict.fromkeys(FUNCTIONS, _function))


@handles("Selu")
def selu(node: NodeReader) -> Tensor:
    alpha, gamma = node.number("alpha", 1.67326319217681884765625), node.number("gamma", 1.05070102214813232421875)
    if math.isclose(alpha, 1.6732632, rel_tol=1e-6) and math.isclose(gamma, 1.050701, rel_tol=1e-6):
        return activated(node, node.tensor(0), Activation("selu"))
    inner = activated(node, node.tensor(0), Activation("elu", alpha), "/elu")
    form, name = node.same_form(inner)
    factor = node.builder.form(node.constant_tensor(np.array(gamma, np.float32)), form)
    return node.builder.tensor(node.add(Mul(), name, factor), inner.shape, form)


@handles("Clip")
def clip(node: NodeReader) -> Tensor:
    low, high = _limit(node, 1, "min", -FLOAT_MAX), _limit(node, 2, "max", FLOAT_MAX)
    low = min(low, high)  # where they are the wrong way round, all becomes the maximum
    if (low, high) == (0.0, FLOAT_MAX):
        return activated(node, node.tensor(0), Activation("relu"))
    if (low, high) == (0.0, 6.0):
        return activated(node, node.tensor(0), Activation("relu6"))
    return activated(node, node.tensor(0), Activation("clip", low, high))


def _limit(node: NodeReader, index: int, attribute: str, default: float) -> float:
    if node.version < 11:
        return node.number(attribute, default)
    if not node.has(index):
        return default
    array = node.weight(index)
    if array.size != 1:
        raise ModelError(f"the {attribute} of Clip has {array.size} elements, and is one number")
    value = float(array.reshape(()))
    if math.isnan(value):
        raise UnsupportedError(f"the {attribute} of Clip is NaN", reason="limits that are NaN")
    return min(max(value, -FLOAT_MAX), FLOAT_MAX)


@handles("PRelu")
def prelu(node: NodeReader) -> Tensor:
    x, slope = node.tensor(0), node.weight(1)
    if node.version < 7 and slope.ndim == 1 and x.rank > 2:
        slope = slope.reshape(-1, *(1,) * (x.rank - 2))
    found = channel_vector(node, x, slope)
    if found is None:
        return _prelu_of_pixels(node, x, slope)
    form, name, vector = found
    return node.builder.tensor(node.add(PRelu(), name, weights={"alpha": vector}), x.shape, form)


def _prelu_of_pixels(node: NodeReader, x: Tensor, slope: Array) -> Tensor:
    """``max(x, 0) + slope min(x, 0)``"""
    if slope.ndim > x.rank or any(
        size not in (1, own) for size, own in zip(slope.shape[::-1], x.shape[::-1], strict=False)
    ):
        raise ModelError(f"slopes {list(slope.shape)} do not fit a tensor {list(x.shape)}")
    form, name = node.same_form(x)
    slopes = node.constant_tensor(slope.reshape((1,) * (x.rank - slope.ndim) + slope.shape))
    below = node.add(Activate(Activation("clip", -FLOAT_MAX, 0.0)), name, suffix="/negative")
    scaled = node.add(Mul(), below, node.builder.form(slopes, form), suffix="/scaled")
    above = node.add(Activate(Activation("relu")), name, suffix="/positive")
    return node.builder.tensor(node.add(Add(), above, scaled), x.shape, form)


@handles("Softmax", "LogSoftmax")
def softmax(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    axis = node.axis(node.whole("axis", -1 if node.version >= 13 else 1), x.rank)
    op = Softmax() if node.kind == "Softmax" else LogSoftmax()
    if node.version < 13 and math.prod(x.shape[axis + 1 :]) > 1:
        # All axes from this one on are one.
        flat = reshaped(node, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), "/flat")
        name = node.add(op, node.plain(flat))
        return reshaped(node, node.builder.tensor(name, flat.shape, "plain"), x.shape, "/shaped")
    return along_last(node, x, axis, op)
