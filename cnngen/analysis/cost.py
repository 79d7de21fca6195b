"""What a network costs: multiply-accumulates, other operations, parameters and bytes, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, fields

from cnngen.ir import Graph, Node
from cnngen.ops import Concat, Conv2D, Conv2DTranspose, Flatten, Identity


@dataclass(frozen=True)
class LayerCost:
    """Cost of one run of the compiled batch, of a layer or of a whole network.

    `macs` are multiply-accumulates, `other` all operations besides; `params` counts weights, which
    take `weight_bytes`; `bytes_in` and `bytes_out` are the activations read and written (a view
    such as a flatten moves none). `dense_params` is the number of parameters of the dense layer that
    a convolution replaces, biases included; 0 for all other layers.
    """

    macs: int = 0
    other: int = 0
    params: int = 0
    weight_bytes: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dense_params: int = 0

    def __add__(self, more: LayerCost) -> LayerCost:
        return LayerCost(**{f.name: getattr(self, f.name) + getattr(more, f.name) for f in fields(self)})

    @property
    def intensity(self) -> float:
        """Floating-point operations for each byte of activations and weights moved once; 0 if none moves."""
        moved = self.weight_bytes + self.bytes_in + self.bytes_out
        return (2 * self.macs + self.other) / moved if moved else 0.0


def layer_cost(graph: Graph, node: Node) -> LayerCost:
    """Cost of one node of a typed graph. Placed inputs of a Concat are not moved by it."""
    types, output = graph.input_types(node), graph.types[node.name]
    cost = node.op.cost(types, output)
    bytes_in, bytes_out = sum(tensor.bytes for tensor in types), output.bytes
    if isinstance(node.op, Identity | Flatten):
        bytes_in = bytes_out = 0
    elif isinstance(node.op, Concat):
        placed = [name in graph.placements and graph.placements[name].host == node.name for name in node.inputs]
        bytes_in = bytes_out = sum(tensor.bytes for tensor, inside in zip(types, placed, strict=True) if not inside)
    return LayerCost(
        macs=cost.macs,
        other=cost.other,
        params=cost.params,
        weight_bytes=sum(array.nbytes for array in node.weights.values()),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        dense_params=dense_equivalent(graph, node),
    )


def graph_cost(graph: Graph) -> dict[str, LayerCost]:
    """Cost of every node by name, in order."""
    return {node.name: layer_cost(graph, node) for node in graph.nodes}


def total_cost(graph: Graph) -> LayerCost:
    """Cost of the network."""
    return sum(graph_cost(graph).values(), LayerCost())


def dense_equivalent(graph: Graph, node: Node) -> int:
    """Parameters of a dense layer from all elements that a convolution reads to all that it writes.

    ``inputs * outputs``, and one bias for each output where the convolution has biases; for one
    image. The convolution is that matrix with most entries zero and the rest shared. 0 for other ops.
    """
    if not isinstance(node.op, Conv2D | Conv2DTranspose):
        return 0
    image, output = graph.types[node.inputs[0]], graph.types[node.name]
    inputs, outputs = image.elements // image.shape[0], output.elements // output.shape[0]
    return inputs * outputs + (outputs if node.op.use_bias else 0)
