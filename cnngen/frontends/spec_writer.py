"""A graph as a spec that a person can read, with its weights in a safetensors file.

Reading the two gives a graph that compiles to the same bits. A network whose images come and go with their channels
first becomes a `chw` spec: its transpositions at the border are not written, reading the spec makes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnngen.errors import SpecError, inert
from cnngen.frontends.spec_layers import Exact, Here, Order, layer_of
from cnngen.frontends.weight_layouts import Format, stored
from cnngen.ir import Array, Graph, Node, TensorType
from cnngen.ops import (
    Activate,
    Activation,
    Add,
    BatchNorm,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Elementwise,
    StatisticsNorm,
    Transpose,
)

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})
"""What YAML reads as something else than text."""


def write_spec(graph: Graph, path: Path, *, comment: str | None = None) -> tuple[Path, Path]:
    """Write `graph` to the spec `path`, its weights beside it; returns both paths.

    Raises `SpecError` where the language has no layer for an op, `OSError` where a file cannot be written.
    """
    from safetensors.numpy import save_file

    weights = path.with_suffix(".safetensors")
    text = spec_text(graph, weights.name, comment=comment)
    temporary = weights.with_name(f".{weights.name}.part")
    try:
        save_file(spec_weights(graph), str(temporary))
        temporary.replace(weights)
    finally:
        temporary.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    return path, weights


def spec_text(graph: Graph, weights: str, *, comment: str | None = None) -> str:
    """The spec of `graph`, whose weights are in the file `weights`. Raises `SpecError`."""
    border = _Border.of(_unfused(graph))
    lines = [f"# {inert(line)}" for line in (comment or "").splitlines()]
    lines += ["cnngen: 1", f"name: {_scalar(_network_name(graph.name))}", f"input: {_value(border.inputs())}"]
    if any(node.weights for node in graph.nodes):
        lines.append(f"weights: {_value({'file': weights, 'format': border.format})}")
    else:
        lines.append("weights: random  # there are none")
    lines += ["layers:", *(f"  {line}" for line in border.layers())]
    lines.append(f"outputs: {_value(list(border.outputs()))}")
    return "\n".join(lines) + "\n"


def spec_weights(graph: Graph) -> dict[str, Array]:
    """The weights of `graph` as the spec's file holds them, by ``<layer>.<role>``."""
    unfused = _unfused(graph)
    border = _Border.of(unfused)
    return {
        f"{border.names.get(node.name, node.name)}.{role}": np.asarray(
            stored(node.op, role, array, border.format), np.float32, order="C"
        )
        for node in unfused.nodes
        for role, array in node.weights.items()
    }


@dataclass(frozen=True, eq=False)
class _Border:
    """A graph with the names that its tensors have in the spec; `skipped` are transpositions that reading makes.

    A layer whose result leaves the network as an image carries the name of the output.
    """

    graph: Graph
    layout: Order
    names: dict[str, str]
    skipped: frozenset[str]

    @staticmethod
    def of(graph: Graph) -> _Border:
        found = _channels_first(graph)
        if found is None:
            return _Border(graph, "hwc", {}, frozenset())
        names, skipped = dict(found), frozenset(found)
        inputs = {tensor.name for tensor in graph.inputs}
        for output in graph.outputs:
            layer = found.get(output)
            if layer is not None and layer not in inputs:
                names |= {output: output, layer: output}
        return _Border(graph, "chw", names, skipped)

    @property
    def format(self) -> Format:
        return "torch" if self.layout == "chw" else "keras"

    def inputs(self) -> dict[str, Any]:
        """What stands behind `input:`."""
        described = {}
        for tensor in self.graph.inputs:
            fields: dict[str, Any] = {"shape": list(tensor.type.shape[1:])}
            if self.layout == "chw":
                fields["layout"] = "chw"
            described[tensor.name] = fields
        return described["input"] if list(described) == ["input"] else described

    def outputs(self) -> Iterator[str]:
        for name in self.graph.outputs:
            yield self.names.get(name, name)

    def layers(self) -> Iterator[str]:
        """A line for each layer."""
        previous = self.graph.inputs[0].name if len(self.graph.inputs) == 1 else None
        for node in self.graph.nodes:
            if node.name in self.skipped:
                continue
            yield self._layer(node, previous)
            previous = node.name

    def _layer(self, node: Node, previous: str | None) -> str:
        types = self.graph.input_types(node)
        output = self.graph.types[node.name]
        here = Here(types, output, "chw" if self.format == "torch" else "hwc", self.layout)
        try:
            kind, fields = layer_of(node.op, here)
        except SpecError as error:
            raise error.at(node.source, node.name) from None
        sources = [self.names.get(name, name) for name in node.inputs]
        named: dict[str, Any] = {"name": self.names.get(node.name, node.name)}
        if sources and sources != [previous]:
            named["inputs"] = sources
        return f"- {kind}: {_value({**named, **fields})}  # {self._shape(output)}"

    def _shape(self, tensor: TensorType) -> str:
        """Without the batch, in the layout of the spec."""
        shape = tensor.shape[1:]
        if self.layout == "chw" and len(shape) == 3:
            shape = (shape[2], shape[0], shape[1])
        return " x ".join(map(str, shape)) or "scalar"


