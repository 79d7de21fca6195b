"""What `cnngen inspect` shows, as plain data: every layer with its cost and field, totals, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from cnngen.analysis.cost import LayerCost, layer_cost
from cnngen.analysis.lint import LintWarning, lint
from cnngen.analysis.receptive_field import ReceptiveField, receptive_fields
from cnngen.ir import Graph
from cnngen.ops import BatchNorm
from cnngen.report.inspect_ops import describe
from cnngen.report.plan_data import LayerCode


@dataclass(frozen=True)
class MemorySummary:
    """Memory of a compiled network in bytes; the arena cannot be smaller than `lower_bound_bytes`.

    The lower bound is the largest sum of tensors that are alive at the same time.
    """

    arena_bytes: int
    lower_bound_bytes: int


@dataclass(frozen=True)
class FieldRow:
    """A receptive field in pixels of one input; pairs are (height, width).

    `size`, `jump` and `centre` (of the first element) as in `cnngen.analysis.receptive_field`,
    `padding` is (top, bottom, left, right). A jump is a float where it is no whole number, as behind
    an upsampling. Where paths disagree in jump `clear` is False, and size and jump are the largest of any.
    """

    size: tuple[int, int]
    jump: tuple[float, float]
    centre: tuple[float, float]
    padding: tuple[int, int, int, int]
    clear: bool
    sees_everything: bool


@dataclass(frozen=True)
class LayerRow:
    """One layer. `field` has an entry for every image input that the layer depends on."""

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    cost: LayerCost
    field: Mapping[str, FieldRow]
    file: str | None
    line: int | None


@dataclass(frozen=True)
class Inspection:
    """A network: tensors with their shapes, layers in order, the sum of their costs, warnings.

    `statistics` is how many of the parameters are means and variances of batch norms, which papers
    and training frameworks leave out of their counts.
    """

    name: str
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    layers: tuple[LayerRow, ...]
    total: LayerCost
    statistics: int
    warnings: tuple[LintWarning, ...]

    @property
    def images(self) -> tuple[str, ...]:
        """The inputs that have receptive fields: those of rank 4."""
        return tuple(name for name, shape in self.inputs.items() if len(shape) == 4)


def inspect_rows(graph: Graph) -> Inspection:
    """Everything that `inspect` shows about a typed graph."""
    fields = receptive_fields(graph)
    layers = tuple(
        LayerRow(
            name=node.name,
            op=describe(node.op, graph.input_types(node)),
            inputs=node.inputs,
            shape=graph.types[node.name].shape,
            cost=layer_cost(graph, node),
            field={origin: field_row(field) for origin, field in fields[node.name].items()},
            file=node.source.file if node.source else None,
            line=node.source.line if node.source else None,
        )
        for node in graph.nodes
    )
    return Inspection(
        name=graph.name,
        inputs={tensor.name: tensor.type.shape for tensor in graph.inputs},
        outputs={name: graph.types[name].shape for name in graph.outputs},
        layers=layers,
        total=sum((layer.cost for layer in layers), LayerCost()),
        statistics=sum(2 * graph.types[node.name].shape[-1] for node in graph.nodes if isinstance(node.op, BatchNorm)),
        warnings=lint(graph),
    )


def inspect_json(
    graph: Graph, memory: MemorySummary | None = None, code: Mapping[str, LayerCode] | None = None
) -> dict[str, Any]:
    """The same as plain dictionaries, lists, strings and numbers, ready for `json.dumps`.

    With `code`, every layer also has its `kernels` and, where another layer's kernel computes it, that
    layer as `merged_into`.
    """
    inspection = inspect_rows(graph)
    return {
        "name": inspection.name,
        "inputs": [{"name": name, "shape": list(shape)} for name, shape in inspection.inputs.items()],
        "outputs": [{"name": name, "shape": list(shape)} for name, shape in inspection.outputs.items()],
        "layers": [
            {
                "name": layer.name,
                "op": layer.op,
                "inputs": list(layer.inputs),
                "shape": list(layer.shape),
                **asdict(layer.cost),
                "intensity": layer.cost.intensity,
                "receptive_field": {origin: _listed(asdict(field)) for origin, field in layer.field.items()},
                "file": layer.file,
                "line": layer.line,
                **(_code(code[layer.name]) if code else {}),
            }
            for layer in inspection.layers
        ],
        "total": {**asdict(inspection.total), "batch_norm_statistics": inspection.statistics},
        "warnings": [
            {
                "code": warning.code,
                "layer": warning.layer,
                "file": warning.source.file if warning.source else None,
                "line": warning.source.line if warning.source else None,
                "problem": warning.problem,
                "remedy": warning.remedy,
            }
            for warning in inspection.warnings
        ],
        "memory": asdict(memory) if memory else None,
    }


def _code(code: LayerCode) -> dict[str, Any]:
    return {"kernels": list(code.kernels), "merged_into": code.merged_into}


def field_row(field: ReceptiveField) -> FieldRow:
    """The numbers of a field that tables and data show."""
    height, width = field.axes
    return FieldRow(
        size=(height.size, width.size),
        jump=(_number(height.jump), _number(width.jump)),
        centre=(height.centre, width.centre),
        padding=(*height.padding, *width.padding),
        clear=field.clear,
        sees_everything=field.sees_everything,
    )


def _number(fraction: Fraction) -> float:
    """An int where it is whole."""
    return fraction.numerator if fraction.denominator == 1 else float(fraction)


def _listed(values: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists, as JSON would read them back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
