"""Fuses maxima of windows into the convolutions in front of them, where their kernel pools what it has in registers.

Before: a graph behind all passes; convolutions pool nothing. After: no maximum of whole windows that do not overlap
reads a convolution that is computed by Winograd's algorithm along the height, in tiles of whole windows, unless
something else reads that convolution, too, or it has a residual, an activation that may fall, or dilation. The fused
node carries the name of the maximum, which its readers know, and the source of the convolution. What the network
computes is the same.
"""

from __future__ import annotations

from dataclasses import replace

from cnngen.backends.cpu import winograd_rows
from cnngen.backends.cpu.kernels import Epilogue
from cnngen.backends.cpu.target import Target
from cnngen.ir import Graph, Node
from cnngen.ops import Conv2D, Pool2D
from cnngen.passes.rewrite import rebuilt, uses
from cnngen.plan.memory import as_image


def fuse_pools(graph: Graph, target: Target) -> Graph:
    """`graph` with such maxima in the convolutions."""
    count = uses(graph)
    nodes: dict[str, Node] = {}
    fused = False
    for node in graph.nodes:
        first = nodes.get(node.inputs[0]) if isinstance(node.op, Pool2D) else None
        if first is not None and count[first.name] == 1 and _pools(graph, first, node, target):
            assert isinstance(first.op, Conv2D)
            assert isinstance(node.op, Pool2D)
            del nodes[first.name]
            node = replace(first, name=node.name, op=replace(first.op, pool=node.op.kernel))
            fused = True
        nodes[node.name] = node
    return rebuilt(graph, nodes.values()) if fused else graph


def _pools(graph: Graph, first: Node, node: Node, target: Target) -> bool:
    """Whether the kernel of `first` can do what `node` does."""
    op, pool = first.op, node.op
    if not isinstance(op, Conv2D) or not isinstance(pool, Pool2D) or pool.reduction != "max" or op.pool != (1, 1):
        return False
    source, results = as_image(graph.input_types(first)[0]), as_image(graph.types[first.name])
    whole = results[1] % pool.kernel[0] == 0 and results[2] % pool.kernel[1] == 0
    if pool.stride != pool.kernel or pool.dilation != (1, 1) or any(pool.padding) or not whole:
        return False
    if op.residual or op.dilation != (1, 1) or not Epilogue(op.activation).passes_maxima:
        return False
    choice = winograd_rows.choose(op, source, results, target)
    return choice is not None and choice.tile[0] % pool.kernel[0] == 0
