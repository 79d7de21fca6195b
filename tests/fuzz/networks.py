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
from typing import Any, get_args

import numpy as np
from hypothesis import strategies as st

from cnngen.frontends.layers import LAYERS, Options
from cnngen.ir import TensorType
from cnngen.ops import Reduction
from tests.fuzz.axis_fields import AXIS_FIELDS, number_of, takes
from tests.fuzz.blocks import Blocks
from tests.fuzz.choices import CHANNELS, MAX_ELEMENTS, MAX_MACS, Draw, Fields, one_in, pick
from tests.fuzz.document import Document, Layer
from tests.fuzz.fields import FEATURES_ONLY, FIELDS, IMAGES_ONLY, elementwise, matching_conv2d

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
STEEP = frozenset(
    {"exp", "log", "sqrt", "reciprocal", "pow", "square", "reduce_prod", "reduce_log_sum", "reduce_sum_square"}
)
"""Functions that overflow, or have no useful bound end to end, but on positive and moderate numbers."""
SEVERAL = frozenset(kind for kind, layer in LAYERS.items() if layer.arity is None) - {"matmul"}
EXACT = AXIS_FIELDS.keys() - {f"reduce_{name}" for name in get_args(Reduction)} - {"matmul"} | {
    *("flatten", "reshape", "dropout", "channel_shuffle", "depth_to_space", "space_to_depth", "crop"),
    *("max_pool", "global_max_pool", "reduce_max", "reduce_min", "relu", "abs", "neg"),
}
"""Kinds that round nothing."""
OF_EXACT = frozenset({"arg_max", "arg_min"})
"""Kinds whose results jump where two elements swap places: of rounded ones they have no useful bound end to end."""
BACK = ("flatten", "flatten", "reshape", "reshape")
"""Kinds that are drawn more often for tensors that are neither images nor features: few others take these."""


@dataclass
class Tensor:
    """What a layer can read: its name in the spec, its type for one image, and whether no layer rounded it."""

    name: str
    type: TensorType
    exact: bool = False


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

    def infer(self, kind: str, fields: Fields, inputs: Sequence[TensorType]) -> list[TensorType]:
        """The types of the outputs; a `ShapeError` here says that generator and compiler disagree on what is valid."""
        layer = LAYERS[kind].model_validate(fields)
        types = []
        lowered = layer.lower(list(inputs), self.options)
        for op in lowered if isinstance(lowered, list) else [lowered]:
            op.weight_shapes(list(inputs))
            types.append(op.infer(list(inputs)))
        return types

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
    tensors = [Tensor(name, TensorType((1, *shape)), True) for name, shape in inputs.items()]
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


def _joined(draw: Draw, net: Net, kind: str, first: Tensor, axis: int) -> list[Tensor]:
    """`first`, and what `kind` can join with it: sizes that are alike but along `axis`, or that broadcast."""
    inputs, shape = [first], first.type.shape
    for _ in range(1 if kind in ("sub", "div", "power") else draw(st.integers(1, 3))):
        if kind == "concat":
            fits = [tensor for tensor in reversed(net.tensors) if _beside(tensor.type.shape, shape, axis)]
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
    _append(draw, net, kind, elementwise(draw, ends[0].type) if kind == "add" else {}, ends, plain=True)


def _gate(draw: Draw, net: Net, source: Tensor) -> Tensor:
    """A layer whose results are positive and moderate, and that reads `source`."""
    kind, fields = pick(draw, ("clip", {"minimum": 0.5, "maximum": 2.0}), ("sigmoid", {}), ("softmax", {}))
    if kind == "softmax":
        kind, fields = "hard_sigmoid", {"alpha": 0.0, "beta": 0.75}
    _append(draw, net, kind, dict(fields), [source], plain=True)
    return net.tensors[-1]


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return len(a) == len(b) and all(i == j or 1 in (i, j) for i, j in zip(a, b, strict=True))


def _beside(a: tuple[int, ...], b: tuple[int, ...], axis: int) -> bool:
    """Whether two tensors can be joined along `axis`."""
    return len(a) == len(b) and all(i == j for number, (i, j) in enumerate(zip(a, b, strict=True)) if number != axis)


def _constant(draw: Draw, net: Net, shape: list[int]) -> Tensor:
    """A `constant` of this shape, which is nobody's default input."""
    fields: Fields = {"shape": shape}
    (output,) = net.infer("constant", fields, [])
    if one_in(draw, 3):
        fields = {"name": f"l{len(net.entries)}", **fields}
    name = str(fields.get("name") or net.default_name("constant"))
    net.names.add(name)
    net.entries.append({"constant": fields})
    net.drawn.append(Layer("constant", fields))
    return Tensor(name, output)


