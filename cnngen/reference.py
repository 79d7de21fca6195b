"""Runs a graph in NumPy, float64, to be read and to be trusted: what every backend is held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnngen.analysis.batch import batched
from cnngen.errors import RunError
from cnngen.feed import Feed, bind
from cnngen.ir import Array, Graph, Input, Node
from cnngen.ops import Bound


def reference(graph: Graph, x: Feed, *, keep: bool = False) -> Array | list[Array] | dict[str, Array]:
    """Run `graph` on `x` in float64.

    `x` is one array, or several by order or by name, in the graph's own layout; any batch size, and
    for one image the batch axis may be missing, where the graph keeps the batch apart. Returns the
    output, a list where there are several, or, with `keep`, every tensor by name. Raises `RunError`
    where `x` does not fit the inputs.
    """
    free = batched(graph)
    tensors = {tensor.name: _as_given(tensor, array, free) for tensor, array in bind(graph.inputs, x)}
    for node in graph.nodes:
        tensors[node.name] = evaluate(node, [tensors[name] for name in node.inputs])
    if keep:
        return tensors
    outputs = [tensors[name] for name in graph.outputs]
    return outputs[0] if len(outputs) == 1 else outputs


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    """One node's output in float64."""
    return node.op.evaluate([np.asarray(x, np.float64) for x in inputs], _weights(node))


def bound(node: Node, inputs: Sequence[Array]) -> Bound:
    """One node's output in float64 with the error bound of a float32 kernel on these inputs."""
    return node.op.bound([np.asarray(x, np.float64) for x in inputs], _weights(node))


def _as_given(tensor: Input, array: Array, free: bool) -> Array:
    """The array in float64, with a batch of any size where that is `free`."""
    x = np.asarray(array, np.float64)
    image = tensor.type.shape[1:]
    if free and x.shape == image:
        x = x[None]
    if x.shape[1:] != image if free else x.shape != tensor.type.shape:
        taken = f"(batch, {', '.join(map(str, image))})" if free else str(tensor.type.shape)
        raise RunError(f"input {tensor.name} has shape {x.shape}, the network takes {taken}")
    return x


def _weights(node: Node) -> dict[str, Array]:
    return {role: np.asarray(array, np.float64) for role, array in node.weights.items()}
