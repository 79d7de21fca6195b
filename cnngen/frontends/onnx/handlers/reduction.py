"""Reductions over any axes, and the position of the largest or smallest element."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cnngen.frontends.onnx.handlers.registry import HANDLERS, handles
from cnngen.frontends.onnx.handlers.shape import axes_of, reshaped
from cnngen.frontends.onnx.node import NodeReader
from cnngen.frontends.onnx.values import Shape, Tensor, position
from cnngen.ops import ArgReduce, GlobalPool2D, Reduce
from cnngen.ops.reduce import Reduction

FUNCTIONS: dict[str, Reduction] = {
    "ReduceMean": "mean",
    "ReduceSum": "sum",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceL1": "l1",
    "ReduceL2": "l2",
    "ReduceSumSquare": "sum_square",
    "ReduceLogSum": "log_sum",
    "ReduceLogSumExp": "log_sum_exp",
}


def reduce(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    given = axes_of(node, since=13 if node.kind == "ReduceSum" else 18)
    if not given and node.whole("noop_with_empty_axes", 0):
        return x
    axes = tuple(sorted({node.axis(axis, x.rank) for axis in given or range(x.rank)}))
    keep = bool(node.whole("keepdims", 1))
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes)
    function = FUNCTIONS[node.kind]
    if x.rank == 4 and axes == (2, 3) and function in ("mean", "max"):
        name = node.add(GlobalPool2D("avg" if function == "mean" else "max"), node.last(x))
        return reshaped(node, node.builder.tensor(name, (*x.shape[:2], 1, 1), "last"), shape, "/flat")
    if keep and x.rank > 3 and "last" in x.forms:
        moved = tuple(sorted(position(axis, x.rank, "last") for axis in axes))
        return node.builder.tensor(node.add(Reduce(function, moved), node.last(x)), shape, "last")
    return node.builder.tensor(node.add(Reduce(function, axes, keep), node.plain(x)), shape, "plain")


HANDLERS.update(dict.fromkeys(FUNCTIONS, reduce))


@handles("ArgMax", "ArgMin")
def arg_reduce(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    axis, keep = node.axis(node.whole("axis", 0), x.rank), bool(node.whole("keepdims", 1))
    function: Literal["max", "min"] = "max" if node.kind == "ArgMax" else "min"
    last = bool(node.whole("select_last_index", 0))
    name = node.add(ArgReduce(function, axis, keep, last), node.plain(x))
    shape: Shape = tuple(1 if at == axis else size for at, size in enumerate(x.shape) if keep or at != axis)
    result = node.builder.tensor(name, shape, "plain")
    return Tensor(result.shape, result.forms, np.dtype(np.int64))
