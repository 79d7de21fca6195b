"""Turns a channels-first Flatten into the one that moves nothing, and permutes dense weights instead.

Before: any verified graph. After: a Flatten in `chw` order is left only where something other than
a Dense reads it and the order matters (more than one pixel and more than one channel).

This holds whatever produced the flattened tensor: `chw` numbers the elements of *its* axes
(batch, height, width, channels), so row ``(c H + h) W + w`` of the weights meets element (h, w, c).
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from cnngen.ir import Array, Graph, Node
from cnngen.ops import Dense, Flatten
from cnngen.passes.rewrite import rebuilt


def fold_flatten(graph: Graph) -> Graph:
    """Flatten in `hwc` order wherever the Dense layers behind it can take the permutation."""
    consumers = graph.consumers()
    images: dict[str, tuple[int, int, int]] = {}  # folded Flatten -> height, width, channels
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node.op, Flatten) and node.op.order == "chw":
            _, *image = graph.types[node.inputs[0]].shape
            if len(image) != 3 or image[2] == 1 or image[0] * image[1] == 1:
                node = replace(node, op=Flatten("hwc"))
            elif node.name not in graph.outputs and all(isinstance(c.op, Dense) for c in consumers[node.name]):
                images[node.name] = (image[0], image[1], image[2])
                node = replace(node, op=Flatten("hwc"))
        elif node.inputs and node.inputs[0] in images:
            weight = rows_to_hwc(node.weights["weight"], images[node.inputs[0]])
            node = replace(node, weights=MappingProxyType({**node.weights, "weight": weight}))
        nodes.append(node)
    return rebuilt(graph, nodes)


def rows_to_hwc(weight: Array, image: tuple[int, int, int]) -> Array:
    """Dense weights (c h w, units) for a flattened image (h, w, c), rows reordered to (h w c, units)."""
    height, width, channels = image
    units = weight.shape[1]
    return weight.reshape(channels, height, width, units).transpose(1, 2, 0, 3).reshape(-1, units)
