"""Joins transpositions in a row, drops those that cancel, and makes reshapes of those that only move axes of size 1.

They come from exporters of channels-last frameworks and from layers that are written for vectors. A reshape in the
order of memory is a view, which costs nothing, where a transposition is a copy.

Before: any verified graph. After: no Transpose reads a Transpose; none leaves the axes longer than 1 in their order; no
reshape that keeps the order of the elements reads another one; a vector of an image that was moved to channels first
is a Flatten of the image in that order, which `fold_flatten` knows; what changed nothing is an Identity. What an
earlier node of such a row computed has lost this reader, and may be dead.
"""

from __future__ import annotations

from dataclasses import replace

from cnngen.ir import Graph, Node, TensorType
from cnngen.ops import Flatten, Identity, Reshape, Transpose
from cnngen.passes.rewrite import rebuilt

TO_NCHW = (0, 3, 1, 2)


def simplify_movement(graph: Graph) -> Graph:
    """One walk in topological order: what a node reads is simple already."""
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        if isinstance(node.op, Transpose):
            node = _transpose(node, node.op, graph, nodes)
        if isinstance(node.op, Flatten | Reshape) and _keeps_order(node, graph):
            node = _reshape(node, graph, nodes)
        nodes[node.name] = node
    return rebuilt(graph, nodes.values())


def _transpose(node: Node, op: Transpose, graph: Graph, nodes: dict[str, Node]) -> Node:
    """`node` with the transposition that it reads, and as a reshape where the elements stay where they are."""
    before = nodes.get(node.inputs[0])
    if before is not None and isinstance(before.op, Transpose):
        op = Transpose(tuple(before.op.axes[axis] for axis in op.axes))
        node = replace(node, op=op, inputs=before.inputs)
    shape = graph.types[node.inputs[0]].shape
    long = [axis for axis in op.axes if shape[axis] > 1]
    if long != sorted(long):
        return node
    own = graph.types[node.name]
    if op.axes == tuple(range(len(shape))):
        return replace(node, op=Identity())
    kept = op.axes[0] == 0  # the batch; another axis of size 1 in its place is no batch
    return replace(node, op=Reshape(own.shape[1:]) if kept else Reshape(own.shape, whole=True))


def _reshape(node: Node, graph: Graph, nodes: dict[str, Node]) -> Node:
    """`node`, which keeps the order of the elements, in one step from where the row of such nodes begins."""
    own, before = graph.types[node.name], nodes.get(node.inputs[0])
    if before is not None and isinstance(before.op, Flatten | Reshape) and _keeps_order(before, graph):
        whole = any(isinstance(one.op, Reshape) and one.op.whole for one in (node, before))
        kept = not whole and bool(own.shape)
        op = Reshape(own.shape[1:]) if kept else Reshape(own.shape, whole=True)
        node = replace(node, op=op, inputs=before.inputs)
    elif before is not None and before.op == Transpose(TO_NCHW) and len(own.shape) == 2:
        kept = own.shape[0] == graph.types[before.name].shape[0]
        return replace(node, op=Flatten("chw"), inputs=before.inputs) if kept else node
    same = graph.types[node.inputs[0]] == own
    return replace(node, op=Identity()) if same else node


def _keeps_order(node: Node, graph: Graph) -> bool:
    """Whether the elements of a flatten or reshape lie in memory as those of its input."""
    assert isinstance(node.op, Flatten | Reshape)
    ends = [graph.types[node.inputs[0]], graph.types[node.name]]
    return node.op.order == "hwc" or not any(map(_has_two_orders, ends))


def _has_two_orders(tensor: TensorType) -> bool:
    """Whether it is an image whose elements lie otherwise with their channels first."""
    return len(tensor.shape) == 4 and tensor.shape[3] > 1 and tensor.shape[1] * tensor.shape[2] > 1


__all__ = ["simplify_movement"]
