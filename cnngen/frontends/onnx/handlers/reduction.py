"""Reductions over height and width."""

from __future__ import annotations

from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.handlers.shape import axes_of, reshaped
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.values import Tensor
from cnngen.ops import GlobalPool2D


@handles("ReduceMean", "ReduceMax")
def reduce(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    given = axes_of(node, since=18)
    if not given and node.whole("noop_with_empty_axes", 0):
        return x
    axes = sorted({node.axis(axis, x.rank) for axis in given or range(x.rank)})
    if x.rank != 4 or axes != [2, 3]:
        raise UnsupportedError(f"{node.kind} over axes {axes} of rank {x.rank}", reason="reduction over other axes")
    name = node.add(GlobalPool2D("avg" if node.kind == "ReduceMean" else "max"), node.last(x))
    pooled = node.builder.tensor(name, (*x.shape[:2], 1, 1), "last")
    return pooled if node.whole("keepdims", 1) else reshaped(node, pooled, x.shape[:2], "/flat")
