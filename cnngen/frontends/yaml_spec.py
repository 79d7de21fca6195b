"""The front end for YAML specs: file to `Graph`, in the order of the functions below."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnngen.errors import Source, SpecError, WeightsWarning
from cnngen.frontends.entries import Library
from cnngen.frontends.fields import MAX_INTEGER
from cnngen.frontends.files import find_weights, read_spec
from cnngen.frontends.layers import Options
from cnngen.frontends.network_builder import NetworkBuilder, Scope
from cnngen.frontends.random_weights import random_weights
from cnngen.frontends.record import Place, Record
from cnngen.frontends.spec_models import InputSpec, Spec
from cnngen.frontends.validate import validate
from cnngen.frontends.weight_layouts import Format
from cnngen.frontends.weights import load_weights
from cnngen.frontends.yaml_reader import YamlMap, parse_yaml
from cnngen.ir import Graph, Input, TensorType
from cnngen.ops import Transpose
from cnngen.passes.infer_shapes import infer_shapes
from cnngen.passes.rewrite import fresh, renamed
from cnngen.resources import specs_folder

GIVEN: Place = "given"
MAX_ENDS = 100
"""Inputs, and outputs, of a network."""
TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)


def load_spec(path: Path, *, weights: Path | None = None, batch: int = 1, record: Record) -> Graph:
    """The network in the spec at `path`, with its weights, typed.

    `weights` replaces the weights file that the spec names; `record` notes what is read. Raises
    `SpecError` and `WeightsError`.
    """
    shipped = ", ".join(sorted(file.name for file in specs_folder().glob("*.yaml")))
    record.spec = read_spec(path, missing=f"the shipped specs ({shipped}) are in {specs_folder()}")
    values = parse_yaml(record.spec, str(path))
    spec = validate(Spec, values, str(path))
    graph = infer_shapes(_network(spec, values, path, batch))
    graph = _with_weights(graph, spec, values, path, weights, record)
    return _outputs_named_as_layers(graph) if _channels_come_first(spec) else graph


def _network(spec: Spec, values: YamlMap, path: Path, batch: int) -> Graph:
    """The graph of the spec without weights."""
    file = str(path)
    blocks: YamlMap | dict[str, Any] = values.get("blocks") or {}
    library = Library(file, spec.blocks, {name: block["layers"] for name, block in blocks.items()})
    if isinstance(blocks, YamlMap):
        library.check(blocks.lines)
    _check_counts(spec, values, file)
    inputs = _inputs(spec)
    layout = _layout(inputs, file, values.lines["input"])
    torch = _format(spec, layout) == "torch"
    options = Options("chw" if torch else "hwc", "chw" if layout == "chw" else "hwc")
    builder = NetworkBuilder(file, library, options)

    scope = Scope()
    tensors = [
        _add_input(builder, scope, name, tensor, batch, values.lines["input"]) for name, tensor in inputs.items()
    ]
    last = builder.run(values["layers"], scope, scope.tensors[tensors[0].name] if len(tensors) == 1 else None)
    outputs = _outputs(builder, scope, spec, values, last)
    if layout == "chw":
        outputs = tuple(_channels_first(builder, name) for name in outputs)
    return Graph(spec.name or _name_of(path), tuple(tensors), tuple(builder.nodes), outputs)


def _inputs(spec: Spec) -> dict[str, InputSpec]:
    return {"input": spec.input} if isinstance(spec.input, InputSpec) else dict(spec.input)


def _channels_come_first(spec: Spec) -> bool:
    """Whether the images of the network lie that way outside of it; the layouts of all inputs are the same."""
    return any(tensor.layout == "chw" for tensor in _inputs(spec).values())


def _check_counts(spec: Spec, values: YamlMap, file: str) -> None:
    """Refuse more inputs or outputs than a C function should have parameters."""
    for key, tensors in (("input", _inputs(spec)), ("outputs", spec.outputs or ())):
        if len(tensors) > MAX_ENDS:
            problem = f"{key} has {len(tensors):,} tensors, more than {MAX_ENDS}"
            raise SpecError(problem, remedy="join them by concat", source=Source(file, values.lines[key]))


def _layout(inputs: dict[str, InputSpec], file: str, line: int) -> str:
    layouts = {tensor.layout for tensor in inputs.values()}
    if len(layouts) > 1:
        remedy = "give all of them hwc or all of them chw"
        raise SpecError("the inputs have different layouts", remedy=remedy, source=Source(file, line))
    return layouts.pop()


def _format(spec: Spec, layout: str) -> Format:
    """The weights format; random weights take the one whose framework has this layout."""
    if isinstance(spec.weights, str):
        return "torch" if layout == "chw" else "keras"
    return spec.weights.format


def _add_input(builder: NetworkBuilder, scope: Scope, name: str, spec: InputSpec, batch: int, line: int) -> Input:
    """Declare an input; one in channels-first layout is followed by a transposition to NHWC."""
    tensor = Input(name, TensorType((batch, *spec.shape) if spec.batch else spec.shape))
    if tensor.type.elements > MAX_INTEGER:
        problem = f"the input {tensor.type} has {tensor.type.elements:,} elements, more than 2^31 - 1"
        remedy = "reduce the sizes or the batch"
        raise SpecError(problem, remedy=remedy, source=Source(builder.file, line), layer=name)
    builder.types[name] = tensor.type
    scope.tensors[name] = name
    if spec.layout == "chw" and len(tensor.type.shape) == 4:
        scope.tensors[name] = builder.add(f"{name}/nhwc", Transpose(TO_NHWC), (name,), line)
    return tensor


def _outputs(builder: NetworkBuilder, scope: Scope, spec: Spec, values: YamlMap, last: str) -> tuple[str, ...]:
    if spec.outputs is None:
        return (last,)
    line = values.lines["outputs"]
    outputs = tuple(builder.resolve(name, scope, line, "outputs") for name in spec.outputs)
    if len(set(outputs)) < len(outputs):
        remedy = "name each output once"
        raise SpecError("a tensor is named twice", remedy=remedy, layer="outputs", source=Source(builder.file, line))
    return outputs


def _channels_first(builder: NetworkBuilder, name: str) -> str:
    if len(builder.types[name].shape) != 4:
        return name
    own = f"{name}/nchw"
    while own in builder.types:
        own += "_"
    return builder.add(own, Transpose(TO_NCHW), (name,))


def _outputs_named_as_layers(graph: Graph) -> Graph:
    """A `chw` network whose images carry the names of their layers, which give way: what they hold is no output."""
    nodes = {node.name: node for node in graph.nodes}
    taken = set(graph.types)
    entries = {f"{tensor.name}/nhwc" for tensor in graph.inputs}
    names: dict[str, str] = {}
    for own in graph.outputs:
        if len(graph.types[own].shape) != 4 or nodes[own].inputs[0] in entries:
            continue  # no image, or an input as it is: the name of that is taken
        (layer,) = nodes[own].inputs
        names |= {own: layer, layer: fresh(f"{layer}/nhwc", taken)}
    outputs = tuple(names.get(name, name) for name in graph.outputs)
    return infer_shapes(replace(graph, nodes=tuple(renamed(node, names) for node in graph.nodes), outputs=outputs))


def _name_of(path: Path) -> str:
    """A network name from that of a file."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", path.stem)[:64] or "network"


def _with_weights(
    graph: Graph, spec: Spec, values: YamlMap, path: Path, override: Path | None, record: Record
) -> Graph:
    """`graph` with the weights that the spec asks for, or with those in the file `override`."""
    line = values["weights"].lines.get("file") if isinstance(values["weights"], YamlMap) else None
    source = Source(str(path), line or values.lines["weights"])
    weights_format = _format(spec, "chw" if _channels_come_first(spec) else "hwc")
    if override is not None:
        file, origin, source = override, (str(override), GIVEN), Source(str(override))
    elif isinstance(spec.weights, str):
        return random_weights(graph, spec.seed)
    elif spec.weights.file is None:
        raise SpecError("weights: names no file", remedy="add `file:`, or pass a weights file", source=source)
    else:
        file, place = find_weights(path.parent, spec.weights.file, source)
        origin = (spec.weights.file, place)
        if place == "shipped":
            text = f"there is no {origin[0]} beside the spec; using the one that cnngen ships; copy it there to be sure"
            record.warn(f"{source}: {text}", WeightsWarning)
    options = {} if isinstance(spec.weights, str) else {"convert": spec.weights.convert, "strict": spec.weights.strict}
    return load_weights(graph, file, weights_format, **options, source=source, record=record, origin=origin)
