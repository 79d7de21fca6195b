"""What random networks have in them: how often each layer kind, each field, each value and each odd shape appeared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

from cnngen.frontends.activations import ACTIVATIONS
from cnngen.frontends.fields import PADDING_WORDS
from cnngen.frontends.layers import LAYERS
from cnngen.ir import Graph, Node
from cnngen.ops import Concat, Conv2D, Conv2DTranspose, Elementwise, Pool2D
from tests.fuzz.document import Document

COMMON = ("name", "inputs", "repeat", "when")
"""Fields of every layer: counted once, not for each kind."""
SITUATIONS = (
    "block",
    "block used again or repeated",
    "block with parameters",
    "several inputs",
    "several outputs",
    "an inner tensor as output",
    "layout hwc",
    "layout chw",
    "weights random",
    "weights keras",
    "weights torch",
    "weights converted",
    "one pixel",
    "one row or column",
    "odd channels above one",
    "kernel as large as the input",
    "stride beyond the kernel",
    "dilation",
    "asymmetric padding",
    "padding beyond the kernel",
    "unequal kernel sides",
    "grouped",
    "depthwise",
    "depthwise multiplier",
    "residual addition",
    "broadcast",
    "output padding",
    "the same tensor twice",
    "concat of unequal producers",
    "concat of a concat",
    "flatten of an image in chw order",
    "dense behind flatten",
    "nothing but inputs",
)
"""Shapes and connections that edge cases are made of."""


def expected() -> list[str]:
    """Everything that a run should have met: kinds, their fields, and the values of fields that have few."""
    found = [*(f"{field}:" for field in COMMON), *SITUATIONS]
    for kind, layer in LAYERS.items():
        found.append(kind)
        for name, info in layer.model_fields.items():
            if name not in COMMON:
                found += [f"{kind}.{name}", *(f"{kind}.{name}={value}" for value in _values(name, info.annotation))]
    return found


def _values(name: str, annotation: Any) -> list[str]:
    """The values of a field that has few of them."""
    if name == "activation":
        return [*ACTIVATIONS, "none"]
    if name == "padding":
        words = PADDING_WORDS if "Literal" in str(annotation) else ()
        return [*words, "one number", "2 numbers", "4 numbers"]
    if annotation is bool:
        return ["True", "False"]
    choices = [value for part in (annotation, *get_args(annotation)) for value in get_args(part)]
    return [value for value in choices if isinstance(value, str)]


def observations(document: Document, graph: Graph) -> Iterator[str]:
    """What this network has in it; what it has several times comes several times."""
    for layer in document.layers:
        yield layer.kind
        for name, value in layer.fields.items():
            if name in COMMON:
                yield f"{name}:"
                continue
            yield f"{layer.kind}.{name}"
            yield f"{layer.kind}.{name}={_class_of(name, value)}"
    yield from _situations(document, graph)


def _class_of(name: str, value: Any) -> str:
    if name == "activation":
        return str(next(iter(value)) if isinstance(value, dict) else value or "none")
    if name == "padding" and not isinstance(value, str):
        return f"{len(value)} numbers" if isinstance(value, list) else "one number"
    if isinstance(value, bool | str):
        return str(value)
    return "a pair" if isinstance(value, list) else "a number"


def _situations(document: Document, graph: Graph) -> Iterator[str]:
    spec = document.spec
    weights = spec["weights"]
    first = spec["input"] if "shape" in spec["input"] else next(iter(spec["input"].values()))
    yield f"layout {first.get('layout', 'hwc')}"
    yield f"weights {weights if isinstance(weights, str) else weights['format']}"
    if not isinstance(weights, str) and weights.get("convert"):
        yield "weights converted"
    if len(graph.inputs) > 1:
        yield "several inputs"
    if len(graph.outputs) > 1:
        yield "several outputs"
    if any(name in node.inputs for node in graph.nodes for name in graph.outputs):
        yield "an inner tensor as output"
    if not graph.nodes:
        yield "nothing but inputs"
    blocks = spec.get("blocks", {})
    if blocks:
        yield "block"
    if any(block.get("parameters") for block in blocks.values()):
        yield "block with parameters"
    uses = Counter(kind for entry in spec["layers"] if isinstance(entry, dict) for kind in entry if kind in blocks)
    repeats = [
        fields.get("repeat", 1) for entry in spec["layers"] if isinstance(entry, dict) for fields in entry.values()
    ]
    if any(count > 1 for count in uses.values()) or (blocks and any(isinstance(n, int) and n > 1 for n in repeats)):
        yield "block used again or repeated"
    producers = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        yield from set(_node_situations(node, graph, producers))


def _node_situations(node: Node, graph: Graph, producers: dict[str, Node]) -> Iterator[str]:
    op, types = node.op, graph.input_types(node)
    shape = types[0].shape if types else ()
    if len(shape) == 4:
        _, height, width, channels = shape
        if height == width == 1:
            yield "one pixel"
        elif 1 in (height, width):
            yield "one row or column"
        if channels % 2 and channels > 1:
            yield "odd channels above one"
    if len(set(node.inputs)) < len(node.inputs):
        yield "the same tensor twice"
    if isinstance(op, Conv2D | Pool2D):
        yield from _window_situations(op, shape)
    if isinstance(op, Conv2D) and op.groups > 1:
        yield "depthwise" if op.groups == shape[3] else "grouped"
        if op.groups == shape[3] and op.filters > shape[3]:
            yield "depthwise multiplier"
    behind = [producers[name] for name in node.inputs if name in producers]
    if isinstance(op, Concat):
        if len({type(producer.op) for producer in behind}) > 1 and len({tensor.shape[-1] for tensor in types}) > 1:
            yield "concat of unequal producers"
        if any(isinstance(producer.op, Concat) for producer in behind):
            yield "concat of a concat"
    if isinstance(op, Elementwise) and len({tensor.shape for tensor in types}) > 1:
        yield "broadcast"
    if isinstance(op, Conv2DTranspose) and any(op.output_padding):
        yield "output padding"
    if op.kind == "add" and any(isinstance(producer.op, Conv2D) for producer in behind):
        yield "residual addition"
    if op.kind == "flatten" and getattr(op, "order", "") == "chw" and len(shape) == 4 and math.prod(shape[1:3]) > 1:
        yield "flatten of an image in chw order"
    if op.kind == "dense" and any(producer.op.kind == "flatten" for producer in behind):
        yield "dense behind flatten"


def _window_situations(op: Conv2D | Pool2D, shape: tuple[int, ...]) -> Iterator[str]:
    top, bottom, left, right = op.padding
    if op.kernel == shape[1:3] and op.kernel != (1, 1):
        yield "kernel as large as the input"
    if any(stride > kernel for stride, kernel in zip(op.stride, op.kernel, strict=True)):
        yield "stride beyond the kernel"
    if op.dilation != (1, 1) and op.kernel != (1, 1):
        yield "dilation"
    if (top, left) != (bottom, right):
        yield "asymmetric padding"
    if max(top, bottom) >= op.dilation[0] * (op.kernel[0] - 1) + 1:
        yield "padding beyond the kernel"
    if op.kernel[0] != op.kernel[1]:
        yield "unequal kernel sides"


def table(counts: Counter[str]) -> str:
    """The counts as text: a line for each kind with its fields and values, then the situations."""
    lines = []
    for kind in LAYERS:
        parts = []
        for name in LAYERS[kind].model_fields:
            if name in COMMON:
                continue
            key = f"{kind}.{name}"
            values = [
                f"{found.split('=', 1)[1]} {count}"
                for found, count in sorted(counts.items())
                if found.startswith(f"{key}=")
            ]
            shown = f" ({', '.join(values)})" if values and values != [f"a number {counts[key]}"] else ""
            parts.append(f"{name} {counts[key]}{shown}")
        lines.append(f"  {kind} {counts[kind]}" + (f": {'; '.join(parts)}" if parts else ""))
    lines += [f"  {name} {counts[name]}" for name in (*(f"{field}:" for field in COMMON), *SITUATIONS)]
    missing = [name for name in expected() if not counts[name]]
    lines.append(f"  never met: {', '.join(missing)}" if missing else "  everything was met")
    return "\n".join(lines)
