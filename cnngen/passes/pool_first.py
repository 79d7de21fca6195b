"""Averages before a pointwise convolution instead of behind it: the mean of weighted sums is the weighted sum of means.

Before: any verified graph; batch norms are folded already, since one in between would hide the convolution.
After: no average over whole windows, fewer than there are pixels, reads a 1x1 convolution of stride 1 without epilogue
that nothing else reads, unless the average is an output. The transitions of DenseNet need a quarter of the
multiply-adds then.

Both nodes keep their names and sources; what read the average reads the convolution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from cnngen.ir import Graph, Node
from cnngen.ops import Conv2D, GlobalPool2D, Op, Pool2D
from cnngen.passes.rewrite import rebuilt, uses


def pool_first(graph: Graph) -> Graph:
    """One walk in topological order: the average takes the place of the convolution, which comes right behind it."""
    count = uses(graph)
    nodes: dict[str, Node] = {}
    names: dict[str, str] = {}  # average -> the convolution whose result it was
    for node in graph.nodes:
        node = replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))
        passed: list[Node] = []  # convolutions, the last one first
        while (first := _convolution(graph, node, nodes, count)) is not None:
            passed.append(nodes.pop(first.name))
            node = replace(node, inputs=first.inputs)
        nodes[node.name] = node
        place = node.name
        for convolution in reversed(passed):
            nodes[convolution.name] = replace(convolution, inputs=(place,))
            place = convolution.name
        if passed:
            names[node.name] = place
            count[place] = count[node.name]
    return rebuilt(graph, nodes.values())


def _convolution(graph: Graph, node: Node, nodes: Mapping[str, Node], count: Mapping[str, int]) -> Node | None:
    """The pointwise convolution of whose result `node` averages whole windows, where the two can be swapped."""
    first = nodes.get(node.inputs[0]) if node.inputs else None
    if first is None or count[first.name] > 1 or node.name in graph.outputs or not _averages(node.op):
        return None
    op = first.op
    if not isinstance(op, Conv2D) or op.kernel != (1, 1) or op.stride != (1, 1) or any(op.padding):
        return None
    if op.residual or op.activation is not None:
        return None
    before, after = (math.prod(graph.types[name].shape[:3]) for name in (first.name, node.name))
    return first if after < before else None


def _averages(op: Op) -> bool:
    """Whether an op takes means of windows that lie in the image as a whole."""
    match op:
        case GlobalPool2D():
            return op.reduction == "avg"
        case Pool2D():
            return op.reduction == "avg" and not any(op.padding) and not op.ceil_mode
        case _:
            return False
