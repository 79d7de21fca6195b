"""Gives a graph the weights of a file: everything that does not fit is reported in one error.

Tensors are found as ``<layer>.<role>``, for example ``conv2d_1.weight``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cnngen.errors import CnngenError, Source, WeightsError, WeightsWarning, inert
from cnngen.frontends.record import Place, Record
from cnngen.frontends.suggest import nearest
from cnngen.frontends.weight_files import Stored, WeightFile, open_weights
from cnngen.frontends.weight_layouts import Format, Shape, layouts, other
from cnngen.ir import Array, Graph, Node
from cnngen.ops import BatchNorm, Transpose

CONVERTIBLE = ("float64", "float16", "bfloat16")
MAX_LISTED = 20
FORMATS: tuple[Format, ...] = ("keras", "torch")
NAMES = "name the tensors <layer>.<role>, as `cnngen inspect --tensors` lists them"
OTHER_ROLES = {
    "weight": ("kernel", "depthwise_kernel"),
    "gamma": ("weight",),
    "beta": ("bias",),
    "mean": ("running_mean", "moving_mean"),
    "variance": ("running_var", "moving_variance"),
    "alpha": ("weight",),
}
"""What PyTorch and Keras call a tensor of each role."""

Needed = Mapping[str, tuple[Node, str, Shape]]
"""For every tensor name: the node, the role and the op's own shape."""


def load_weights(
    graph: Graph,
    path: Path,
    source_format: Format,
    *,
    convert: bool = False,
    strict: bool = False,
    source: Source | None = None,
    record: Record,
    origin: tuple[str, Place],
) -> Graph:
    """`graph`, whose types are inferred, with the weights of the file at `path`.

    With `convert`, float64, float16 and bfloat16 are converted to float32. NaN and infinity give a
    `WeightsWarning`, or with `strict` an error. `source` is where the file was asked for, `origin` its
    name there and where it was found; `record` notes both with the digest. Raises `WeightsError`,
    which lists all tensors that are missing, extra, or of the wrong shape or type.
    """
    needed = needed_tensors(graph)
    with open_weights(path, expected=len(needed), place=source) as file:
        _verify_contents(file, needed, source_format, convert)
        arrays = {name: _read(file, name, needed[name], source_format) for name in needed}
        record.read_weights(*origin, path, file.handle)
    _verify_values(arrays, Source(str(path)), strict or record.strict, record)
    result = attach(graph, arrays)
    _verify_variances(result, Source(str(path)))
    return result


def needed_tensors(graph: Graph) -> dict[str, tuple[Node, str, Shape]]:
    """Every tensor that `graph` takes from a file."""
    return {
        f"{node.name}.{role}": (node, role, shape)
        for node in graph.nodes
        for role, shape in node.op.weight_shapes(graph.input_types(node)).items()
    }


def layer_names(graph: Graph) -> dict[str, str]:
    """What a spec calls the layers whose names their transposed outputs have taken: by the names of their nodes."""
    return {
        node.inputs[0]: node.name
        for node in graph.nodes
        if isinstance(node.op, Transpose) and node.inputs[0].startswith(f"{node.name}/nhwc")
    }


def tensors_text(graph: Graph) -> str:
    """The tensors that a weights file for `graph` holds, one a line, with their shapes in both formats."""
    rows = [("tensor", "format: keras", "format: torch")]
    names = layer_names(graph)
    for node, role, shape in needed_tensors(graph).values():
        name = f"{names.get(node.name, node.name)}.{role}"
        keras, torch = (str(layouts(node.op, role, shape, source)[0].shape) for source in FORMATS)
        rows.append((name, keras, torch))
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:2]]
    return "".join(f"{name:{widths[0]}}  {keras:{widths[1]}}  {torch}\n" for name, keras, torch in rows)


def attach(graph: Graph, arrays: Mapping[str, Array]) -> Graph:
    """`graph` with `arrays`, by tensor name, as its weights: float32, C-contiguous, read-only."""
    nodes = []
    for node in graph.nodes:
        weights = {}
        for role in node.op.weight_shapes(graph.input_types(node)):
            weights[role] = np.asarray(arrays[f"{node.name}.{role}"], np.float32, order="C")
            weights[role].flags.writeable = False
        nodes.append(replace(node, weights=MappingProxyType(weights)))
    return replace(graph, nodes=tuple(nodes))


