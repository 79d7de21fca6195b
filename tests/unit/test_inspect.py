"""inspect: the data, and a table that neither wraps nor hides a number at 80 columns."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from cnngen.analysis.cost import total_cost
from cnngen.ir import Graph, TensorType
from cnngen.ops import Activation, Add, BatchNorm, Conv2D, Dense, Op, Pool2D
from cnngen.passes import optimise
from cnngen.report.inspect import (
    MemorySummary,
    count,
    field_text,
    inspect_json,
    inspect_rows,
    inspect_table,
    shortened,
    size,
)
from cnngen.report.inspect_ops import describe
from tests.graphs import EXAMPLES, RELU, SAME3, Builder, chain, inception, lenet, residual, two_inputs


def printed(graph: Graph, width: int, memory: MemorySummary | None = None) -> str:
    stream = io.StringIO()
    inspect_table(graph, Console(file=stream, width=width), memory)
    return stream.getvalue()


def body(text: str) -> list[str]:
    """The lines of the table, from its heading to its total."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip().startswith("layer"))
    end = next(i for i, line in enumerate(lines) if line.strip().startswith("total"))
    return lines[start : end + 1]


def test_rows_of_lenet() -> None:
    inspection = inspect_rows(lenet())
    row = inspection.layers[3]
    assert (row.name, row.op, row.shape) == ("conv2d_3", "conv2d 5x5", (1, 10, 10, 16))
    assert (row.cost.params, row.cost.macs) == (2416, 240_000)
    assert (row.field["x"].size, row.field["x"].jump) == ((14, 14), (2, 2))
    assert (row.field["x"].centre, row.field["x"].padding) == ((4.5, 4.5), (2, 2, 2, 2))
    assert inspection.total == total_cost(lenet())
    assert inspection.statistics == 0


def test_batch_norm_statistics_are_counted_apart() -> None:
    inspection = inspect_rows(chain((1, 4, 4, 3), Conv2D(5, (1, 1), use_bias=False), BatchNorm()))
    assert (inspection.total.params, inspection.statistics) == (15 + 20, 10)


@pytest.mark.parametrize("example", EXAMPLES)
def test_json_is_plain_and_complete(example: str) -> None:
    graph = EXAMPLES[example]()
    data = inspect_json(graph, MemorySummary(4096, 1024))
    assert json.loads(json.dumps(data)) == data
    assert [layer["name"] for layer in data["layers"]] == [node.name for node in graph.nodes]
    assert data["total"]["macs"] == sum(layer["macs"] for layer in data["layers"])
    assert data["memory"] == {"arena_bytes": 4096, "lower_bound_bytes": 1024}


def test_json_gives_warnings_with_code_and_layer() -> None:
    (warning,) = inspect_json(chain((1, 8, 8, 1), Conv2D(1, (3, 3))))["warnings"]
    assert (warning["code"], warning["layer"]) == ("narrow-output", "conv2d_0")
    assert warning["remedy"]


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_of_the_table_wraps_and_no_number_is_cut(example: str, width: int) -> None:
    graph = EXAMPLES[example]()
    lines = body(printed(graph, width))
    assert max(map(len, lines)) <= width
    rows = inspect_rows(graph).layers
    assert len(lines) == 2 + len(rows) + 2
    for row, line in zip(rows, lines[2:], strict=False):
        numbers = [
            "x".join(map(str, row.shape[1:])),
            count(row.cost.params) if width < 110 else f"{row.cost.params:,}" if row.cost.params else "",
            count(row.cost.macs),
            ", ".join(
                field_text(row.field[name]) if name in row.field else "-"
                for name, shape in inspect_rows(graph).inputs.items()
                if len(shape) == 4
            ),
        ]
        assert " ".join(["", *filter(None, numbers), ""]) in re.sub(" +", " ", line + " ")


def test_long_names_keep_their_end_at_80_columns() -> None:
    net = Builder((1, 224, 224, 3))
    net.add(Conv2D(64, (7, 7), (2, 2), (3, 3, 3, 3)), name="stage_3/block_12/bottleneck/expand/convolution")
    lines = body(printed(net.graph(), 80))
    assert max(map(len, lines)) <= 80
    assert "convolution" in lines[2]
    assert "stage_3" not in lines[2]
    assert "stage_3/block_12/bottleneck/expand/convolution" in printed(net.graph(), 140)


