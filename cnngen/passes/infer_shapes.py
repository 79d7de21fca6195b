"""Shape inference. Before: nodes in topological order. After: `types` holds every input and node."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from cnngen.errors import ShapeError
from cnngen.ir import Graph, TensorType


def infer_shapes(graph: Graph) -> Graph:
    """Type every tensor; raises `ShapeError` with the layer and its place in the source."""
    types: dict[str, TensorType] = {tensor.name: tensor.type for tensor in graph.inputs}
    for node in graph.nodes:
        try:
            types[node.name] = node.op.infer([types[name] for name in node.inputs])
        except ShapeError as error:
            raise error.at(node.source, node.name) from None
    return replace(graph, types=MappingProxyType(types))
