"""Holds each layer of a traced network against the reference: bit for bit where float32 makes no error."""

from __future__ import annotations

import numpy as np
import pytest

from cnngen.ir import Array, Graph, Node
from cnngen.ops import (
    Activate,
    ArgReduce,
    ChannelShuffle,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthToSpace,
    Div,
    Elementwise,
    GlobalPool2D,
    MatMul,
    Maximum,
    Minimum,
    Movement,
    Mul,
    Pool2D,
    Power,
    Reduce,
    SpaceToDepth,
)
from cnngen.reference import bound


def is_exact(node: Node, inputs: list[Array]) -> bool:
    """Whether float32 makes no error: sums of products of small integers, or nothing but moves and comparisons."""
    integral = all(np.array_equal(x, np.rint(x)) and np.abs(x).max() < 4096 for x in inputs)
    match node.op:
        case Div() | Power():
            return False
        case Mul() if len(inputs) > 2:
            return False
        case Maximum() | Minimum() if node.op.activation is None:
            return True
        case Conv2D() | Conv2DTranspose() | Dense() | Elementwise():
            activation = node.op.activation
            return integral and (activation is None or activation.function in ("relu", "relu6"))
        case Activate():
            return node.op.activation.function in ("relu", "relu6")
        case Pool2D() | GlobalPool2D():
            return node.op.reduction == "max"
        case ArgReduce() | Reduce(function="max" | "min"):
            return True
        case Reduce(function="sum" | "l1" | "sum_square") | MatMul():
            return integral
        case DepthToSpace() | SpaceToDepth() | ChannelShuffle() | Movement():
            return True
    return False


def assert_every_layer(graph: Graph, tensors: dict[str, Array]) -> int:
    """Hold each node's native output against the reference on its native inputs; returns how many were exact."""
    exact = 0
    for node in graph.nodes:
        inputs = [tensors[name] for name in node.inputs]
        found, actual = bound(node, inputs), tensors[node.name].astype(np.float64)
        assert actual.shape == found.value.shape
        strict = is_exact(node, inputs)
        exact += strict
        limit = np.zeros(actual.shape) if strict else found.limit
        same = (actual == found.value) | (np.isnan(actual) & np.isnan(found.value))  # x / 0 and 0 / 0 too
        with np.errstate(invalid="ignore"):
            wrong = ~(same | (np.abs(actual - found.value) <= limit))
        if wrong.any():
            first = tuple(int(i) for i in np.argwhere(wrong)[0])
            pytest.fail(
                f"{node.name} {node.op}: {wrong.sum()} of {wrong.size} wrong, first at {first}: "
                f"{actual[first]!r}, not {found.value[first]!r} within {limit[first]:.2g}"
            )
    return exact