def test_wide_table_adds_bytes_and_the_dense_equivalent() -> None:
    wide, narrow = printed(lenet(), 120), printed(lenet(), 80)
    assert "as dense" in wide
    assert "48,120" in wide
    assert "as dense" not in narrow
    assert "48.1 k" in narrow


def test_totals_and_memory_are_under_the_table() -> None:
    text = printed(lenet(), 80, MemorySummary(20480, 16384))
    assert "51,902 parameters (203 KiB), 407 k MACs" in text
    assert "convolutions hold 2.57 k parameters, dense layers in their place 5.58 M" in text
    assert "arena 20.0 KiB, lower bound 16.0 KiB (+25.0 %)" in text
    assert "arena" not in printed(lenet(), 80)


def test_warnings_are_printed_whole_where_nobody_looks() -> None:
    """Into a pipe a warning is one line, whatever the width."""
    lines = printed(inception(), 80).splitlines()
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert warning.startswith("warning narrow-features  global_avg_pool_12: no element of fire")
    assert warning.endswith("if the whole picture matters")


def test_markup_in_names_is_text() -> None:
    net = Builder((1, 6, 6, 1))
    net.add(Conv2D(1, (3, 3)), name="[red]a[/red]")
    assert printed(net.graph(), 120).count("[red]a[/red]") >= 2


def test_fields_of_several_inputs_and_of_disagreeing_paths() -> None:
    both = next(line for line in body(printed(two_inputs(), 120)) if line.strip().startswith("both"))
    assert "2 /2, 3 /1" in both
    conv = next(line for line in body(printed(two_inputs(), 120)) if line.strip().startswith("conv2d_1"))
    assert " -, 3 /1" in conv
    assert "fields are on image, depth, in this order" in printed(two_inputs(), 80)
    assert "in this order" not in printed(lenet(), 80)
    net = Builder((1, 9, 9, 1))
    net.add(Add(), net.add(Conv2D(1, (3, 3), (3, 3)), "x"), net.add(Conv2D(1, (7, 7)), "x"), name="sum")
    assert "~7 /3" in next(line for line in body(printed(net.graph(), 120)) if line.strip().startswith("sum"))


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (Conv2D(8, (3, 3)), "conv2d 3x3"),
        (Conv2D(8, (3, 5), (2, 1), (1, 1, 2, 2), (1, 2), 2), "conv2d 3x5 s2x1 p1,1,2,2 d1x2 g2"),
        (Conv2D(8, (3, 3), padding=SAME3, groups=4), "depthwise 3x3 p1"),
        (Conv2D(4, (1, 1), residual=True, activation=Activation("relu")), "conv2d 1x1 +residual +relu"),
        (
            Pool2D("avg", (2, 2), (2, 2), SAME3, ceil_mode=True, count_include_pad=True),
            "avg_pool 2x2 s2 p1 ceil count_pad",
        ),
        (Dense(3, activation=Activation("leaky_relu", 0.1)), "dense +leaky_relu 0.1"),
        (RELU, "relu"),
    ],
)
def test_ops_in_words(op: Op, text: str) -> None:
    assert describe(op, (TensorType((1, 8, 8, 4)),)) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, ""),
        (7, "7"),
        (999, "999"),
        (1000, "1.00 k"),
        (9995, "10.0 k"),
        (99_950, "100 k"),
        (999_500, "1.00 M"),
        (2_416, "2.42 k"),
    ],
)
def test_counts_have_three_digits(number: int, text: str) -> None:
    assert count(number) == text


def test_sizes_and_names() -> None:
    assert [size(number) for number in (0, 40, 1024, 5_000_000)] == ["", "40 B", "1.00 KiB", "4.77 MiB"]
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdef", 4) == "…def"


def test_an_optimised_graph_can_be_inspected() -> None:
    ops = [row.op for row in inspect_rows(optimise(residual())).layers]
    assert "conv2d 3x3 p1 +residual +relu" in ops
