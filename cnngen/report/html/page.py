"""`cnngen inspect --html`: a network as one self-contained page.

The page loads nothing: styles, drawings and a little script are inside, and its content security policy
allows that script alone, by its hash. Without the script everything can be read and followed; it adds clicks
on whole rows and zooming. Names of layers are text, whatever is in them: templates escape all that they print.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePath

import jinja2

from cnngen import resources
from cnngen._version import __version__
from cnngen.analysis.cost import LayerCost
from cnngen.analysis.receptive_field import receptive_fields
from cnngen.backends.cpu.plan import Plan
from cnngen.ir import Graph
from cnngen.report.html.drawing import NetworkDrawing, draw_network, family
from cnngen.report.html.fields import FieldFigures, field_figures
from cnngen.report.html.memory import MemoryChart, memory_chart
from cnngen.report.inspect import count, fields_text, size
from cnngen.report.inspect_data import Inspection, inspect_rows
from cnngen.report.plan_data import LayerCode, Timeline, layer_code, timeline
from cnngen.weight_storage import phrase


@dataclass(frozen=True)
class Row:
    """A layer in the table. `share` is its part of the largest layer's MACs, from 0 to 1; all else is text."""

    anchor: str
    number: int
    name: str
    short_name: str
    family: str
    op: str
    place: str
    shape: str
    params: str
    macs: str
    share: float
    written: str
    intensity: str
    field: str
    figure: str
    kernels: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Group:
    """Rows that stand together; `name` is the block that they belong to, empty for none."""

    name: str
    rows: tuple[Row, ...]
    params: str
    macs: str


@dataclass(frozen=True)
class Warned:
    """A warning as text, with the table row of its layer where it has one."""

    code: str
    layer: str
    href: str
    place: str
    problem: str
    remedy: str


@dataclass(frozen=True)
class Page:
    """Everything that the template prints."""

    name: str
    version: str
    target: str
    inputs: tuple[tuple[str, str], ...]
    images: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    cards: tuple[tuple[str, str, str], ...]
    warnings: tuple[Warned, ...]
    drawing: NetworkDrawing
    groups: tuple[Group, ...]
    total: tuple[str, str, str]
    dense: tuple[str, str]
    fields: FieldFigures
    memory: MemoryChart | None
    weights: str


def html_report(graph: Graph, plan: Plan) -> str:
    """The report on a typed graph as it was written, and on the plan that was made from it, as an HTML page."""
    script = _source("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("page.html.j2")
        .render(page=page(graph, plan), script=script, style=_source("style.css"), digest=digest)
    )


def page(graph: Graph, plan: Plan) -> Page:
    """The report's content."""
    inspection, code, memory = inspect_rows(graph), layer_code(graph, plan), timeline(plan)
    figures = field_figures(graph, receptive_fields(graph))
    anchors = {layer.name: f"layer-{number}" for number, layer in enumerate(inspection.layers, 1)}
    total = inspection.total
    kernels = sum(layer.cost.params for layer in inspection.layers if layer.cost.dense_params)
    return Page(
        name=inspection.name,
        version=__version__,
        target=f"{plan.target.name}, {plan.target.threads} thread{'s' if plan.target.threads > 1 else ''}"
        + phrase(plan.weight_storage),
        inputs=_tensors(inspection.inputs),
        images=inspection.images,
        outputs=_tensors(inspection.outputs),
        cards=_cards(inspection, plan, memory),
        warnings=tuple(
            Warned(
                warning.code,
                warning.layer,
                anchors.get(warning.layer, ""),
                _place(warning.source.file, warning.source.line) if warning.source else "",
                _sentence(warning.problem),
                _sentence(warning.remedy),
            )
            for warning in inspection.warnings
        ),
        drawing=draw_network(graph, {layer.name: layer.cost for layer in inspection.layers}, anchors),
        groups=_groups(_rows(graph, inspection, code, figures, anchors), inspection),
        total=(f"{total.params:,}", count(total.macs) or "0", size(total.bytes_out)),
        dense=(count(kernels), count(total.dense_params)),
        fields=figures,
        memory=memory_chart(memory),
        weights=size(memory.weight_bytes) or "0 B",
    )


