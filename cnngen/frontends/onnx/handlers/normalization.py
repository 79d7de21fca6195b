"""Normalisations: batch normalisation at inference, by the input's own statistics, and local response."""

from __future__ import annotations

import math

import numpy as np

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.activation import FLOAT_MAX
from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.handlers.shape import reshaped
from cnngen.frontends.onnx.handlers.windows import from_image, image_axes
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.values import Tensor, position
from cnngen.ir import Array
from cnngen.ops import (
    LRN,
    Activate,
    Activation,
    Add,
    BatchNorm,
    Div,
    GlobalPool2D,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    Reduce,
    Sub,
)
from cnngen.ops.base import SMALLEST_NORMAL

MVN_EPSILON = 1e-9
"""Of ONNX's definition of MeanVarianceNormalization."""
ROLES = ("gamma", "beta", "mean", "variance")


@handles("BatchNormalization")
def batch_norm(node: NodeReader) -> Tensor:
    trained = node.whole("training_mode", 0) or any(node.proto.output[1:])
    if trained or (node.version < 7 and not node.whole("is_test", 0)):
        raise UnsupportedError(
            "BatchNormalization in training mode", reason="training", remedy="export the model for inference"
        )
    if not node.whole("spatial", 1):
        raise UnsupportedError("BatchNormalization with spatial=0", reason="a mean for each pixel")
    x = node.tensor(0)
    if x.rank < 2:
        raise ModelError(f"BatchNormalization of a tensor of rank {x.rank}")
    weights = {role: node.weight(1 + index) for index, role in enumerate(ROLES)}
    for role, array in weights.items():
        if array.shape != (x.shape[1],):
            raise ModelError(f"the {role} has the shape {list(array.shape)}, not [{x.shape[1]}]")
    epsilon = node.number("epsilon", 1e-5)
    if epsilon < 0 or float(weights["variance"].min(initial=0.0)) < 0:
        raise ModelError(f"epsilon {epsilon:g} or a variance is negative", remedy="export the model again")
    return node.builder.tensor(node.add(BatchNorm(epsilon), node.last(x), weights=weights), x.shape, "last")


@handles("MeanVarianceNormalization")
def mean_variance_normalization(node: NodeReader) -> Tensor:
    """``(x - mean) / (sqrt(variance) + 1e-9)`` over any axes: the variance of the differences, which cancels less."""
    x = node.tensor(0)
    given = node.wholes("axes") or (0, 2, 3)
    form, name = node.same_form(x)
    axes = tuple(sorted({position(node.axis(axis, x.rank), x.rank, form) for axis in given}))
    mean = node.add(Reduce("mean", axes), name, suffix="/mean")
    centred = node.add(Sub(), name, mean, suffix="/centred")
    square = node.add(Activate(Activation("square")), centred, suffix="/square")
    deviation = node.add(Reduce("mean", axes), square, suffix="/variance")
    deviation = node.add(Activate(Activation("sqrt")), deviation, suffix="/deviation")
    smallest = node.plain(node.constant_tensor(np.array(MVN_EPSILON, np.float32)))
    deviation = node.add(Add(), deviation, smallest, suffix="/deviation/limited")
    return node.builder.tensor(node.add(Div(), centred, deviation), x.shape, form)


@handles("LpNormalization")
def lp_normalization(node: NodeReader) -> Tensor:
    """``x / norm`` along an axis. A norm below the smallest normal number is taken as that: zeros stay zeros."""
    x = node.tensor(0)
    axis, order = node.axis(node.whole("axis", -1), x.rank), node.whole("p", 2)
    if order not in (1, 2):
        raise ModelError(f"p is {order}", remedy="it is 1 or 2")
    form, name = node.same_form(x)
    own = position(axis, x.rank, form)
    norm = node.add(Reduce("l1" if order == 1 else "l2", (own,)), name, suffix="/norm")
    norm = node.add(Activate(Activation("clip", SMALLEST_NORMAL, FLOAT_MAX)), norm, suffix="/norm/limited")
    return node.builder.tensor(node.add(Div(), name, norm), x.shape, form)


