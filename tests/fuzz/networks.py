"""The strategy `documents`: random networks as specs, valid by construction, shrinking to small ones.

A network grows layer by layer. What is drawn for each layer stands together (the decision to go on, the kind,
what it reads, the fields), so that Hypothesis can delete any layer, and tensors are counted from the last one
backwards, so that a deletion leaves the rest its meaning.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from cnngen.frontends.layers import LAYERS, Options
from cnngen.ir import TensorType
from tests.fuzz.blocks import Blocks
from tests.fuzz.document import Document, Layer
from tests.fuzz.fields import (
    FEATURES_ONLY,
    FIELDS,
    IMAGES_ONLY,
    MAX_ELEMENTS,
    Draw,
    Fields,
    matching_conv2d,
    one_in,
    pick,
)

MAX_LAYERS = 12
USUAL = (
    "conv2d",
    "conv2d",
    "conv2d_transpose",
    "depthwise_conv2d",
    "concat",
    "add",
    "max_pool",
    "resize",
    "resize",  # it has many fields
    "pad",
    "flatten",
    *["dense"] * 6,
)
"""Kinds that are drawn more often than others, where the input allows them."""
SIDES = (1, 4, 2, 3, 5, 6, 7, 8, 9, 11)
IMAGE_CHANNELS = (1, 3, 2, 4, 5, 8, 16, 17, 9)
NAMES = ("größe", "a b", "no", "-1", "*/ x", "end/", "input_1", "1e3", "x: y", "$f", "conv2d_1", "#", "q'\"")
"""Names that YAML, C or the default names could take for something else."""
STEEP = frozenset({"exp", "log", "sqrt", "reciprocal", "pow", "square"})
"""Functions that overflow, or have no useful bound end to end, but on positive and moderate numbers."""
SEVERAL = frozenset(kind for kind, layer in LAYERS.items() if layer.arity is None)


@dataclass
class Tensor:
    """What a layer can read: its name in the spec and its type for one image."""

    name: str
    type: TensorType


@dataclass
class Net:
    """The network so far. `tensors` has the last one at the end; `read` names those that a layer reads."""

    options: Options
    tensors: list[Tensor]
    blocks: Blocks
    entries: list[Any] = field(default_factory=list)
    drawn: list[Layer] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    counters: Counter[str] = field(default_factory=Counter)
    chained: bool = True
    """Whether a layer without `inputs` reads the last tensor: not in front of the first of several inputs."""

    def infer(self, kind: str, fields: Fields, inputs: Sequence[TensorType]) -> TensorType:
        """The type of the output; a `ShapeError` here says that generator and compiler disagree on what is valid."""
        layer = LAYERS[kind].model_validate(fields)
        op = layer.lower(list(inputs), self.options)
        op.weight_shapes(list(inputs))
        return op.infer(list(inputs))

    def default_name(self, kind: str) -> str:
        """The name that a layer without one gets: the first `<kind>_<number>` that nobody has."""
        while True:
            self.counters[kind] += 1
            name = f"{kind}_{self.counters[kind]}"
            if name not in self.names:
                return name


@st.composite
def documents(draw: Draw, kinds: tuple[str, ...] = tuple(FIELDS)) -> Document:
    """Networks of layers of these kinds, on one to three inputs."""
    draw(st.integers(0, 99))  # says nothing: the first choice of a random network is never the simplest one
    layout = pick(draw, "hwc", "chw")
    weights: Any = "random"
    if one_in(draw, 3):
        weights = {"file": pick(draw, "net.safetensors", "net.npz"), "format": pick(draw, "keras", "torch")}
    stored = pick(draw, "float32", "float32", "float64", "float16") if weights != "random" else "float32"
    if weights != "random":
        weights |= {"convert": True} if stored != "float32" else {}
        weights |= {"strict": True} if one_in(draw, 3) else {}
    order = {"keras": "hwc", "torch": "chw"}[weights["format"]] if weights != "random" else layout
    spec: dict[str, Any] = {"cnngen": 1, "input": None, "weights": weights}
    if weights == "random" and one_in(draw, 3):
        spec["seed"] = draw(st.integers(0, 9))

    inputs = draw(_inputs())
    stated = {} if layout == "hwc" and not one_in(draw, 3) else {"layout": layout}
    written = {name: {"shape": list(_outer(shape, layout)), **stated} for name, shape in inputs.items()}
    spec["input"] = written["input"] if list(inputs) == ["input"] else written
    tensors = [Tensor(name, TensorType((1, *shape))) for name, shape in inputs.items()]
    net = Net(Options("chw" if order == "chw" else "hwc", layout), tensors, Blocks(), chained=len(inputs) == 1)
    net.names |= set(inputs)
    first = len(tensors)
    while len(net.tensors) - first < MAX_LAYERS and draw(_step(net, kinds)):
        pass
    if not net.entries:
        draw(_step(net, kinds, last=True))
    outputs = draw(_outputs(net, first))
    if net.blocks.definitions:
        spec["blocks"] = net.blocks.definitions
    spec["layers"] = net.entries
    if outputs:
        spec["outputs"] = outputs
    return Document(spec, pick(draw, (1, 2), (1, 3), (2, 1), (1, 5)), stored, tuple(net.drawn))


@st.composite
def _inputs(draw: Draw) -> dict[str, tuple[int, ...]]:
    """Shapes without the batch, height first, by name: one called `input`, or several."""
    count = pick(draw, 1, 1, 1, 2, 3)
    names = ["input"] if count == 1 and not one_in(draw, 6) else [*("left", "b c", "ä")][:count]
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
        kept = one_in(draw, 2)
        if shapes and kept:  # the same size, to be added or joined
            shapes[name] = next(iter(shapes.values()))
        elif one_in(draw, 10):
            shapes[name] = (pick(draw, 1, 7, 10, 33),)
        else:
            shapes[name] = (pick(draw, *SIDES), pick(draw, *SIDES), pick(draw, *IMAGE_CHANNELS))
    return shapes


def _outer(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """The shape in the order of the layout."""
    return (shape[2], *shape[:2]) if layout == "chw" and len(shape) == 3 else shape


def _source(draw: Draw, tensors: Sequence[Tensor]) -> Tensor:
    """Mostly the last tensor, sometimes one further up."""
    back = draw(st.integers(0, len(tensors) - 1)) if len(tensors) > 1 and one_in(draw, 3) else 0
    return tensors[-1 - back]


def _joined(draw: Draw, net: Net, kind: str, first: Tensor) -> list[Tensor]:
    """`first`, and what `kind` can join with it: channels of images of one size, or sizes that broadcast."""
    inputs, shape = [first], first.type.shape
    for _ in range(1 if kind in ("sub", "div", "power") else draw(st.integers(1, 3))):
        if kind == "concat":
            fits = [tensor for tensor in reversed(net.tensors) if tensor.type.shape[:-1] == shape[:-1]]
        else:
            fits = [tensor for tensor in reversed(net.tensors) if _broadcasts(tensor.type.shape, shape)]
        inputs.append(pick(draw, *(tensor for tensor in fits if tensor is not first), first))
        if kind != "concat":
            shape = np.broadcast_shapes(shape, inputs[-1].type.shape)
    if len(inputs) == 2 and kind != "concat" and one_in(draw, 3):
        inputs.reverse()
    if kind in ("mul", "div", "power"):
        # What is multiplied again and again overflows; a quotient near zero has no useful bound end to end.
        inputs[1] = _gate(draw, net, inputs[1])
        if kind == "power":
            inputs[0] = _gate(draw, net, inputs[0])
        inputs = inputs[:2]
    while kind == "concat" and sum(math.prod(tensor.type.shape) for tensor in inputs) > 2 * MAX_ELEMENTS:
        inputs.pop()
    return inputs


def _branches(draw: Draw, net: Net, source: Tensor) -> None:
    """Layers side by side that read `source` and keep its size, joined behind: inception, dense, residual."""
    ends = []
    for _ in range(draw(st.integers(2, 3))):
        kind = pick(draw, "conv2d", "max_pool", None)
        if kind == "conv2d":
            channels = pick(draw, source.type.shape[3], *IMAGE_CHANNELS)
            _append(draw, net, kind, matching_conv2d(draw, source.type, channels), [source], plain=True)
        elif kind == "max_pool":
            fields = {"kernel": pick(draw, 3, 2), "stride": 1, "padding": "same"}
            _append(draw, net, kind, fields, [source], plain=True)
        ends.append(source if kind is None else net.tensors[-1])
    alike = all(end.type == ends[0].type for end in ends)
    kind = "add" if alike and draw(st.booleans()) else "concat"
    _append(draw, net, kind, FIELDS[kind](draw, ends[0].type), ends, plain=True)


def _gate(draw: Draw, net: Net, source: Tensor) -> Tensor:
    """A layer whose results are positive and moderate, and that reads `source`."""
    kind, fields = pick(draw, ("clip", {"minimum": 0.5, "maximum": 2.0}), ("sigmoid", {}), ("softmax", {}))
    if kind == "softmax":
        kind, fields = "hard_sigmoid", {"alpha": 0.0, "beta": 0.75}
    _append(draw, net, kind, dict(fields), [source], plain=True)
    return net.tensors[-1]


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return len(a) == len(b) and all(i == j or 1 in (i, j) for i, j in zip(a, b, strict=True))


@st.composite
def _step(draw: Draw, net: Net, kinds: tuple[str, ...], last: bool = False) -> bool:
    """One layer or block more; False where the network ends here."""
    if not last and not draw(st.integers(0, 6)):
        return False
    source = _source(draw, net.tensors)
    if not last and one_in(draw, 7) and draw(_block(net, source, kinds)):
        return True
    matched = [
        tensor
        for tensor in net.tensors
        if len(source.type.shape) == 4 and tensor.type.shape[:3] == source.type.shape[:3]
    ]
    if matched and "conv2d" in kinds and one_in(draw, 6):
        fields = matching_conv2d(draw, source.type, pick(draw, *(tensor.type.shape[3] for tensor in matched)))
        _append(draw, net, "conv2d", fields, [source])
        return True
    if len(source.type.shape) == 4 and {"conv2d", "max_pool", "concat", "add"} <= {*kinds} and one_in(draw, 8):
        _branches(draw, net, source)
        return True
    kind = pick(draw, *_possible(kinds, source.type))
    inputs = [source]
    if kind in STEEP:
        inputs = [_gate(draw, net, source)]
    if kind in SEVERAL:
        inputs = _joined(draw, net, kind, source)
        if len(inputs) < 2:
            return True
    _append(draw, net, kind, FIELDS[kind](draw, inputs[0].type), inputs)
    return True


def _possible(kinds: Sequence[str], x: TensorType) -> list[str]:
    """Kinds that take such an input; the usual ones of a network stand several times."""
    fits = [kind for kind in kinds if kind not in (FEATURES_ONLY if len(x.shape) == 4 else IMAGES_ONLY)]
    usual = [kind for kind in USUAL if kind in fits]
    return sorted(fits, key=list(kinds).index) + usual


def _append(draw: Draw, net: Net, kind: str, fields: Fields, inputs: list[Tensor], *, plain: bool = False) -> None:
    """Add a layer, with the fields that every layer takes; a `plain` one is not left out or repeated."""
    types = [tensor.type for tensor in inputs]
    output = net.infer(kind, fields, types)
    common: Fields = {}
    explicit = None
    if one_in(draw, 3):
        explicit = pick(draw, f"l{len(net.entries)}", *NAMES)
        explicit = f"l{len(net.entries)}" if explicit in net.names else explicit
        common["name"] = explicit
        net.names.add(explicit)
    repeat = None
    if not plain and one_in(draw, 12):
        repeat = (
            pick(draw, 1, 2, 3, 0)
            if len(inputs) == 1 and _repeats(net, kind, fields, types[0], output)
            else pick(draw, 1, 0)
        )
        common["repeat"] = repeat
    if not plain and one_in(draw, 15):
        common["when"] = draw(st.booleans())
    left_out = repeat == 0 or common.get("when") is False
    if inputs[0] is not net.tensors[-1] or len(inputs) > 1 or not net.chained or one_in(draw, 8):
        names = [tensor.name for tensor in inputs]
        common["inputs"] = names[0] if len(names) == 1 and not one_in(draw, 2) else names
        net.read |= set(names)
    net.read.add(inputs[0].name)
    net.chained = True
    body = common | fields
    net.entries.append({kind: body} if body or one_in(draw, 4) else kind)
    count = 0 if left_out else 1 if repeat is None else repeat
    net.drawn += [Layer(kind, body)] * max(count, 1)
    if left_out:
        # The name stands for the input, and the next layer reads it.
        if inputs[0] is not net.tensors[-1]:
            net.tensors.append(Tensor(inputs[0].name, inputs[0].type))
        return
    for number in range(1, count + 1):
        name = net.default_name(kind) if explicit is None else explicit if repeat is None else f"{explicit}_{number}"
        net.names.add(name)
    net.tensors.append(Tensor(explicit or name, output))


def _repeats(net: Net, kind: str, fields: Fields, x: TensorType, y: TensorType) -> bool:
    """Whether the layer takes its own output without changing the type again."""
    return x == y


@st.composite
def _block(draw: Draw, net: Net, source: Tensor, kinds: tuple[str, ...]) -> bool:
    """A block of one to four layers and its use, or another use of one that reads such a tensor; False if neither."""
    known = net.blocks.reading(source.type)
    if known and draw(st.booleans()):
        block = pick(draw, *known)
    else:
        inner = Net(net.options, [Tensor("input", source.type)], Blocks())
        inner.names.add("input")
        for _ in range(draw(st.integers(1, 4))):
            before = inner.tensors[-1]
            if not draw(_step(inner, kinds)):
                break
            assert before
        if not inner.entries or inner.blocks.definitions:
            return False
        passes = inner.tensors[-1].name == "input"  # its last layer is left out: it returns what it reads
        block = net.blocks.define(draw, inner.entries, source.type, inner.tensors[-1].type, tuple(inner.drawn), passes)
    common: Fields = {}
    explicit = None
    if one_in(draw, 2):
        explicit = f"b{len(net.entries)}"
        common["name"] = explicit
    repeat = None
    if one_in(draw, 4):
        repeat = pick(draw, 1, 2, 3, 0) if block.output == source.type else pick(draw, 1, 0)
        common["repeat"] = repeat
    if one_in(draw, 8):
        common["when"] = draw(st.booleans())
    if source is not net.tensors[-1] or not net.chained or one_in(draw, 6):
        common["inputs"] = source.name
    net.read.add(source.name)
    net.chained = True
    net.entries.append({block.name: common | block.arguments(draw)})
    count = 0 if repeat == 0 or common.get("when") is False else 1 if repeat is None else repeat
    net.drawn += [Layer("block", common), *block.layers * count]
    if not count:
        if source is not net.tensors[-1]:
            net.tensors.append(Tensor(source.name, source.type))
        return True
    for number in range(1, count + 1):
        name = (
            net.default_name(block.name) if explicit is None else explicit if repeat is None else f"{explicit}_{number}"
        )
        net.names.add(name)
    net.tensors.append(source if block.passes else Tensor(explicit or name, block.output))
    return True


@st.composite
def _outputs(draw: Draw, net: Net, first: int) -> list[str]:
    """Names for `outputs`; empty where the last layer is the only one."""
    if not one_in(draw, 2):
        return []
    computed = list({tensor.name: tensor for tensor in net.tensors[first:]})
    ends = [name for name in computed if name not in net.read]
    if ends and draw(st.booleans()):
        return ends
    return draw(st.lists(st.sampled_from([tensor.name for tensor in net.tensors]), min_size=1, max_size=4, unique=True))
