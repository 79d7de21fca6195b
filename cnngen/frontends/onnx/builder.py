"""Collects the nodes of the graph that an ONNX model becomes, and moves tensors between their two forms."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from cnngen.errors import ModelError, ShapeError, Source
from cnngen.frontends.onnx.values import Form, Shape, Tensor, last_array
from cnngen.ir import Array, Graph, Input, Node, TensorType
from cnngen.ops import Constant, Identity, Op, Reshape, Transpose
from cnngen.passes.infer_shapes import infer_shapes

MAX_INTEGER = 2**31 - 1
MAX_NODES = 50_000
MAX_NAME = 150
"""Of a name of the model; those of auxiliary nodes are longer, below the 200 of the spec language."""


class Builder:
    """The graph so far. `types` holds the type of every tensor of the graph, all in float32."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.inputs: list[Input] = []
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = {}
        self.parameters = 0

    def input(self, name: str, shape: Shape) -> Tensor:
        """Declare an input of the network."""
        own = self.fresh(name)
        self._check_size(TensorType(shape), own)
        self.inputs.append(Input(own, TensorType(shape)))
        self.types[own] = TensorType(shape)
        return self.tensor(own, shape, "plain")

    def tensor(self, name: str, shape: Shape, form: Form) -> Tensor:
        """The value for a tensor of the graph."""
        forms: dict[Form, str] = {form: name}
        if len(shape) < 3:  # both forms are the same
            forms = {"plain": name, "last": name}
        return Tensor(shape, forms)

    def add(self, op: Op, inputs: tuple[str, ...], name: str, weights: Mapping[str, Array] | None = None) -> str:
        """Append a node; returns the name it got. Raises `ModelError`."""
        own = self.fresh(name)
        types = [self.types[tensor] for tensor in inputs]
        try:
            output = op.infer(types)
            shapes = op.weight_shapes(types)
        except ShapeError as error:
            raise ModelError(error.problem, remedy=error.remedy) from None
        arrays = {role: np.asarray(array, np.float32) for role, array in (weights or {}).items()}
        for role, array in arrays.items():
            if shapes.get(role) != array.shape:
                expected = "x".join(map(str, shapes.get(role, ())))
                raise ModelError(f"its {role} is {'x'.join(map(str, array.shape))}, the op needs {expected}")
        self._check_size(output, own)
        self.parameters += sum(math.prod(shape) for shape in shapes.values())
        if self.parameters > MAX_INTEGER:
            raise ModelError(f"the network has {self.parameters:,} parameters up to here, more than 2^31 - 1")
        if len(self.nodes) >= MAX_NODES:
            raise ModelError(f"the network has more than {MAX_NODES:,} nodes")
        self.nodes.append(Node(own, op, inputs, MappingProxyType(arrays), Source(self.file)))
        self.types[own] = output
        return own

    def form(self, tensor: Tensor, form: Form) -> str:
        """The tensor in `form`, moved there where it is not yet; moved once, however many read it."""
        if form not in tensor.forms and tensor.array is not None:
            array = last_array(tensor.array) if form == "last" else tensor.array
            tensor.forms[form] = self.add(Constant(array.shape), (), f"constant/{form}", {"value": array})
        if form not in tensor.forms:
            other: Form = "plain" if form == "last" else "last"
            tensor.forms[form] = self._moved(tensor, tensor.forms[other], form)
        return tensor.forms[form]

    def fresh(self, name: str) -> str:
        """`name` made valid for a spec, and unlike every other."""
        base = valid_name(name)
        own, number = base, 1
        while own in self.types:
            number += 1
            own = f"{base}_{number}"
        return own

    def graph(self, name: str, outputs: Mapping[str, Tensor]) -> Graph:
        """The network with these outputs, which carry their own names. Raises `ModelError`."""
        names: dict[str, str] = {}  # of the graph so far -> final
        taken: set[str] = {tensor.name for tensor in self.inputs}
        finals = []
        for wanted, tensor in outputs.items():
            holder = self.form(tensor, "plain")
            if holder in taken or holder in names:
                holder = self.add(Identity(), (holder,), f"{valid_name(wanted)}/copy")
            final = valid_name(wanted)
            if final in taken:
                final = self.fresh(final)
            names[holder] = final
            taken.add(final)
            finals.append(final)
        for node in self.nodes:  # others give way
            if node.name not in names and node.name in taken:
                own = f"{node.name}/value"
                while own in self.types or own in taken:
                    own += "_"
                names[node.name] = own
                taken.add(own)
        nodes = tuple(
            replace(node, name=names.get(node.name, node.name), inputs=tuple(names.get(i, i) for i in node.inputs))
            for node in self.nodes
        )
        return infer_shapes(Graph(name, tuple(self.inputs), nodes, tuple(finals)))

    def _moved(self, tensor: Tensor, source: str, form: Form) -> str:
        if tensor.rank == 3:  # a signal is an image of height 1
            _, channels, length = tensor.shape
            image = Reshape((1, length, channels), "chw") if form == "last" else Reshape((channels, length), "chw")
            return self.add(image, (source,), f"{source}/{'image' if form == 'last' else 'signal'}")
        rank = tensor.rank
        axes = (0, *range(2, rank), 1) if form == "last" else (0, rank - 1, *range(1, rank - 1))
        suffix = {True: "nhwc", False: "nchw"} if rank == 4 else {True: "last", False: "first"}
        return self.add(Transpose(axes), (source,), f"{source}/{suffix[form == 'last']}")

    def _check_size(self, tensor: TensorType, name: str) -> None:
        if tensor.elements > MAX_INTEGER:
            problem = f"the tensor {tensor} has {tensor.elements:,} elements, more than 2^31 - 1"
            raise ModelError(problem, remedy="reduce the sizes or the batch", layer=name)


def valid_name(name: str) -> str:
    """`name` as the spec language takes it: without control characters, not empty, not too long."""
    clean = "".join(
        "_" if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp", "Cf", "Co", "Cn") else c for c in name[:MAX_NAME]
    ).strip()
    return clean or "unnamed"


__all__ = ["Builder", "valid_name"]