def _cards(inspection: Inspection, plan: Plan, memory: Timeline) -> tuple[tuple[str, str, str], ...]:
    """The figures on top: a number, what it counts, and a remark."""
    total = inspection.total
    statistics = f"{inspection.statistics:,} of them statistics of batch norms" if inspection.statistics else ""
    batch = next(iter(inspection.inputs.values()))[0]
    excess = memory.arena_bytes / memory.lower_bound_bytes - 1 if memory.lower_bound_bytes else 0.0
    bound = "as small as can be" if excess == 0 else f"{100 * excess:.1f} % above the lower bound"
    calls = sum(len(step.calls) for step in plan.steps)
    return (
        (f"{total.params:,}", "parameters", statistics or f"{size(total.weight_bytes) or '0 B'} as float32"),
        (count(total.macs) or "0", "multiply-accumulates", f"for {batch} image{'s' if batch > 1 else ''}"),
        (size(memory.arena_bytes) or "0 B", "working memory", bound if memory.arena_bytes else "none is needed"),
        (str(len(inspection.layers)), "layers", f"compiled into {calls} calls of {len(plan.kernels)} kernels"),
    )


def _rows(
    graph: Graph,
    inspection: Inspection,
    code: Mapping[str, LayerCode],
    figures: FieldFigures,
    anchors: Mapping[str, str],
) -> list[Row]:
    most = max((layer.cost.macs for layer in inspection.layers), default=0) or 1
    return [
        Row(
            anchor=anchors[layer.name],
            number=number,
            name=layer.name,
            short_name=layer.name.partition("/")[2] or layer.name,
            family=family(graph, node),
            op=layer.op,
            place=_place(layer.file, layer.line) if layer.file else "",
            shape="x".join(map(str, layer.shape[1:])),
            params=f"{layer.cost.params:,}" if layer.cost.params else "",
            macs=count(layer.cost.macs),
            share=layer.cost.macs / most,
            written=size(layer.cost.bytes_out),
            intensity=_three_digits(layer.cost.intensity),
            field=fields_text(layer, inspection.images) if layer.field else "",
            figure=figures.of_layer.get(layer.name, ""),
            kernels=code[layer.name].kernels,
            note=code[layer.name].note,
        )
        for number, (layer, node) in enumerate(zip(inspection.layers, graph.nodes, strict=True), 1)
    ]


def _groups(rows: Sequence[Row], inspection: Inspection) -> tuple[Group, ...]:
    """Neighbours of one block together, by the first part of their paths."""
    costs = {layer.name: layer.cost for layer in inspection.layers}
    groups = []
    for name, members in groupby(rows, lambda row: row.name.partition("/")[0] if "/" in row.name else ""):
        inside = tuple(members)
        total = sum((costs[row.name] for row in inside), LayerCost())
        groups.append(
            Group(
                name if len(inside) > 1 else "", inside, f"{total.params:,}" if total.params else "", count(total.macs)
            )
        )
    return tuple(groups)


def _place(file: str, line: int | None) -> str:
    """The place in a spec by the file's own name: the page may be read where no such folder is."""
    return f"{PurePath(file).name}:{line}" if line else PurePath(file).name


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _tensors(tensors: Mapping[str, tuple[int, ...]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, "x".join(map(str, shape))) for name, shape in tensors.items())


def _three_digits(number: float) -> str:
    return "" if number == 0 else f"{number:.0f}" if number >= 99.5 else f"{number:.3g}"


@functools.cache
def _environment() -> jinja2.Environment:
    """Templates that escape all text, fail on anything undefined, and see nothing but what they are given."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.templates_folder() / "report"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )


def _source(name: str) -> str:
    """A file of the report that is printed as it is."""
    return (resources.templates_folder() / "report" / name).read_text(encoding="utf-8")
