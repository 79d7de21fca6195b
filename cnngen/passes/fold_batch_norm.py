"""Folds batch norms into the convolution or dense layer in front of them.

``gamma (x w + b - mean) / sqrt(variance + eps) + beta  =  x (w scale) + (b scale + shift)``,
computed in float64 and rounded to float32 once.

Before: any verified graph. After: no BatchNorm reads a Conv2D, Conv2DTranspose or Dense that has neither activation
nor residual, nor any other reader, unless its folded weights would overflow float32. The folded
node carries the BatchNorm's name, so that its readers stay as they are, and the source of the layer.
A BatchNorm in front of a convolution stays: with zero padding it cannot be folded forward.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np

from cnngen.ir import Graph, Node
from cnngen.ops import BatchNorm, Conv2D, Conv2DTranspose, Dense
from cnngen.passes.rewrite import rebuilt, uses


def fold_batch_norm(graph: Graph) -> Graph:
    """Scale weights and biases by the batch norms behind them."""
    count = uses(graph)
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        folded = None
        if isinstance(node.op, BatchNorm) and count[node.inputs[0]] == 1:
            folded = _folded(nodes.get(node.inputs[0]), node, node.op)
            if folded is not None:
                del nodes[node.inputs[0]]
        nodes[node.name] = folded or node
    return rebuilt(graph, nodes.values())


def _folded(layer: Node | None, norm: Node, op: BatchNorm) -> Node | None:
    """Both nodes as one, or None where they cannot be."""
    if layer is None or not isinstance(layer.op, Conv2D | Conv2DTranspose | Dense) or layer.op.activation is not None:
        return None
    if isinstance(layer.op, Conv2D | Conv2DTranspose) and layer.op.residual:
        return None
    scale, shift = op.affine(norm.weights)
    with np.errstate(over="ignore", invalid="ignore"):
        # The output channel is the last axis of all these layers' weights. NumPy makes them float64 part by part.
        weight = np.empty_like(layer.weights["weight"])
        np.multiply(layer.weights["weight"], scale, out=weight, dtype=np.float64, casting="same_kind")
        bias = np.asarray(np.float64(layer.weights.get("bias", 0.0)) * scale + shift, np.float32)
    if np.isinf(weight).any() or np.isinf(bias).any():
        return None
    return Node(
        norm.name,
        replace(layer.op, use_bias=True, activation=op.activation),
        layer.inputs,
        MappingProxyType({"weight": weight, "bias": bias}),
        layer.source,
    )
