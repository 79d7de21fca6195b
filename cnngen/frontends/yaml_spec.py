"""The front end for YAML specs: file to `Graph`, in the order of the functions below."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from cnngen.errors import Source, SpecError, WeightsWarning
from cnngen.frontends.entries import Library
from cnngen.frontends.fields import MAX_INTEGER
from cnngen.frontends.files import inside
from cnngen.frontends.layers import Options
from cnngen.frontends.network_builder import NetworkBuilder, Scope
from cnngen.frontends.random_weights import random_weights
from cnngen.frontends.spec_models import InputSpec, Spec
from cnngen.frontends.validate import validate
from cnngen.frontends.weight_layouts import Format
from cnngen.frontends.weights import load_weights
from cnngen.frontends.yaml_reader import YamlMap, read_yaml
from cnngen.ir import Graph, Input, TensorType
from cnngen.ops import Transpose
from cnngen.passes.infer_shapes import infer_shapes
from cnngen.resources import specs_folder

TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)


def load_spec(path: Path, *, weights: Path | None = None, batch: int = 1) -> Graph:
    """The network in the spec at `path`, with its weights, typed.

    `weights` replaces the weights file that the spec names. Raises `SpecError` and `WeightsError`.
    """
    shipped = ", ".join(sorted(file.name for file in specs_folder().glob("*.yaml")))
    values = read_yaml(path, missing=f"the shipped specs ({shipped}) are in {specs_folder()}")
    spec = validate(Spec, values, str(path))
    graph = infer_shapes(_network(spec, values, path, batch))
    return _with_weights(graph, spec, values, path, weights)


def _network(spec: Spec, values: YamlMap, path: Path, batch: int) -> Graph:
    """The graph of the spec without weights."""
    file = str(path)
    blocks: YamlMap | dict[str, Any] = values.get("blocks") or {}
    library = Library(file, spec.blocks, {name: block["layers"] for name, block in blocks.items()})
    if isinstance(blocks, YamlMap):
        library.check(blocks.lines)
    inputs = _inputs(spec)
    layout = _layout(inputs, file, values.lines["input"])
    order = {"keras": "hwc", "torch": "chw"}[_format(spec, layout)]
    builder = NetworkBuilder(file, library, Options("chw" if order == "chw" else "hwc"))

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
    tensor = Input(name, TensorType((batch, *spec.shape)))
    if tensor.type.elements > MAX_INTEGER:
        problem = f"the input {tensor.type} has {tensor.type.elements:,} elements, more than 2^31 - 1"
        remedy = "reduce the sizes or the batch"
        raise SpecError(problem, remedy=remedy, source=Source(builder.file, line), layer=name)
    builder.types[name] = tensor.type
    scope.tensors[name] = name
    if spec.layout == "chw" and len(spec.shape) == 3:
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


def _name_of(path: Path) -> str:
    """A network name from that of a file."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", path.stem)[:64] or "network"


def _with_weights(graph: Graph, spec: Spec, values: YamlMap, path: Path, override: Path | None) -> Graph:
    """`graph` with the weights that the spec asks for, or with those in the file `override`."""
    line = values["weights"].lines.get("file") if isinstance(values["weights"], YamlMap) else None
    place = Source(str(path), line or values.lines["weights"])
    chw = any(tensor.layout == "chw" for tensor in _inputs(spec).values())
    weights_format = _format(spec, "chw" if chw else "hwc")
    if isinstance(spec.weights, str):
        if override is None:
            return random_weights(graph, spec.seed)
        return load_weights(graph, override, weights_format, source=Source(str(override)))
    if override is None and spec.weights.file is None:
        raise SpecError("weights: names no file", remedy="add `file:`, or pass a weights file", source=place)
    if override is None:
        file = _beside_or_shipped(path.parent, spec.weights.file or "", place)
    else:
        file, place = override, Source(str(override))
    return load_weights(
        graph, file, weights_format, convert=spec.weights.convert, strict=spec.weights.strict, source=place
    )


def _beside_or_shipped(folder: Path, name: str, place: Source) -> Path:
    """The weights file `name` beside the spec; for a copy of a shipped spec alone, the one that cnngen ships."""
    file = inside(folder, name, what="the weights file", source=place)
    if file.exists():
        return file
    shipped = inside(specs_folder(), name, what="the weights file", source=place)
    if not shipped.is_file():
        return file
    text = f"{place}: there is no {name} beside the spec; using the one that cnngen ships; copy it there to be sure"
    warnings.warn(text, WeightsWarning, stacklevel=2)
    return shipped
