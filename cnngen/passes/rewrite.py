"""What the passes share: rebuilding a graph from new nodes, and who reads a tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cnngen.ir import Graph, Node
from cnngen.passes.infer_shapes import infer_shapes


def rebuilt(graph: Graph, nodes: Iterable[Node]) -> Graph:
    """`graph` with these nodes in place of its own, types inferred anew; same inputs and outputs."""
    return infer_shapes(replace(graph, nodes=tuple(nodes)))


def uses(graph: Graph) -> Counter[str]:
    """How often each tensor is read: once for every place in a node's inputs and in the outputs."""
    return Counter(name for node in graph.nodes for name in node.inputs) + Counter(graph.outputs)


def fresh(name: str, taken: set[str]) -> str:
    """`name`, or one like it that is not `taken`, which it is from now on."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """`node` with its own name and its inputs' names replaced where `names` has another."""
    inputs = tuple(names.get(name, name) for name in node.inputs)
    return replace(node, name=names.get(node.name, node.name), inputs=inputs)
