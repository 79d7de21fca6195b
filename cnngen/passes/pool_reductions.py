"""Turns means and largest elements over the pixels of images into global pooling, which has kernels for that.

Squeeze-and-excitation is often written with a reduction over height and width, and so is the end of a network.

Before: any verified graph; transpositions in a row are one. After: no Reduce of `mean` or `max` over height and width
alone reads an image, be it directly or through a transposition; the pool carries the node's name or, where the result
has another shape, stands before a Reshape with that name.
"""

from __future__ import annotations

from dataclasses import replace

from cnngen.ir import Graph, Node
from cnngen.ops import GlobalPool2D, Reduce, Reshape, Transpose
from cnngen.passes.rewrite import fresh, rebuilt

PIXELS = (1, 2)


def pool_reductions(graph: Graph) -> Graph:
    """One walk in topological order."""
    nodes: dict[str, Node] = {}
    taken = set(graph.types)
    for node in graph.nodes:
        source = _image(node, graph, nodes)
        if source is not None:
            assert isinstance(node.op, Reduce)
            op = GlobalPool2D("avg" if node.op.function == "mean" else "max")
            own, pooled = graph.types[node.name], op.infer([graph.types[source]])
            if own != pooled:
                name = fresh(f"{node.name}/pool", taken)
                nodes[name] = Node(name, op, (source,), source=node.source)
                node = replace(node, op=Reshape(own.shape[1:]), inputs=(name,))
            else:
                node = replace(node, op=op, inputs=(source,))
        nodes[node.name] = node
    return rebuilt(graph, nodes.values())


def _image(node: Node, graph: Graph, nodes: dict[str, Node]) -> str | None:
    """The image over whose pixels `node` reduces, with the batch and the channels left in this order; None if none."""
    if not isinstance(node.op, Reduce) or node.op.function not in ("mean", "max"):
        return None
    (source,) = node.inputs
    if len(graph.types[source].shape) != 4:
        return None
    if tuple(sorted(node.op.axes)) == PIXELS:
        return source
    before = nodes.get(source)
    if before is None or not isinstance(before.op, Transpose):
        return None
    axes = sorted(before.op.axes[axis] for axis in node.op.axes)
    kept = [axis for axis in before.op.axes if axis not in axes]
    return before.inputs[0] if tuple(axes) == PIXELS and kept == [0, 3] else None


__all__ = ["pool_reductions"]
