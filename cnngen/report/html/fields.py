"""Receptive fields drawn on the input: what the centre and the corner element of a layer see.

Coordinates are pixels of the input: pixel i spans i to i + 1. The numbers are those of
`cnngen.analysis.receptive_field`, whose docstring names the source of the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cnngen.analysis.receptive_field import AxisField, Fields, ReceptiveField, step
from cnngen.ir import Graph, Node
from cnngen.ops import POINTWISE, Everything, Table, Window
from cnngen.report.inspect import field_text
from cnngen.report.inspect_data import field_row
from cnngen.report.inspect_ops import describe

LARGEST = (440.0, 400.0)
"""Width and height of a picture in CSS pixels, at most."""
GRID_UP_TO = 40
"""Pixels of an axis up to which they are drawn one by one."""
DOTS_UP_TO = 60
"""Elements of an axis up to which the centre of each is drawn."""
BEYOND, CUT = 1.0, 0.15
"""A field that reaches out of the image further than this, in sizes of the image, is cut this far out of it."""


@dataclass(frozen=True)
class Rect:
    """A rectangle of pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height


@dataclass(frozen=True)
class Seen:
    """The field of one element: `whole` as if the image had no border, `inside` what it really depends on.

    `inside` is None where that is padding only. `text` says both in words.
    """

    name: str
    whole: Rect
    inside: Rect | None
    centre: tuple[float, float]
    text: str


@dataclass(frozen=True)
class Dots:
    """The centres of all elements: one at the middle of each tile of this size."""

    area: Rect
    tile: tuple[float, float]


@dataclass(frozen=True)
class Picture:
    """The field on one input. `view` is the part of the plane that is shown, `scale` CSS pixels a pixel.

    The picture is `complete` where the fields as if there were no border lie in the view.
    """

    anchor: str
    origin: str
    image: Rect
    view: Rect
    complete: bool
    scale: float
    grid: bool
    dots: Dots | None
    elements: tuple[Seen, ...]
    facts: str


@dataclass(frozen=True)
class Figure:
    """The pictures of all layers that see the same; `derivation` shows how the numbers come about."""

    anchor: str
    layers: tuple[str, ...]
    op: str
    shape: str
    pictures: tuple[Picture, ...]
    derivation: tuple[str, ...]
    previous: str = ""
    next: str = ""


@dataclass(frozen=True)
class FieldFigures:
    """All figures in order, the anchor of each layer's figure, and the figure that is shown first."""

    figures: tuple[Figure, ...]
    of_layer: Mapping[str, str]
    default: str


def field_figures(graph: Graph, fields: Fields) -> FieldFigures:
    """A figure for every distinct field in a typed graph; none for what depends on no image."""
    groups: dict[object, list[Node]] = {}
    for node in graph.nodes:
        if fields[node.name]:
            groups.setdefault(_key(fields[node.name]), []).append(node)
    figures, of_layer = [], {}
    for number, nodes in enumerate(groups.values(), 1):
        anchor = f"field-{number}"
        of_layer.update({node.name: anchor for node in nodes})
        figures.append(_figure(graph, fields, nodes, anchor))
    linked = tuple(
        replace(
            figure,
            previous=figures[place - 1].anchor if place else "",
            next=figures[place + 1].anchor if place + 1 < len(figures) else "",
        )
        for place, figure in enumerate(figures)
    )
    convolutions = [node.name for node in graph.nodes if node.op.kind.startswith("conv2d") and node.name in of_layer]
    chosen = convolutions or list(of_layer)
    return FieldFigures(linked, of_layer, of_layer[chosen[-1]] if chosen else "")


