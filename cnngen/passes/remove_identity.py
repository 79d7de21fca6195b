"""Removes Identity nodes (dropout at inference).

Before: any verified graph. After: an Identity is left only where an output would lose its name
without it: it copies a graph input, or a tensor that is an output under another name. Inputs,
outputs and their names are as before; a node behind an output's Identity takes the output's name.
"""

from __future__ import annotations

from cnngen.ir import Graph, Node
from cnngen.ops import Identity
from cnngen.passes.rewrite import rebuilt, renamed


def remove_identity(graph: Graph) -> Graph:
    """Let readers of an Identity read its input, and its input's node take over an output's name."""
    inputs, outputs = {tensor.name for tensor in graph.inputs}, set(graph.outputs)
    kept: list[Node] = []
    names: dict[str, str] = {}  # tensor of the old graph -> tensor that stands for it now
    for old in graph.nodes:
        node = renamed(old, names)
        if not isinstance(node.op, Identity):
            kept.append(node)
            continue
        (source,) = node.inputs
        if node.name not in outputs:
            names[node.name] = source
        elif source in inputs or source in outputs:
            kept.append(node)
        else:
            kept = [renamed(other, {source: node.name}) for other in kept]
            names = {name: node.name if target == source else target for name, target in names.items()}
            names[source] = node.name
    return rebuilt(graph, kept)