def _read(file: WeightFile, name: str, needed: tuple[Node, str, Shape], source_format: Format) -> Array:
    node, role, shape = needed
    stored = file.tensors[name].shape
    layout = next(layout for layout in layouts(node.op, role, shape, source_format) if layout.shape == stored)
    with np.errstate(over="ignore"):  # what becomes infinite is reported with the values
        return np.asarray(layout.convert(file.read(name)), np.float32, order="C")


def _verify_contents(file: WeightFile, needed: Needed, source_format: Format, convert: bool) -> None:
    """Raise unless the file has exactly the tensors that are `needed`, in shapes and types that fit."""
    problems: list[str] = []
    hints: list[str] = []
    extra = [name for name in file.tensors if name not in needed]
    for name, (node, role, shape) in needed.items():
        usual = layouts(node.op, role, shape, source_format)
        expected = " or ".join(str(layout.shape) for layout in usual)
        if name not in file.tensors:
            foreign_names = [f"{node.name}.{other_role}" for other_role in OTHER_ROLES.get(role, ())]
            near = next((other_name for other_name in foreign_names if other_name in file.tensors), None)
            if near is None and len(problems) < MAX_LISTED:
                near = nearest(name, extra)
            hints.append(NAMES)
            note = f" (the file has {inert(near)})" if near else ""
            problems.append(f"{name}: missing, expected {expected}{note}")
            continue
        stored = file.tensors[name]
        if all(layout.shape != stored.shape for layout in usual):
            foreign = layouts(node.op, role, shape, other(source_format))
            looks = any(layout.shape == stored.shape for layout in foreign)
            note = f" (this is the layout of {other(source_format)})" if looks else ""
            problems.append(f"{name}: has shape {stored.shape}, expected {expected}{note}")
            hints += [f"write `format: {other(source_format)}`"] if looks else []
        problems += _type_problem(name, stored, convert)
        if stored.dtype in CONVERTIBLE and not convert:
            hints.append("write `convert: true` under weights: to convert to float32")
    problems += [f"{inert(name)}: extra, the network has no such tensor" for name in extra]
    if problems:
        shown = problems[:MAX_LISTED]
        more = f"\n  and {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
        count = f"{len(problems)} tensor{'s do' if len(problems) > 1 else ' does'} not fit the network"
        hints += [NAMES] if extra else []
        remedy = " and ".join(dict.fromkeys(hints)) or "save them in the shapes that are expected"
        raise file.error(f"{count}:\n  " + "\n  ".join(shown) + more, remedy)


def _type_problem(name: str, stored: Stored, convert: bool) -> list[str]:
    if stored.dtype == "float32" or (convert and stored.dtype in CONVERTIBLE):
        return []
    return [f"{name}: is {stored.dtype}, expected float32"]


def _verify_values(arrays: Mapping[str, Array], source: Source, strict: bool, record: Record) -> None:
    """Warn of NaN and infinity, or raise where that is `strict`."""
    odd = {name: int(array.size - np.isfinite(array).sum()) for name, array in arrays.items()}
    found = [f"{name} ({count})" for name, count in odd.items() if count]
    if not found:
        return
    problem = f"NaN or infinity in {', '.join(found[:MAX_LISTED])}"
    problem += f" and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
    if strict:
        raise WeightsError(problem, remedy="train again, or do without strict", source=source)
    record.warn(f"{source}: {problem}", WeightsWarning)


def _verify_variances(graph: Graph, source: Source) -> None:
    for node in graph.nodes:
        if not isinstance(node.op, BatchNorm):
            continue
        lowest = float(np.fmin.reduce(node.weights["variance"]))  # looks past NaN
        error: CnngenError | None = None
        if lowest < 0:
            error = WeightsError(f"the variance {lowest:g} is negative", remedy="check how the file was exported")
        elif lowest == 0 and node.op.epsilon == 0:
            error = WeightsError("a variance is 0 and epsilon is 0: a division by zero", remedy="give an epsilon")
        if error is not None:
            raise error.at(source, node.name)
