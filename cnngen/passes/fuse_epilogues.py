"""Fuses activations and residual additions into the layer in front of them.

Before: any verified graph; batch norms are folded already, since one in between would hide the layer.
After: no Activate reads a Conv2D, Conv2DTranspose, Dense, elementwise op or normalisation (other than LRN) without
activation that nothing else reads; no Add of two tensors of one shape reads a Conv2D or Conv2DTranspose without
epilogue that nothing else reads.
Order within an epilogue is bias, residual, activation. A fused node stands where its last node stood
and carries that node's name, so that readers stay as they are and its inputs are computed before
it; its source is the first node's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cnngen.ir import Graph, Node, TensorType
from cnngen.ops import Activate, Add, BatchNorm, Conv2D, Conv2DTranspose, Dense, Elementwise, StatisticsNorm
from cnngen.passes.rewrite import rebuilt, uses


def fuse_epilogues(graph: Graph) -> Graph:
    """One walk in topological order; what is fused already can take one thing more behind it."""
    count = uses(graph)
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        private = {name: nodes[name] for name in node.inputs if count[name] == 1 and name in nodes}
        fused = _fused(node, private, list(nodes), graph.types)
        if fused is not None:
            first, node = fused
            del nodes[first]
        nodes[node.name] = node
    return rebuilt(graph, nodes.values())


def _fused(
    node: Node, private: Mapping[str, Node], order: list[str], types: Mapping[str, TensorType]
) -> tuple[str, Node] | None:
    """The name of a node that `node` fuses with and both as one; None where there is none.

    `private` are the nodes that only `node` reads, `order` all names in topological order.
    """
    if isinstance(node.op, Activate):
        first = private.get(node.inputs[0])
        if (
            first is None
            or not isinstance(first.op, Conv2D | Conv2DTranspose | Dense | Elementwise | BatchNorm | StatisticsNorm)
            or first.op.activation is not None
        ):
            return None
        op = replace(first.op, activation=node.op.activation)
        return first.name, replace(first, name=node.name, op=op)
    if isinstance(node.op, Add) and len(node.inputs) == 2 and types[node.inputs[0]] == types[node.inputs[1]]:
        convolutions = [
            first
            for first in private.values()
            if isinstance(first.op, Conv2D | Conv2DTranspose) and first.op.activation is None and not first.op.residual
        ]
        if not convolutions:
            return None
        # The later one: what it would otherwise write is then read at once, while it is in registers.
        first = max(convolutions, key=lambda candidate: order.index(candidate.name))
        (other,) = (name for name in node.inputs if name != first.name)
        assert isinstance(first.op, Conv2D | Conv2DTranspose)
        op = replace(first.op, residual=True, activation=node.op.activation)
        return first.name, replace(first, name=node.name, op=op, inputs=(first.inputs[0], other))
    return None