def _with_constant(draw: Draw, net: Net, source: Tensor) -> None:
    """Arithmetic on `source` and a constant."""
    kind = pick(draw, "add", "mul", "maximum", "sub", "minimum")
    inputs = [source, _constant(draw, net, FIELDS["constant"](draw, source.type)["shape"])]
    if one_in(draw, 3):
        inputs.reverse()
    # Plain: left out, it would leave its first input, and a constant has no batch.
    _append(draw, net, kind, FIELDS[kind](draw, source.type), inputs, plain=True)


def _matmul(draw: Draw, net: Net, source: Tensor) -> None:
    """`source` times a constant or its own transpose, on either side; images keep their batch in front."""
    *front, rows, columns = source.type.shape
    rank = len(source.type.shape)
    most = MAX_ELEMENTS // (math.prod(front) * max(rows, columns))
    forms = ["constant"]
    if rank > 2:
        forms += ["constant first", "vector"]
        if math.prod(front) * rows * columns * max(rows, columns) <= MAX_MACS and max(rows, columns) <= most:
            forms += ["transpose", "transpose first"]
    form = pick(draw, *forms)
    size = pick(draw, *(count for count in CHANNELS if count <= max(most, 1)))
    if form == "constant":
        inputs = [source, _constant(draw, net, [columns, size])]
    elif form == "vector":
        inputs = [source, _constant(draw, net, [columns])]
    elif form == "constant first":
        inputs = [_constant(draw, net, [size, rows]), source]
    else:
        axes = [*range(rank - 2), rank - 1, rank - 2]
        gate = _gate(draw, net, source)  # products of a tensor with itself grow
        _append(draw, net, "transpose", {"axes": axes}, [gate], plain=True)
        inputs = [source, net.tensors[-1]] if form == "transpose" else [net.tensors[-1], source]
    _append(draw, net, "matmul", {}, inputs, plain=True)


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
        if len(source.type.shape) == len(tensor.type.shape) == 4 and tensor.type.shape[:3] == source.type.shape[:3]
    ]
    if matched and "conv2d" in kinds and one_in(draw, 6):
        fields = matching_conv2d(draw, source.type, pick(draw, *(tensor.type.shape[3] for tensor in matched)))
        _append(draw, net, "conv2d", fields, [source])
        return True
    if len(source.type.shape) == 4 and {"conv2d", "max_pool", "concat", "add"} <= {*kinds} and one_in(draw, 8):
        _branches(draw, net, source)
        return True
    possible = _possible(kinds, source)
    moves = [kind for kind in possible if kind in AXIS_FIELDS]
    kind = pick(draw, *(moves if moves and one_in(draw, 4) else possible))
    if kind in ("constant", "matmul"):
        (_with_constant if kind == "constant" else _matmul)(draw, net, source)
        return True
    inputs, fields = [source], None
    if kind in STEEP:
        inputs = [_gate(draw, net, source)]
    if kind in SEVERAL:
        fields = FIELDS[kind](draw, source.type)
        inputs = _joined(draw, net, kind, source, number_of(source.type, fields.get("axis", -1)))
        if len(inputs) < 2:
            return True
    if fields is None:
        fields = FIELDS[kind](draw, inputs[0].type)
    _append(draw, net, kind, fields, inputs, plain=kind == "split")
    return True


def _possible(kinds: Sequence[str], source: Tensor) -> list[str]:
    """Kinds that take such an input; the usual ones of a network stand several times."""
    x = source.type
    rank = len(x.shape)
    others = (FEATURES_ONLY if rank != 2 else frozenset()) | (IMAGES_ONLY if rank != 4 else frozenset())
    fits = [
        kind for kind in kinds if kind not in others and takes(kind, x) and not (kind in OF_EXACT and not source.exact)
    ]
    usual = [kind for kind in (USUAL if rank in (2, 4) else BACK) if kind in fits]
    return sorted(fits, key=list(kinds).index) + usual


def _append(draw: Draw, net: Net, kind: str, fields: Fields, inputs: list[Tensor], *, plain: bool = False) -> None:
    """Add a layer, with the fields that every layer takes; a `plain` one is not left out or repeated."""
    types = [tensor.type for tensor in inputs]
    output, *parts = net.infer(kind, fields, types)
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
            net.tensors.append(inputs[0])
        return
    for number in range(1, count + 1):
        name = net.default_name(kind) if explicit is None else explicit if repeat is None else f"{explicit}_{number}"
        net.names.add(name)
    name, exact = explicit or name, kind in EXACT and all(tensor.exact for tensor in inputs)
    if kind == "split":
        net.tensors += [Tensor(f"{name}.{number}", part, exact) for number, part in reversed([*enumerate(parts, 1)])]
        name = f"{name}.0"
    net.tensors.append(Tensor(name, output, exact))


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
            net.tensors.append(source)
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
