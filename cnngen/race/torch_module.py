"""A PyTorch module that computes an optimised graph of usual layers, as a contender in races."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cnngen.errors import RunError
from cnngen.ir import Graph, Node
from cnngen.ops import (
    Activate,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Flatten,
    GlobalPool2D,
    Identity,
    Mul,
    Pool2D,
    Softmax,
    Transpose,
)

FUNCTIONS: dict[str, Any] = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": functional.silu,
    "hard_swish": functional.hardswish,
}


class GraphModule(torch.nn.Module):
    """Runs `graph` on tensors whose images have their channels first."""

    def __init__(self, graph: Graph, *, channels_first: bool) -> None:
        """`channels_first`: so are the inputs of the graph's network, which its first op turns."""
        super().__init__()
        self.graph, self.channels_first = graph, channels_first
        self.tensors = {
            node.name: {role: torch.from_numpy(array.copy()) for role, array in node.weights.items()}
            for node in graph.nodes
        }

    def forward(self, *inputs: Tensor) -> Any:
        values = dict(zip((tensor.name for tensor in self.graph.inputs), inputs, strict=True))
        for node in self.graph.nodes:
            values[node.name] = self._compute(node, [values[name] for name in node.inputs])
        results = tuple(values[name] for name in self.graph.outputs)
        return results if len(results) > 1 else results[0]

    def _compute(self, node: Node, xs: list[Tensor]) -> Tensor:
        own, shape = self.tensors[node.name], self.graph.types[node.name].shape
        match node.op:
            case Transpose() if xs[0].dim() == 4:
                return xs[0]  # between layouts: images have their channels first here, whatever the graph says
            case Identity():
                return xs[0]
            case Conv2D() as op:
                top, bottom, left, right = op.padding
                x, padding = xs[0], (top, left)
                if (top, left) != (bottom, right):
                    x, padding = functional.pad(x, (left, right, top, bottom)), (0, 0)
                weight = own["weight"].permute(3, 2, 0, 1).contiguous()
                y = functional.conv2d(x, weight, own.get("bias"), op.stride, padding, op.dilation, op.groups)
                return _activated(op.activation, y + xs[1] if op.residual else y)
            case Dense() as op:
                y = functional.linear(xs[0], own["weight"].t().contiguous(), own.get("bias"))
                return _activated(op.activation, y)
            case Pool2D() as op:
                return _pooled(op, xs[0], shape)
            case GlobalPool2D(reduction="avg"):
                return xs[0].mean((2, 3), keepdim=True)
            case Activate() as op:
                return _activated(op.activation, xs[0])
            case Add() as op:
                return _activated(op.activation, xs[0] + xs[1])
            case Mul() as op:
                return _activated(op.activation, xs[0] * xs[1])
            case BatchNorm() as op:
                names = ("mean", "variance", "gamma", "beta")
                mean, variance, gamma, beta = (own.get(name) for name in names)
                assert mean is not None
                assert variance is not None
                y = functional.batch_norm(xs[0], mean, variance, gamma, beta, eps=op.epsilon)
                return _activated(op.activation, y)
            case Concat() if xs[0].dim() == 4:
                return torch.cat(xs, 1)
            case Flatten() as op:
                x = xs[0] if op.order == "chw" or xs[0].dim() != 4 else xs[0].permute(0, 2, 3, 1)
                return x.flatten(1)
            case Softmax():
                return functional.softmax(xs[0], 1)
            case op:
                raise RunError(f"the PyTorch contender has no {op.kind}", layer=node.name)


def _activated(activation: Activation | None, x: Tensor) -> Tensor:
    if activation is None:
        return x
    if activation.function not in FUNCTIONS:
        raise RunError(f"the PyTorch contender has no {activation.function}")
    result: Tensor = FUNCTIONS[activation.function](x)
    return result


def _pooled(op: Pool2D, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    top, bottom, left, right = op.padding
    if op.reduction == "max":
        x = functional.pad(x, (left, right, top, bottom), value=float("-inf"))
        y = functional.max_pool2d(x, op.kernel, op.stride, 0, op.dilation)
    elif not any(op.padding):
        y = functional.avg_pool2d(x, op.kernel, op.stride)
    else:
        raise RunError("the PyTorch contender has no average pooling with padding")
    return y[:, :, : shape[1], : shape[2]]


def module_of(graph: Graph, *, channels_first: bool) -> GraphModule:
    """The module for an optimised graph. Running it raises `RunError` for a layer that it has no equivalent of."""
    module = GraphModule(graph, channels_first=channels_first)
    module.eval()
    return module
