"""The HTML report without a browser: what is in the page, drawings, fields and the memory chart by their numbers."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cnngen import pipeline
from cnngen.analysis.receptive_field import receptive_fields
from cnngen.ir import Graph
from cnngen.ops import Activate, Activation, BatchNorm, Concat, Conv2D, Dense, Flatten, Identity
from cnngen.report.html.drawing import draw_network
from cnngen.report.html.fields import field_figures
from cnngen.report.html.layered import layered
from cnngen.report.html.memory import memory_chart
from cnngen.report.html.page import html_report
from cnngen.report.html.units import MOST_BOXES, Unit, gathered, layers_as_units
from cnngen.report.inspect import inspect_rows
from cnngen.report.plan_data import layer_code, timeline
from cnngen.resources import specs_folder
from tests.graphs import EXAMPLES, RELU, SAME3, Builder, chain, lenet, residual

EVIL = '</script><b onclick="x">bold</b>\'&{{ 7 * 7 }}'


def evil_graph() -> Graph:
    """A network with markup in every name."""
    net = Builder({EVIL: (1, 8, 8, 1)}, name=EVIL)
    net.add(Conv2D(2, (3, 3)), name=f"{EVIL}/{EVIL}")
    net.add(Conv2D(2, (3, 3), padding=SAME3), name=f"{EVIL} 2")
    return net.graph()


def planned(graph: Graph) -> pipeline.Plan:
    return pipeline.plan_for(graph, isa="avx2", threads=1, run_here=False)


def report(graph: Graph) -> str:
    return html_report(graph, planned(graph))


class Reader(HTMLParser):
    """Collects tags, ids, links and text, and complains about tags that are not closed in order."""

    VOID = frozenset(("meta", "br", "link", "img", "input", "path", "rect", "circle"))

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.text += data

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.tags if attribute in attrs]


# --- the page --------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_link_leads_somewhere_and_nothing_is_loaded(example: str) -> None:
    page = Reader(report(EXAMPLES[example]()))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link for link in page.values("href") if link.removeprefix("#") not in ids} == set()
    assert page.values("src") == []
    used = {name for fill in page.values("fill") for name in re.findall(r"url\(#(.*)\)", fill)}
    assert used <= set(ids)
    assert [tag for tag, _ in page.tags if tag in ("link", "img", "iframe", "object", "use", "image")] == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_layer_is_in_the_table(example: str) -> None:
    graph = EXAMPLES[example]()
    page = Reader(report(graph))
    rows = [attrs for tag, attrs in page.tags if tag == "tr" and (attrs.get("id") or "").startswith("layer-")]
    assert len(rows) == len(graph.nodes)
    for row in inspect_rows(graph).layers:
        assert row.op in page.text
        assert f"{row.cost.params:,}" in page.text


def test_names_with_markup_stay_text() -> None:
    text = report(evil_graph())
    page = Reader(text)
    assert EVIL in page.text
    assert "<b onclick" not in text
    assert text.count("</script>") == 1
    assert not any("onclick" in attrs for _, attrs in page.tags)


def test_warnings_are_there_with_their_place_but_without_folders(tmp_path: Path) -> None:
    spec = tmp_path / "net.yaml"
    layers = "layers:\n  - conv2d: {name: c, filters: 1, kernel: 3, stride: 2}\n"
    spec.write_text(f"cnngen: 1\nname: net\ninput: {{shape: [8, 8, 1]}}\nweights: random\n{layers}", "utf-8")
    text = report(pipeline.load_graph(spec))
    page = Reader(text)
    for warning in inspect_rows(pipeline.load_graph(spec)).warnings:
        assert warning.code in page.text
        assert warning.problem[1:] in page.text
        assert warning.remedy[1:] in page.text
    assert "net.yaml:6" in page.text
    assert str(tmp_path) not in text


def test_a_network_without_images_has_no_field_section() -> None:
    text = report(chain((1, 12), Dense(4)))
    assert "Receptive fields" not in Reader(text).text


def test_the_page_says_the_kernels() -> None:
    graph = lenet()
    plan = planned(graph)
    text = Reader(html_report(graph, plan)).text
    symbols = {plan.kernels[call.kernel] for step in plan.steps if step.node != "x" for call in step.calls}
    assert len(symbols) > 5
    assert [symbol for symbol in symbols if symbol not in text and not symbol.startswith("halo")] == []


# --- what becomes of layers ------------------------------------------------------------------


def test_layers_and_their_kernels() -> None:
    graph = residual()
    code = layer_code(graph, planned(graph))
    assert code["a1"].merged_into == code["batch_norm_1"].merged_into == "relu_2"
    assert code["a1"].steps == code["relu_2"].steps
    assert code["relu_2"].kernels[0].startswith("conv2d_3x3s1")
    assert code["projection"].merged_into in (None, "block2")
    (flatten,) = (node.name for node in graph.nodes if isinstance(node.op, Flatten))
    assert code[flatten].note.startswith("no code: another view")


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_kernel_call_belongs_to_a_layer(example: str) -> None:
    graph = EXAMPLES[example]()
    plan = planned(graph)
    code = layer_code(graph, plan)
    assert list(code) == [node.name for node in graph.nodes]
    shown = {kernel for layer in code.values() for kernel in layer.kernels}
    names = {plan.kernels[call.kernel] for step in plan.steps if step.node in code for call in step.calls}
    assert {name for name in names if not name.startswith("halo")} == shown
    for layer in code.values():
        assert bool(layer.kernels) != bool(layer.note)


def test_dropout_and_dead_layers_have_no_code() -> None:
    net = Builder((1, 6, 6, 1))
    kept = net.add(Conv2D(2, (3, 3)))
    net.add(Conv2D(1, (1, 1)), name="dead")
    net.add(Identity(), kept, name="dropout")
    graph = net.graph(net.add(RELU, "dropout", name="end"))
    code = layer_code(graph, planned(graph))
    assert code["dead"].note == "no code: no output depends on it"
    assert code["dropout"].note == "no code: it changes nothing"


def test_a_layer_whose_output_goes_by_the_name_of_its_identity() -> None:
    net = Builder((1, 6, 6, 1))
    first = net.add(Conv2D(2, (3, 3)), name="first")
    out = net.add(Identity(), first, name="out")
    graph = net.graph(out, net.add(Activate(Activation("tanh")), first, name="other"))
    code = layer_code(graph, planned(graph))
    assert code["first"].merged_into == "out"
    assert code["out"].kernels[0].startswith("conv2d")


# --- drawings --------------------------------------------------------------------------------


def drawn(graph: Graph) -> tuple[object, ...]:
    costs = {row.name: row.cost for row in inspect_rows(graph).layers}
    drawing = draw_network(graph, costs, {name: name for name in costs})
    return drawing.overview, drawing.blocks, drawing.full


def random_dag(seed: int) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 30))
    sizes = [(float(rng.integers(20, 200)), 40.0) for _ in range(count)]
    pairs = {tuple(sorted(int(v) for v in rng.integers(0, count, 2))) for _ in range(int(rng.integers(0, 50)))}
    return sizes, sorted((a, b) for a, b in pairs if a != b)


@pytest.mark.parametrize("seed", range(40))
def test_boxes_do_not_overlap_and_edges_go_down_around_them(seed: int) -> None:
    sizes, edges = random_dag(seed)
    placed = layered(sizes, edges)
    boxes = [(x, y, w, h) for x, y, (w, h) in zip(placed.lefts, placed.tops, sizes, strict=True)]
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= -1e-6
        assert x + w <= placed.width + 1e-6
        assert 0 <= y <= placed.height - h + 1e-6
        for other_x, other_y, other_w, other_h in boxes[i + 1 :]:
            apart_x = x + w < other_x or other_x + other_w < x
            apart_y = y + h < other_y or other_y + other_h < y
            assert apart_x or apart_y
    for (start, stop), route in zip(edges, placed.routes, strict=True):
        heights = [y for _, y in route]
        assert heights == sorted(heights)
        assert route[0][1] == placed.tops[start] + 40
        assert route[-1][1] == placed.tops[stop]
        for (a, top), (b, bottom) in zip(route[1:-1:2], route[2:-1:2], strict=True):
            assert a == b  # vertical where it passes boxes, and beside all of them
            assert not any(x <= a <= x + w and y < bottom and top < y + h for x, y, w, h in boxes)


def test_a_chain_with_skips_is_a_straight_line() -> None:
    sizes = [(100.0, 40.0)] * 9
    edges = [(i, i + 1) for i in range(8)] + [(0, 4), (4, 8)]
    placed = layered(sizes, edges)
    assert max(placed.lefts) - min(placed.lefts) < 1


def test_an_order_without_crossings_is_found() -> None:
    """Two chains side by side, given interleaved."""
    placed = layered([(10.0, 10.0)] * 6, [(0, 3), (1, 2), (2, 5), (3, 4)])
    left = [placed.lefts[i] < placed.lefts[j] for i, j in ((0, 1), (3, 2), (4, 5))]
    assert len(set(left)) == 1


def test_edges_backwards_are_refused() -> None:
    with pytest.raises(ValueError, match="topological"):
        layered([(1.0, 1.0)] * 2, [(1, 0)])


@pytest.mark.parametrize("example", EXAMPLES)
def test_small_networks_are_drawn_whole(example: str) -> None:
    graph = EXAMPLES[example]()
    overview, blocks, full = drawn(graph)
    assert (blocks, full) == ((), None)
    units = layers_as_units(graph)
    assert len(overview.boxes) == len(units)
    assert sorted(node.name for unit in units for node in unit.nodes) == sorted(node.name for node in graph.nodes)
    arrows = {(i, j) for i, a in enumerate(units) for j, b in enumerate(units) if a.makes & set(b.takes)}
    assert len(overview.arrows) == len(arrows)


def all_nodes(units: tuple[Unit, ...]) -> list[str]:
    return [node.name for unit in units for node in unit.nodes]


def test_resnet_is_drawn_as_its_author_wrote_it() -> None:
    graph = pipeline.load_graph(specs_folder() / "resnet50.yaml")
    units = gathered(layers_as_units(graph), graph)
    names = [unit.name for unit in units if unit.is_block]
    assert names == ["conv2", "conv3", "conv4", "conv5"]
    assert all_nodes(units) == [node.name for node in graph.nodes]
    assert len(units) <= MOST_BOXES
    conv4 = next(unit for unit in units if unit.name == "conv4")
    assert [(part.name, part.repeat) for part in conv4.parts] == [
        ("conv4/bottleneck_1", 1),
        ("conv4/bottleneck_2", 5),
    ]


def flat_densenet(layers: int = 12) -> Graph:
    """Dense blocks in which names say nothing about blocks."""
    net = Builder((1, 6, 6, 4))
    state = net.add(Conv2D(4, (3, 3), padding=SAME3))
    for _ in range(layers):
        net.add(BatchNorm(), state)
        net.add(RELU)
        net.add(Conv2D(3, (1, 1), use_bias=False))
        new = net.add(Conv2D(3, (3, 3), padding=SAME3, use_bias=False))
        state = net.add(Concat(), state, new)
    net.add(Flatten(), state)
    net.add(Dense(2))
    return net.graph()


def test_blocks_are_found_where_names_do_not_tell() -> None:
    graph = flat_densenet()
    units = gathered(layers_as_units(graph), graph)
    assert [unit.repeat for unit in units if unit.is_block] == [12]
    assert all_nodes(units) == [node.name for node in graph.nodes]
    overview, blocks, full = drawn(graph)
    assert "12 blocks, 60 layers" in next(box.tooltip for box in overview.boxes if box.stacked)
    assert blocks[0].layers == 5
    assert len(full.boxes) == len(layers_as_units(graph))


def test_densenet_is_drawn_as_its_author_wrote_it() -> None:
    graph = pipeline.load_graph(specs_folder() / "densenet121.yaml")
    units = gathered(layers_as_units(graph), graph)
    assert [unit.repeat for unit in units if unit.is_block and unit.name.startswith("block")] == [6, 12, 24, 16]
    assert sorted(all_nodes(units)) == sorted(node.name for node in graph.nodes)


def test_the_skips_of_a_unet_are_in_its_overview() -> None:
    graph = pipeline.load_graph(specs_folder() / "unet.yaml")
    overview, _, _ = drawn(graph)
    assert sum("concat" in box.text for box in overview.boxes) == 4
    assert len(overview.arrows) == len(overview.boxes) - 1 + 4


def test_a_field_many_times_the_image_leaves_the_image_large() -> None:
    graph = chain((1, 16, 16, 1), *[Conv2D(1, (5, 5), padding=(2, 2, 2, 2))] * 12)
    figures = field_figures(graph, receptive_fields(graph)).figures
    (first,), (last,) = figures[0].pictures, figures[-1].pictures
    assert first.complete
    assert not last.complete
    assert last.elements[0].whole.width == 49
    assert last.view.width < 1.5 * last.image.width


def test_a_repeated_block_that_is_read_twice_is_not_merged() -> None:
    graph = flat_densenet()
    middle = [node.name for node in graph.nodes if isinstance(node.op, Concat)][5]
    tapped = Graph(graph.name, graph.inputs, graph.nodes, (*graph.outputs, middle), graph.types)
    units = gathered(layers_as_units(tapped), tapped)
    assert [unit.repeat for unit in units if unit.is_block] == [6, 6]


def test_a_chain_of_hundreds_of_layers_is_drawn() -> None:
    graph = chain((1, 4, 4, 1), *[Conv2D(1, (1, 1))] * 300)
    overview, blocks, full = drawn(graph)
    assert (len(overview.boxes), blocks, full) == (301, (), None)


# --- receptive fields ------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES)
def test_figures_hold_what_the_analysis_says(example: str) -> None:
    graph = EXAMPLES[example]()
    fields = receptive_fields(graph)
    figures = field_figures(graph, fields)
    by_anchor = {figure.anchor: figure for figure in figures.figures}
    for node in graph.nodes:
        pictures = by_anchor[figures.of_layer[node.name]].pictures
        for picture, (origin, field) in zip(pictures, fields[node.name].items(), strict=True):
            assert picture.origin == origin
            for element in picture.elements:
                row = 0 if element.name == "corner" else field.height.positions // 2
                column = 0 if element.name == "corner" else field.width.positions // 2
                top, bottom = field.height.interval(row)
                left, right = field.width.interval(column)
                whole = element.whole
                assert (whole.x, whole.y, whole.width, whole.height) == (left, top, right - left + 1, bottom - top + 1)
                rows, columns = field.height.support(row), field.width.support(column)
                if element.inside is None:
                    assert rows is None or columns is None
                else:
                    assert (element.inside.x, element.inside.y) == (columns[0], rows[0])
                    assert element.inside.x + element.inside.width == columns[1] + 1
                    assert element.inside.y + element.inside.height == rows[1] + 1


def test_the_corner_of_lenet_in_words_and_numbers() -> None:
    graph = lenet()
    figures = field_figures(graph, receptive_fields(graph))
    default = next(figure for figure in figures.figures if figure.anchor == figures.default)
    assert default.layers == ("conv2d_3", "relu_4")
    assert default.derivation == ("size  6 + 1 · (5 − 1) · 2 = 14", "jump  1 · 2 = 2")
    (picture,) = default.pictures
    centre, corner = picture.elements
    assert centre.text == "element (5, 5): rows 8 to 21, columns 8 to 21, 14x14 pixels; nothing is cut off"
    assert "12x12 pixels; the border cuts off 2 above, 2 left (27 % of the field is padding)" in corner.text
    assert picture.dots is not None
    assert (picture.dots.area.x, picture.dots.tile) == (4.0, (2.0, 2.0))


# --- memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_chart_shows_the_arena(example: str) -> None:
    plan = planned(EXAMPLES[example]())
    memory, chart = timeline(plan), memory_chart(timeline(plan))
    if chart is None:
        assert plan.arena.size == 0
        return
    scale = (chart.bottom - chart.top) / memory.arena_bytes
    step = (chart.right - chart.left) / len(memory.steps)
    assert len(chart.bars) == len(plan.arena.buffers)
    for bar, buffer in zip(chart.bars, plan.arena.buffers, strict=True):
        assert bar.height == pytest.approx(4 * buffer.size * scale)
        assert chart.bottom - bar.y - bar.height == pytest.approx(4 * buffer.offset * scale)
        assert bar.x == pytest.approx(chart.left + buffer.first * step)
        assert bar.width == pytest.approx((buffer.last - buffer.first + 1) * step)
    assert chart.arena_y == chart.top
    assert max(memory.live) <= memory.lower_bound_bytes
    assert memory.live[memory.peak] == max(memory.live)
    assert (chart.bound_y is None) == (plan.arena.size == plan.arena.lower_bound)


@pytest.mark.parametrize(
    ("graph", "with_scratch"),
    [
        pytest.param(EXAMPLES["dense_block"](), False, id="dense_block"),
        pytest.param(chain((1, 28, 28, 64), Conv2D(64, (3, 3), padding=SAME3), RELU), True, id="winograd"),
    ],
)
def test_every_tensor_in_the_arena_is_named_in_the_chart(graph: Graph, with_scratch: bool) -> None:
    plan = planned(graph)
    named = [name for piece in timeline(plan).occupied for name in piece.tensors]
    scratch = [call.scratch for step in plan.steps for call in step.calls if call.scratch]
    assert sum(name.startswith("scratch of ") for name in named) == len(scratch)
    assert bool(scratch) == with_scratch
    named = [name for name in named if not name.startswith("scratch of ")]
    inside = [name for name, view in plan.views.items() if view.space == "arena"]
    assert sorted(named) == sorted(inside)


def test_a_concatenation_stands_for_its_parts() -> None:
    plan = planned(EXAMPLES["dense_block"]())
    (host,) = {place.host for name, place in plan.graph.placements.items()} - set(plan.graph.placements)
    (piece,) = (piece for piece in timeline(plan).occupied if len(piece.tensors) > 1)
    assert piece.tensors[-1] == host


def test_no_memory_is_said_in_words() -> None:
    page = Reader(report(chain((1, 4, 4, 1), Conv2D(1, (1, 1)))))
    assert "needs no memory of its own" in page.text
