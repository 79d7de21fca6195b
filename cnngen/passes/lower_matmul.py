"""Turns products with a constant matrix into dense layers and 1x1 convolutions, whose weights are packed and folded.

The last axis of a tensor is its channels in memory, so ``x[..., k] w[k, j]`` is a dense layer for vectors and a 1x1
convolution for everything with more axes: those between the batch and the channels are its pixels.

Before: any verified graph. After: no MatMul of a tensor that is computed and has at least two axes reads a Constant of
two axes on its right. The layer carries the node's name; where the tensor is no image, a Reshape in front makes it one,
and one behind has the name.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType

from cnngen.ir import Graph, Node
from cnngen.ops import Constant, Conv2D, Dense, MatMul, Reshape
from cnngen.passes.rewrite import fresh, rebuilt


def lower_matmul(graph: Graph) -> Graph:
    """One walk; the constants that nothing else reads are left to `remove_dead`."""
    producers = {node.name: node for node in graph.nodes}
    nodes: list[Node] = []
    taken = set(graph.types)
    for node in graph.nodes:
        factor = producers.get(node.inputs[1]) if isinstance(node.op, MatMul) else None
        if factor is None or not isinstance(factor.op, Constant) or len(factor.op.shape) != 2:
            nodes.append(node)
            continue
        source = node.inputs[0]
        shape, matrix = graph.types[source].shape, factor.weights["value"]
        units = matrix.shape[1]
        if len(shape) < 2 or isinstance(producers[source].op if source in producers else None, Constant):
            nodes.append(node)
        elif len(shape) == 2:
            weights = MappingProxyType({"weight": matrix})
            nodes.append(replace(node, op=Dense(units, use_bias=False), inputs=(source,), weights=weights))
        else:
            weights = MappingProxyType({"weight": matrix[None, None]})
            layer = Node(node.name, Conv2D(units, (1, 1), use_bias=False), (source,), weights, node.source)
            if len(shape) == 4:
                nodes.append(layer)
                continue
            image, name = fresh(f"{node.name}/image", taken), fresh(f"{node.name}/product", taken)
            pixels = Reshape((math.prod(shape[1:-2]), shape[-2], shape[-1]))
            nodes.append(Node(image, pixels, (source,), source=node.source))
            nodes.append(replace(layer, name=name, inputs=(image,)))
            nodes.append(replace(node, op=Reshape((*shape[1:-1], units)), inputs=(name,)))
    return rebuilt(graph, nodes)


__all__ = ["lower_matmul"]
