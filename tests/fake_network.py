"""A network computed in float32 NumPy, with the interface that `verify` asks of a compiled one.

Its results have real float32 rounding errors, in NumPy's order of summation. `damage` maps a layer
to a function of its output and so plants the errors that `verify` must find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cnngen.arithmetic import FLOAT32, Arithmetic
from cnngen.ir import Array, Graph, Node

Damage = Callable[[Array], Array]


class FakeNetwork:
    """`graph` run node by node in float32; `source_graph` is what the caller claims to have compiled."""

    isa = "numpy"
    weight_storage = "fp32"
    threads = 1

    def __init__(
        self, graph: Graph, *, source_graph: Graph | None = None, damage: Mapping[str, Damage] | None = None
    ) -> None:
        self.graph = graph
        self.source_graph = source_graph or graph
        self.name = graph.name
        self.batch = graph.inputs[0].type.shape[0]
        self.damage = dict(damage or {})

    def __call__(self, *xs: Array) -> Array | list[Array]:
        tensors = self._run([np.asarray(x, np.float32) for x in xs])
        outputs = [tensors[name] for name in self.graph.outputs]
        return outputs[0] if len(outputs) == 1 else outputs

    def trace(self, *xs: Array) -> dict[str, Array]:
        return self._run([np.asarray(x, np.float32) for x in xs])

    def run_layer(self, name: str, inputs: list[Array], weights: Graph | None = None) -> Array:
        return self._compute((weights or self.graph).node(name), inputs)

    def together(self, _name: str, inputs: list[Array]) -> list[Array]:
        return inputs

    def arithmetic(self, _name: str) -> Arithmetic:
        return FLOAT32

    def pack(self, graph: Graph) -> Graph:
        return graph

    def _run(self, xs: list[Array]) -> dict[str, Array]:
        tensors = {tensor.name: x for tensor, x in zip(self.graph.inputs, xs, strict=True)}
        for node in self.graph.nodes:
            tensors[node.name] = self._compute(node, [tensors[name] for name in node.inputs])
        return tensors

    def _compute(self, node: Node, inputs: list[Array]) -> Array:
        with np.errstate(all="ignore"):
            y = np.asarray(node.op.evaluate(inputs, node.weights), np.float32)
        return self.damage.get(node.name, lambda tensor: tensor)(y)
