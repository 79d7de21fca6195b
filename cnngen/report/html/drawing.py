"""The network as boxes and arrows: one drawing of the whole, one for each kind of block, one of every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cnngen.analysis.cost import LayerCost
from cnngen.ir import Graph, Node
from cnngen.report.html.layered import Point, layered
from cnngen.report.html.units import Unit, gathered, layers_as_units, shape_of_code
from cnngen.report.inspect import count, shortened
from cnngen.report.inspect_ops import describe

MARGIN = 14.0
BOX_HEIGHT = 42.0
LETTER = 6.6
"""Width of a letter at the size of the drawing's text, rather too much."""
PADDING = 22.0
NARROWEST, WIDEST = 120.0, 236.0
MOST_DRAWN = 1500
"""Boxes of the largest drawing: browsers become slow, and people lost, long before."""
MOST_BENDS = 20_000


@dataclass(frozen=True)
class Box:
    """A box: `href` leads to the table row of a layer or to the drawing of a block's inside."""

    x: float
    y: float
    width: float
    height: float
    family: str
    title: str
    shape: str
    text: str
    tooltip: str
    href: str
    stacked: bool


@dataclass(frozen=True)
class Drawing:
    """An SVG of `width` by `height` CSS pixels; `arrows` are path data."""

    boxes: tuple[Box, ...]
    arrows: tuple[str, ...]
    width: float
    height: float


@dataclass(frozen=True)
class BlockDrawing:
    """The inside of a kind of block: of `names`, all alike; `parts` are the blocks inside it."""

    anchor: str
    names: tuple[str, ...]
    layers: int
    drawing: Drawing
    parts: tuple[BlockDrawing, ...]


@dataclass(frozen=True)
class NetworkDrawing:
    """`overview` with blocks as one box each, `blocks` from inside, and `full`: every layer.

    `full` is None where the overview has every layer already, or where they are too many to draw.
    """

    overview: Drawing
    blocks: tuple[BlockDrawing, ...]
    full: Drawing | None
    too_large: bool


def draw_network(graph: Graph, costs: Mapping[str, LayerCost], rows: Mapping[str, str]) -> NetworkDrawing:
    """All drawings of a typed graph; `rows` has the anchor of every layer's table row."""
    artist = _Artist(graph, costs, rows)
    units = layers_as_units(graph)
    top = gathered(units, graph)
    overview, blocks = artist.level(top, "")
    drawn_whole = len(top) == len(units)
    large = not drawn_whole and (len(units) > MOST_DRAWN or _bends(units) > MOST_BENDS)
    full = None if drawn_whole or large else artist.draw(units, "", {})
    return NetworkDrawing(overview, blocks, full, large)


def family(graph: Graph, node: Node) -> str:
    """The kind of layer that a box's colour stands for."""
    if node.op.cost(graph.input_types(node), graph.types[node.name]).macs:
        return "dense" if len(graph.types[node.name].shape) == 2 else "convolution"
    if "pool" in node.op.kind:
        return "pooling"
    return "join" if len(node.inputs) > 1 else "other"


@dataclass(frozen=True)
class _Face:
    """What a box says."""

    family: str
    title: str
    shape: str
    text: str
    tooltip: str

    @property
    def width(self) -> float:
        letters = max(len(self.title) + len(self.shape) + 3, len(self.text)) + 1
        return min(max(LETTER * letters + PADDING, NARROWEST), WIDEST)


