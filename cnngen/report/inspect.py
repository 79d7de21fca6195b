"""The table that `cnngen inspect` prints.

From 110 columns on it shows everything; below, numbers are rounded, bytes and the dense equivalent
are left out and layer names lose their beginning, so that no line wraps at 80.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cnngen.ir import Graph
from cnngen.report.inspect_data import (
    FieldRow,
    Inspection,
    LayerRow,
    MemorySummary,
    inspect_json,
    inspect_rows,
)

WIDE = 110
"""Width from which on all columns are shown."""
MINIMUM = 8
"""Least width of the columns of names and ops, whatever the terminal."""


def inspect_table(graph: Graph, console: Console, memory: MemorySummary | None = None) -> None:
    """Print the layers of a typed graph with totals and warnings; with `memory` the arena as well."""
    inspection = inspect_rows(graph)
    console.print(_heading(inspection))
    if inspection.layers:
        console.print(_table(inspection, console.width))
    for line in _summary(inspection, memory):
        console.print(f"  {line}", highlight=False)
    if inspection.warnings:
        console.print()
    for warning in inspection.warnings:
        place = f"{warning.source}: " if warning.source else ""
        console.print(
            f"[yellow]warning[/yellow] [dim]{warning.code}[/dim]  {escape(place)}"
            f"[bold]{escape(warning.layer)}[/bold]: {escape(warning.text)}",
            highlight=False,
            soft_wrap=not console.is_terminal,
        )


def _heading(inspection: Inspection) -> Text:
    ends = [
        ", ".join(f"{name} {_shape(shape, keep_batch=True)}" for name, shape in tensors.items())
        for tensors in (inspection.inputs, inspection.outputs)
    ]
    return Text.assemble((inspection.name, "bold"), f"   {ends[0]}  ->  {ends[1]}")


@dataclass(frozen=True)
class Column:
    """A column of numbers: its heading, one text a layer, and the sum under them."""

    heading: str
    cells: list[str]
    total: str = ""
    style: str = ""

    @property
    def width(self) -> int:
        return max(len(text) for text in (self.heading, self.total, *self.cells))


def _table(inspection: Inspection, width: int) -> Table:
    """All columns from `WIDE` on; numbers get the room that they need, name and op share the rest."""
    wide, layers, total = width >= WIDE, inspection.layers, inspection.total
    parameters = "{:,}".format if wide else count
    columns = [
        Column("output", [_shape(layer.shape) for layer in layers]),
        Column(
            "parameters" if wide else "params",
            [parameters(layer.cost.params) if layer.cost.params else "" for layer in layers],
            parameters(total.params),
        ),
        Column("MACs", [count(layer.cost.macs) for layer in layers], count(total.macs)),
        Column("field /jump" if wide else "field", [fields_text(layer, inspection.images) for layer in layers]),
    ]
    if wide:
        written = [size(layer.cost.bytes_out) for layer in layers]
        columns.append(Column("bytes out", written, size(total.bytes_out)))
        dense = [count(layer.cost.dense_params) for layer in layers]
        columns.append(Column("as dense", dense, count(total.dense_params), "dim"))

    gap = 2
    rest = width - 2 - gap * (1 + len(columns)) - sum(column.width for column in columns)
    longest_name, longest_op = (max(map(len, texts)) for texts in ([r.name for r in layers], [r.op for r in layers]))
    # Each may take what the other one leaves; where both are long, ops get a little more.
    op_width = max(min(longest_op, max(rest * 11 // 20, rest - longest_name)), MINIMUM)
    name_width = max(rest - op_width, MINIMUM)
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, padding=(0, 0, 0, gap - 1), header_style="bold")
    table.add_column("layer", "total", no_wrap=True, max_width=name_width)
    table.add_column("op", no_wrap=True, max_width=op_width, overflow="ellipsis")
    for column in columns:
        table.add_column(
            column.heading, column.total, no_wrap=True, justify="right", min_width=column.width, style=column.style
        )
    for layer, *cells in zip(layers, *(column.cells for column in columns), strict=True):
        table.add_row(Text(shortened(layer.name, name_width)), Text(layer.op), *cells)
    return table


def _summary(inspection: Inspection, memory: MemorySummary | None) -> list[str]:
    total = inspection.total
    lines = [
        f"{total.params:,} parameters ({size(total.weight_bytes) or '0 B'}), "
        f"{count(total.macs) or 0} MACs, {count(total.other) or 0} other operations"
    ]
    if len(inspection.images) > 1:
        lines.append(f"fields are on {', '.join(map(escape, inspection.images))}, in this order")
    if inspection.statistics:
        lines.append(f"{inspection.statistics:,} of the parameters are means and variances of batch norms")
    kernels = sum(layer.cost.params for layer in inspection.layers if layer.cost.dense_params)
    if kernels:
        dense = count(total.dense_params)
        lines.append(f"convolutions hold {count(kernels)} parameters, dense layers in their place {dense}")
    if memory:
        excess = memory.arena_bytes / memory.lower_bound_bytes - 1 if memory.lower_bound_bytes else 0.0
        lines.append(
            f"arena {size(memory.arena_bytes) or '0 B'}, lower bound {size(memory.lower_bound_bytes) or '0 B'}"
            f" ({100 * excess:+.1f} %)"
        )
    return lines


def fields_text(layer: LayerRow, origins: Sequence[str]) -> str:
    """The receptive field on each of the image inputs `origins`, in their order; ``-`` where it depends on nothing."""
    return ", ".join(field_text(layer.field[origin]) if origin in layer.field else "-" for origin in origins)


def field_text(field: FieldRow) -> str:
    """``14 /2``: size and jump; ``14x12 /2x1`` where the axes differ, ``all`` where nothing is left out.

    No jump where all elements see the same; ``~`` where paths disagree.
    """
    if field.jump == (0, 0) or (field.sees_everything and not field.clear):
        return "all" if field.sees_everything else _pair(field.size)
    return f"{'' if field.clear else '~'}{_pair(field.size)} /{_pair(field.jump)}"


def shortened(name: str, width: int) -> str:
    """`name`, or its end behind an ellipsis: the last part of a path tells layers apart."""
    return name if len(name) <= width else "…" + name[len(name) - width + 1 :]


def count(number: int) -> str:
    """A count with three significant digits and its unit; nothing for 0."""
    if number == 0:
        return ""
    return _scaled(number, 1000, ("", " k", " M", " G", " T", " P", " E"))


def size(number: int) -> str:
    """A number of bytes with three significant digits and its binary unit; nothing for 0."""
    if number == 0:
        return ""
    return _scaled(number, 1024, (" B", " KiB", " MiB", " GiB", " TiB"))


def _scaled(number: int, base: int, units: tuple[str, ...]) -> str:
    value, power = float(number), 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / base, power + 1
    if power == 0:
        return f"{number}{units[0]}"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}{units[power]}"


def _shape(shape: tuple[int, ...], *, keep_batch: bool = False) -> str:
    """A shape; the batch, the same everywhere, only in the heading."""
    return "x".join(map(str, shape if keep_batch else shape[1:]))


def _pair(values: tuple[float, float]) -> str:
    """One number where both are the same; three digits behind the point at most."""
    height, width = (str(round(value, 3)) for value in values)
    return height if height == width else f"{height}x{width}"


__all__ = [
    "FieldRow",
    "Inspection",
    "LayerRow",
    "MemorySummary",
    "inspect_json",
    "inspect_rows",
    "inspect_table",
]