@handles("LRN")
def lrn(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    size = node.whole("size", 0)
    if size < 1:
        raise ModelError(f"size is {size}", remedy="it is at least 1")
    op = LRN(size, node.number("alpha", 1e-4), node.number("beta", 0.75), node.number("bias", 1.0))
    if op.alpha < 0 or op.bias <= 0:
        raise UnsupportedError(f"LRN with alpha {op.alpha:g} and bias {op.bias:g}", reason="LRN of a negative base")
    return node.builder.tensor(node.add(op, node.last(x)), x.shape, "last")


@handles("InstanceNormalization")
def instance_norm(node: NodeReader) -> Tensor:
    x, weights = node.tensor(0), _affine(node)
    image_axes(node, x)
    op = InstanceNorm(_epsilon(node), True, True)
    return from_image(node, node.add(op, node.last(x), weights=weights), x.rank)


@handles("GroupNormalization")
def group_norm(node: NodeReader) -> Tensor:
    """Before opset 21 there are a scale and a bias for each group, from there on for each channel."""
    x, weights, groups = node.tensor(0), _affine(node), node.whole("num_groups", 0)
    image_axes(node, x)
    channels = x.shape[1]
    if groups < 1 or channels % groups:
        raise ModelError(f"num_groups is {groups}, the input has {channels} channels")
    if node.version < 21:
        weights = {role: np.repeat(array, channels // groups) for role, array in weights.items()}
    op = GroupNorm(_epsilon(node), True, True, groups=groups)
    return from_image(node, node.add(op, node.last(x), weights=weights), x.rank)


@handles("LayerNormalization")
def layer_norm(node: NodeReader) -> list[Tensor]:
    """Over the axes from `axis` on, as one; mean and reciprocal deviation where they are asked for."""
    x = node.tensor(0)
    axis, epsilon = node.axis(node.whole("axis", -1), x.rank), _epsilon(node)
    before, behind = x.shape[:axis], x.shape[axis:]
    weights = {"gamma": _trailing(node, 1, behind)}
    if node.has(2):
        weights["beta"] = _trailing(node, 2, behind)
    op = LayerNorm(epsilon, True, "beta" in weights)
    if axis == x.rank - 1 and x.rank > 1:
        result = node.builder.tensor(node.add(op, node.plain(x), weights=weights), x.shape, "plain")
    else:
        flat = reshaped(node, x, (math.prod(before), math.prod(behind)), "/flat")
        name = node.add(op, node.plain(flat), weights=weights, suffix="/rows")
        result = reshaped(node, node.builder.tensor(name, flat.shape, "plain"), x.shape)
    outputs = [result]
    if any(node.proto.output[1:]):
        outputs += _statistics(node, x, axis, epsilon)
    return outputs[: len(node.proto.output)]


def _statistics(node: NodeReader, x: Tensor, axis: int, epsilon: float) -> list[Tensor]:
    """Mean and ``1 / sqrt(variance + epsilon)`` of the rows, as an image of one channel: (rows, 1, elements, 1)."""
    rows, elements = math.prod(x.shape[:axis]), math.prod(x.shape[axis:])
    image = node.plain(reshaped(node, x, (rows, 1, elements, 1), "/image"))
    mean = node.add(GlobalPool2D("avg"), image, suffix="/mean")
    centred = node.add(Sub(), image, mean, suffix="/centred")
    square = node.add(Activate(Activation("square")), centred, suffix="/square")
    variance = node.add(GlobalPool2D("avg"), square, suffix="/variance")
    small = node.plain(node.constant_tensor(np.array(epsilon, np.float32)))
    shifted = node.add(Add(), variance, small, suffix="/shifted")
    deviation = node.add(Activate(Activation("pow", -0.5)), shifted, suffix="/reciprocal")
    shape = (*x.shape[:axis], *(1,) * (x.rank - axis))
    return [
        reshaped(node, node.builder.tensor(name, (rows, 1, 1, 1), "plain"), shape, f"/output{number}")
        for number, name in enumerate((mean, deviation), 1)
    ]


def _trailing(node: NodeReader, index: int, shape: tuple[int, ...]) -> Array:
    """A parameter, broadcast to the axes that are normalised, as a vector."""
    array = node.weight(index)
    try:
        return np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1)
    except ValueError:
        raise ModelError(f"a parameter of shape {list(array.shape)} does not fit the axes {list(shape)}") from None


def _affine(node: NodeReader) -> dict[str, Array]:
    weights = {"gamma": node.weight(1), "beta": node.weight(2)}
    for role, array in weights.items():
        if array.ndim != 1:
            raise ModelError(f"the {role} has the shape {list(array.shape)}")
    return weights


def _epsilon(node: NodeReader) -> float:
    epsilon = node.number("epsilon", 1e-5)
    if epsilon < 0:
        raise ModelError(f"epsilon is {epsilon:g}")
    return epsilon
