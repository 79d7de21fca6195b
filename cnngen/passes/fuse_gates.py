"""Turns the product of a tensor with its own sigmoid into one activation.

Before: any verified graph. After: no Mul of two operands reads x and an Activate of the same x that nothing else
reads, where the product is an activation of its own: ``x sigmoid(x)`` is silu, ``x hard_sigmoid(x)`` with slope 1/6
and shift 1/2 is hard_swish. ONNX files write both in two nodes. The activation carries the product's name; the
layer in front can then take it as its epilogue.
"""

from __future__ import annotations

from cnngen.ir import Graph, Node
from cnngen.ops import Activate, Activation, Mul
from cnngen.passes.rewrite import rebuilt, uses

GATES = {
    Activation("sigmoid"): Activation("silu"),
    Activation("hard_sigmoid", 1 / 6, 0.5): Activation("hard_swish"),
}
"""What the product of x with this function of x is."""


def fuse_gates(graph: Graph) -> Graph:
    """One walk in topological order."""
    count = uses(graph)
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        gate = _gate(node, nodes) if isinstance(node.op, Mul) and node.op.activation is None else None
        if gate is not None and count[gate.name] == 1:
            assert isinstance(gate.op, Activate)
            del nodes[gate.name]
            op = Activate(GATES[gate.op.activation])
            node = Node(node.name, op, gate.inputs, source=gate.source)
        nodes[node.name] = node
    return rebuilt(graph, nodes.values())


def _gate(product: Node, nodes: dict[str, Node]) -> Node | None:
    """The operand of `product` that is a gate of the other one; None where there is none."""
    if len(product.inputs) != 2:
        return None
    for x, name in (product.inputs, product.inputs[::-1]):
        gate = nodes.get(name)
        if gate and isinstance(gate.op, Activate) and gate.op.activation in GATES and gate.inputs == (x,):
            return gate
    return None