def _key(fields: Mapping[str, ReceptiveField]) -> tuple[object, ...]:
    """What a figure shows of a field: all that has to be equal for layers to share it."""
    return tuple(
        (origin, axis.extent, axis.positions, axis.size, axis.jump, axis.interval(index), axis.support(index))
        for origin, field in fields.items()
        for axis in field.axes
        for index in (0, axis.positions // 2, axis.positions - 1)
    )


def _figure(graph: Graph, fields: Fields, nodes: Sequence[Node], anchor: str) -> Figure:
    first = nodes[0]
    return Figure(
        anchor=anchor,
        layers=tuple(node.name for node in nodes),
        op=describe(first.op, graph.input_types(first)),
        shape="x".join(map(str, graph.types[first.name].shape[1:])),
        pictures=tuple(
            _picture(f"{anchor}-{number}", origin, field)
            for number, (origin, field) in enumerate(fields[first.name].items())
        ),
        derivation=derivation(graph, fields, first),
    )


def derivation(graph: Graph, fields: Fields, node: Node) -> tuple[str, ...]:
    """How the field of a layer follows from that of its input, with its numbers; one line for each formula."""
    types = graph.input_types(node)
    if len(node.inputs) > 1:
        return ("Its field is the smallest rectangle that holds the fields of all its inputs.",)
    window = step(node, types, 0)
    if isinstance(window, Everything):
        return ("It takes in all positions of its input, so it sees what these see together.",)
    if isinstance(window, Table):
        return ()
    origin, before = next(iter(fields[node.inputs[0]].items()))
    after = fields[node.name][origin]
    if window == POINTWISE or window.repeat != (1, 1) or not before.clear:
        return ()
    lines = []
    same = _axis_facts(before, after, 0) == _axis_facts(before, after, 1) and _square(window)
    for axis, name in ((0, "" if same else "height: "), (1, "width: ")):
        if axis == 1 and same:
            continue
        size, jump, new_size, new_jump = _axis_facts(before, after, axis)
        kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
        lines.append(f"{name}size  {size} + {dilation} · ({kernel} − 1) · {jump} = {new_size}")
        lines.append(f"{name}jump  {stride} · {jump} = {new_jump}")
    return tuple(lines)


def _axis_facts(before: ReceptiveField, after: ReceptiveField, axis: int) -> tuple[object, ...]:
    old, new = before.axes[axis], after.axes[axis]
    return old.size, old.jump, new.size, new.jump


def _square(window: Window) -> bool:
    return all(len(set(pair)) == 1 for pair in (window.kernel, window.stride, window.dilation))


def _picture(anchor: str, origin: str, field: ReceptiveField) -> Picture:
    height, width = field.axes
    image = Rect(0, 0, width.extent, height.extent)
    corner = _seen("corner", field, 0, 0)
    centre = _seen("centre", field, height.positions // 2, width.positions // 2)
    # Where there is a single element, it is its own centre and corner.
    elements = (centre, corner) if height.positions * width.positions > 1 else (replace(centre, name="only"),)
    view, complete = _view(image, [element.whole for element in elements])
    return Picture(
        anchor=anchor,
        origin=origin,
        image=image,
        view=view,
        complete=complete,
        scale=min(LARGEST[0] / view.width, LARGEST[1] / view.height),
        grid=max(image.width, image.height) <= GRID_UP_TO,
        dots=_dots(field),
        elements=elements,
        facts=field_text(field_row(field)),
    )


def _seen(name: str, field: ReceptiveField, row: int, column: int) -> Seen:
    """The field of element (row, column)."""
    (top, bottom), (left, right) = field.height.interval(row), field.width.interval(column)
    whole = Rect(left, top, right - left + 1, bottom - top + 1)
    rows, columns = field.height.support(row), field.width.support(column)
    centre = (left + right + 1) / 2, (top + bottom + 1) / 2
    place = f"element ({row}, {column})"
    if rows is None or columns is None:
        return Seen(name, whole, None, centre, f"{place}: padding only")
    inside = Rect(columns[0], rows[0], columns[1] - columns[0] + 1, rows[1] - rows[0] + 1)
    text = (
        f"{place}: rows {rows[0]} to {rows[1]}, columns {columns[0]} to {columns[1]}, "
        f"{rows[1] - rows[0] + 1}x{columns[1] - columns[0] + 1} pixels"
    )
    if whole == inside:
        return Seen(name, whole, inside, centre, f"{text}; nothing is cut off")
    sides = {
        "above": rows[0] - top,
        "below": bottom - rows[1],
        "left": columns[0] - left,
        "right": right - columns[1],
    }
    cut = ", ".join(f"{pixels} {side}" for side, pixels in sides.items() if pixels > 0)
    percent = 100 * (1 - inside.area / whole.area)
    share = "under 1" if percent < 1 else f"{percent:.0f}"
    return Seen(name, whole, inside, centre, f"{text}; the border cuts off {cut} ({share} % of the field is padding)")


def _view(image: Rect, fields: Sequence[Rect]) -> tuple[Rect, bool]:
    """The image and the fields with a margin, and whether all of them has room.

    What reaches out of the image by more than its size is not followed: the image would be a dot.
    """
    reaches = [
        (max(-min(rect.x for rect in fields), 0), image.width),
        (max(-min(rect.y for rect in fields), 0), image.height),
        (max(max(rect.x + rect.width for rect in fields) - image.width, 0), image.width),
        (max(max(rect.y + rect.height for rect in fields) - image.height, 0), image.height),
    ]
    left, top, right, bottom = (reach if reach <= BEYOND * extent else CUT * extent for reach, extent in reaches)
    width, height = left + image.width + right, top + image.height + bottom
    margin = 0.03 * max(width, height)
    complete = all(reach <= BEYOND * extent for reach, extent in reaches)
    return Rect(-left - margin, -top - margin, width + 2 * margin, height + 2 * margin), complete


def _dots(field: ReceptiveField) -> Dots | None:
    """The centres of all elements, where they lie on a grid that is wide enough to be seen."""
    columns, rows = (_grid(field.width), _grid(field.height))
    if columns is None or rows is None or not field.spatial:
        return None
    return Dots(Rect(columns[0], rows[0], columns[1], rows[1]), (columns[2], rows[2]))


def _grid(axis: AxisField) -> tuple[float, float, float] | None:
    """Start, length and tile of the centres along an axis."""
    if not axis.clear or axis.paths[0].period > 1 or axis.jump <= 0 or axis.positions > DOTS_UP_TO:
        return None
    jump = float(axis.jump)
    return axis.centre + 0.5 - jump / 2, jump * axis.positions, jump