def _channels_first(graph: Graph) -> dict[str, str] | None:
    """Transpositions at the border, each with the tensor that it moves, where all images have their channels first."""
    readers = graph.consumers()
    nodes = {node.name: node for node in graph.nodes}
    found: dict[str, str] = {}
    images = [tensor for tensor in graph.inputs if len(tensor.type.shape) == 4]
    if not images or any(len(tensor.type.shape) not in (2, 4) for tensor in graph.inputs):
        return None
    for tensor in images:
        if tensor.name in graph.outputs:
            return None
        for node in readers[tensor.name]:
            if not isinstance(node.op, Transpose) or node.op.axes != TO_NHWC or node.name in graph.outputs:
                return None
            found[node.name] = tensor.name
    for name in graph.outputs:
        if len(graph.types[name].shape) != 4:
            continue
        node = nodes[name]
        if not isinstance(node.op, Transpose) or node.op.axes != TO_NCHW or readers[name]:
            return None
        found[name] = found.get(node.inputs[0], node.inputs[0])
    sources = [found.get(name, name) for name in graph.outputs]
    return found if len(set(sources)) == len(sources) else None


def _unfused(graph: Graph) -> Graph:
    """`graph` with residual additions and elementary functions as layers of their own: there are no fields for them."""
    from cnngen.frontends.activations import ACTIVATIONS
    from cnngen.passes.infer_shapes import infer_shapes

    nodes: list[Node] = []
    for node in graph.nodes:
        op = node.op
        behind: Activation | None = getattr(op, "activation", None)
        if behind is not None and behind.function not in (*ACTIVATIONS, "gelu_tanh") and not isinstance(op, Activate):
            assert isinstance(op, Conv2D | Conv2DTranspose | Dense | Elementwise | BatchNorm | StatisticsNorm)
            inner = f"{node.name}/{behind.function}"
            pieces = _unfused_residual(replace(node, name=inner, op=replace(op, activation=None)))
            nodes += [*pieces, Node(node.name, Activate(behind), (inner,), source=node.source)]
            continue
        nodes += _unfused_residual(node)
    return infer_shapes(replace(graph, nodes=tuple(nodes)))


def _unfused_residual(node: Node) -> list[Node]:
    """`node`, with its residual addition behind it where it has one."""
    op = node.op
    if not isinstance(op, Conv2D | Conv2DTranspose) or not op.residual:
        return [node]
    linear = f"{node.name}/linear"
    alone = replace(op, residual=False, activation=None)
    return [
        replace(node, name=linear, op=alone, inputs=node.inputs[:1]),
        Node(node.name, Add(op.activation), (linear, node.inputs[1]), source=node.source),
    ]


def _network_name(name: str) -> str:
    """`name` as the language takes it: it names folders and files."""
    clean = re.sub(r"[^A-Za-z0-9_.-]|\.(?=\.)", "_", name)[:64]
    return clean if re.match(r"[A-Za-z0-9_]", clean) else f"n{clean}"[:64]


def _value(value: Any) -> str:
    """`value` in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Exact):
        return _number(str(np.float32(value.value)))
    if isinstance(value, float):
        return _number(repr(value))
    if value is None:
        return "null"
    return str(value) if isinstance(value, int) else _scalar(value)


def _scalar(text: str) -> str:
    """A text, quoted where YAML would read something else."""
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


def _number(text: str) -> str:
    """A decimal number as YAML 1.1 reads one: with a point in front of an exponent."""
    mantissa, mark, exponent = text.partition("e")
    if "." not in mantissa:
        mantissa += ".0"
    if not mark:
        return mantissa
    return f"{mantissa}e{exponent if exponent[0] in '+-' else f'+{exponent}'}"