@dataclass(frozen=True, eq=False)
class _Artist:
    graph: Graph
    costs: Mapping[str, LayerCost]
    rows: Mapping[str, str]

    def level(
        self, units: Sequence[Unit], prefix: str, path: str = "block"
    ) -> tuple[Drawing, tuple[BlockDrawing, ...]]:
        """The drawing of `units`, and of the inside of each kind of block among them."""
        kinds: dict[object, list[Unit]] = {}
        for unit in units:
            if unit.is_block:
                first = Unit(unit.name, tuple(node for part in unit.parts for node in part.nodes))
                kinds.setdefault(shape_of_code(first, self.graph), []).append(unit)
        anchors, blocks = {}, []
        for number, alike in enumerate(kinds.values(), 1):
            anchor, shown = f"{path}-{number}", alike[0]
            inside, parts = self.level((*_outside(shown.parts), *shown.parts), f"{shown.name}/", anchor)
            layers = sum(len(part.nodes) for part in shown.parts)
            blocks.append(BlockDrawing(anchor, tuple(map(_label, alike)), layers, inside, parts))
            anchors.update({unit.name: anchor for unit in alike})
        return self.draw(units, prefix, anchors), tuple(blocks)

    def draw(self, units: Sequence[Unit], prefix: str, anchors: Mapping[str, str]) -> Drawing:
        """One drawing of units in topological order."""
        faces = [self._face(unit, prefix) for unit in units]
        sizes = [(max((face.width for face in faces), default=0.0), BOX_HEIGHT)] * len(faces)
        maker = {name: place for place, unit in enumerate(units) for name in unit.makes}
        edges = sorted(
            {(maker[name], place) for place, unit in enumerate(units) for name in unit.takes if name in maker}
        )
        placed = layered(sizes, edges)
        boxes = tuple(
            Box(
                x=left + MARGIN,
                y=top + MARGIN,
                width=width,
                height=height,
                family=face.family,
                title=_fitted(face.title, width - PADDING - LETTER * (len(face.shape) + 3), end=True),
                shape=face.shape,
                text=_fitted(face.text, width - PADDING),
                tooltip=face.tooltip,
                href=self._target(unit, anchors),
                stacked=unit.is_block,
            )
            for unit, face, left, top, (width, height) in zip(
                units, faces, placed.lefts, placed.tops, sizes, strict=True
            )
        )
        arrows = tuple(_path(route) for route in placed.routes)
        return Drawing(boxes, arrows, placed.width + 2 * MARGIN, placed.height + 2 * MARGIN)

    def _target(self, unit: Unit, anchors: Mapping[str, str]) -> str:
        if unit.is_block:
            return anchors.get(unit.name, "")
        return "" if unit.is_input else self.rows[unit.nodes[0].name]

    def _face(self, unit: Unit, prefix: str) -> _Face:
        graph = self.graph
        if unit.is_input:
            shape = graph.types[unit.name]
            text = "input" if unit.name in {tensor.name for tensor in graph.inputs} else "from outside"
            return _Face("input", unit.name, _shape(shape.shape), text, f"{text}: {unit.name} {shape}")
        total = sum((self.costs[node.name] for node in unit.nodes), LayerCost())
        shape_text = _shape(graph.types[unit.nodes[-1].name].shape)
        work = f"output {shape_text}, {total.params:,} parameters, {count(total.macs) or 0} MACs"
        if unit.is_block:
            repeat = f"{unit.repeat} blocks, " if unit.repeat > 1 else ""
            macs = f", {count(total.macs)} MACs" if total.macs else ""
            text = f"{repeat}{len(unit.nodes)} layers"
            return _Face("block", _label(unit, prefix), shape_text, text + macs, f"{_label(unit)}: {text}\n{work}")
        words = [describe(node.op, graph.input_types(node)) for node in unit.nodes]
        names = ", ".join(node.name for node in unit.nodes)
        title = unit.title.removeprefix(prefix)
        tooltip = f"{names}\n{', '.join(words)}\n{work}"
        return _Face(family(graph, unit.nodes[0]), title, shape_text, " · ".join(words), tooltip)


def _outside(units: Sequence[Unit]) -> tuple[Unit, ...]:
    """The tensors that the units of a block read and none of them makes."""
    inside = {name for unit in units for name in unit.makes}
    return tuple(
        Unit(name) for name in dict.fromkeys(name for unit in units for name in unit.takes) if name not in inside
    )


def _label(unit: Unit, prefix: str = "") -> str:
    """The block's name, or those of the first and last of several."""
    name = unit.name.removeprefix(prefix)
    return f"{name} … {unit.last.rpartition('/')[2]}" if unit.last else name


def _fitted(text: str, room: float, *, end: bool = False) -> str:
    """As much of `text` as has room, the beginning or the end of it."""
    letters = max(int(room / LETTER), 4)
    if end:
        return shortened(text, letters)
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _bends(units: Sequence[Unit]) -> int:
    """At most so many bends do the edges have: each passes the ranks between its ends."""
    maker = {name: place for place, unit in enumerate(units) for name in unit.makes}
    farthest: dict[int, int] = {}
    for place, unit in enumerate(units):
        for name in unit.takes:
            if name in maker:
                farthest[maker[name]] = place
    return sum(stop - start for start, stop in farthest.items())


def _path(route: Sequence[Point]) -> str:
    """Path data: straight down within ranks, curves between them."""
    x, y = route[0]
    text = f"M{_n(x + MARGIN)} {_n(y + MARGIN)}"
    for place, (to_x, to_y) in enumerate(route[1:]):
        if place % 2 == 1 or abs(to_x - x) < 0.5:
            text += f"L{_n(to_x + MARGIN)} {_n(to_y + MARGIN)}"
        else:
            middle = (y + to_y) / 2 + MARGIN
            old, new = _n(x + MARGIN), _n(to_x + MARGIN)
            text += f"C{old} {_n(middle)} {new} {_n(middle)} {new} {_n(to_y + MARGIN)}"
        x, y = to_x, to_y
    return text


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[1:]))


__all__ = ["BlockDrawing", "Box", "Drawing", "NetworkDrawing", "draw_network", "family"]
