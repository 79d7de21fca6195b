"""Removes the nodes that no output needs. Inputs stay, read or not: callers pass them.

Before: any verified graph. After: every node is an output or read by a later node; nothing else changed.
"""

from __future__ import annotations

from cnngen.ir import Graph
from cnngen.passes.rewrite import rebuilt


def remove_dead(graph: Graph) -> Graph:
    """Keep what the outputs depend on."""
    needed = live(graph)
    return rebuilt(graph, (node for node in graph.nodes if node.name in needed))


def live(graph: Graph) -> set[str]:
    """Names of all tensors that the outputs depend on, the outputs themselves included."""
    needed = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return needed
