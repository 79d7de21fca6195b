"""Shipped networks made small: the same layers in the same order, on fewer pixels and channels.

What takes hours where one image costs milliseconds on a GPU (the emulation) is a matter of seconds on these, while
every kernel, stride, padding, group, connection and fusion of the network is still there.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from cnngen.errors import ShapeError
from cnngen.frontends.random_weights import random_weights
from cnngen.ir import Graph, Input, Node, TensorType, verify_graph
from cnngen.ops import Conv2D, Conv2DTranspose, Dense
from cnngen.passes.infer_shapes import infer_shapes

FEW = 8
"""So few channels are not divided: of one, softmax would be 1 whatever it is given."""


def scaled(graph: Graph, *, channels: int, pixels: int) -> Graph:
    """`graph` with its channels divided by `channels`, on square inputs of `pixels` or as few more as it needs.

    The size is the smallest from `pixels` on at which every window fits its layer's input and all sizes agree.
    Channels of the inputs stay, and those of layers with up to `FEW` (classes); layers keep their groups, and
    depthwise convolutions their multiplier. Weights are drawn anew for the new shapes.
    """
    fewer = replace(graph, nodes=tuple(_fewer_channels(graph, node, channels) for node in graph.nodes))
    for size in itertools.count(pixels):
        inputs = tuple(_resized(tensor, size) for tensor in graph.inputs)
        small = replace(fewer, inputs=inputs, types={})
        try:
            typed = infer_shapes(_with_depthwise(graph, small))
        except ShapeError:
            if size > max(*graph.inputs[0].type.shape):
                raise
            continue
        return verify_graph(random_weights(typed))
    raise AssertionError("unreachable")


def _resized(tensor: Input, size: int) -> Input:
    batch, *image, depth = tensor.type.shape
    return Input(tensor.name, TensorType((batch, *(size for _ in image), depth)))


def _fewer_channels(graph: Graph, node: Node, divisor: int) -> Node:
    """`node` with as many outputs as the division leaves, rounded up to whole groups."""
    bare = replace(node, weights={})
    match node.op:
        case Conv2D() | Conv2DTranspose() as op if not op.depthwise(graph.input_types(node)):
            return replace(bare, op=replace(op, filters=_divided(op.filters, divisor, op.groups)))
        case Dense() as op:
            return replace(bare, op=replace(op, units=_divided(op.units, divisor, 1)))
    return bare


def _divided(channels: int, divisor: int, groups: int) -> int:
    return channels if channels <= FEW else -(-channels // (divisor * groups)) * groups


def _with_depthwise(original: Graph, small: Graph) -> Graph:
    """`small` with its depthwise convolutions as wide as what they now read."""
    types: dict[str, TensorType] = {tensor.name: tensor.type for tensor in small.inputs}
    nodes = []
    for before, after in zip(original.nodes, small.nodes, strict=True):
        inputs = [types[name] for name in after.inputs]
        op = after.op
        if isinstance(op, Conv2D | Conv2DTranspose) and op.depthwise(original.input_types(before)):
            depth = inputs[0].shape[-1]
            op = replace(op, groups=depth, filters=depth * (op.filters // op.groups))
        types[after.name] = op.infer(inputs)
        nodes.append(replace(after, op=op))
    return replace(small, nodes=tuple(nodes))
