"""The graph: what every front end produces, every pass rewrites and every backend reads.

A `Graph` is a frozen value. Nodes are in topological order, each produces one tensor that carries
the node's own name. Tensors have any rank; images are NHWC with the batch first. A pass is a function
``Graph -> Graph`` that changes nothing it was given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cnngen.errors import GraphError, Source

if TYPE_CHECKING:
    from cnngen.ops import Op

Array = np.ndarray


@dataclass(frozen=True)
class TensorType:
    """Shape of a float32 tensor, of any rank; rank 4 is (batch, height, width, channels).

    Axis 0 is the batch where the network keeps it apart from all else (`analysis.batch.batched`).
    """

    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return 4 * self.elements

    def __str__(self) -> str:
        return "x".join(map(str, self.shape))


@dataclass(frozen=True)
class Input:
    """A tensor that the caller of the network provides."""

    name: str
    type: TensorType


@dataclass(frozen=True, eq=False)
class Node:
    """One operation. `weights` maps a role of the op (`weight`, `bias`, ...) to a float32 array."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    weights: Mapping[str, Array] = field(default_factory=lambda: MappingProxyType({}))
    source: Source | None = None


@dataclass(frozen=True)
class Placement:
    """A tensor that lives inside another one: from channel `channel` on in tensor `host`."""

    host: str
    channel: int


@dataclass(frozen=True, eq=False)
class Graph:
    """A network. `types` holds the type of every input and node once shapes are inferred.

    `placements` says which tensors are written straight into a slice of a concatenation; it changes
    where a tensor lies, never its value.
    """

    name: str
    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    types: Mapping[str, TensorType] = field(default_factory=lambda: MappingProxyType({}))
    placements: Mapping[str, Placement] = field(default_factory=lambda: MappingProxyType({}))

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def input_types(self, node: Node) -> tuple[TensorType, ...]:
        """Types of the tensors that `node` reads, in order."""
        return tuple(self.types[name] for name in node.inputs)

    def consumers(self) -> dict[str, list[Node]]:
        """For every tensor the nodes that read it, in order; graph outputs are not counted."""
        readers: dict[str, list[Node]] = {name: [] for name in self.types}
        for node in self.nodes:
            for name in node.inputs:
                readers.setdefault(name, []).append(node)
        return readers


def verify_graph(graph: Graph) -> Graph:
    """Return `graph` if it keeps the invariants in this module's docstring, raise `GraphError` if not."""
    known = {tensor.name for tensor in graph.inputs}
    for node in graph.nodes:
        missing = [name for name in node.inputs if name not in known]
        if missing:
            raise GraphError(f"reads {missing} before anything produces it", layer=node.name)
        if node.name in known:
            raise GraphError("two tensors carry this name", layer=node.name)
        known.add(node.name)
        expected = node.op.weight_shapes(graph.input_types(node))
        actual = {role: array.shape for role, array in node.weights.items()}
        if actual != expected:
            raise GraphError(f"has weights {actual}, its op needs {expected}", layer=node.name)
        inferred = node.op.infer(graph.input_types(node))
        if graph.types.get(node.name) != inferred:
            raise GraphError(f"is typed {graph.types.get(node.name)}, its op gives {inferred}", layer=node.name)
    unknown = [name for name in graph.outputs if name not in known]
    if unknown or not graph.outputs:
        raise GraphError(f"outputs {unknown or 'are empty'}")
    return graph
