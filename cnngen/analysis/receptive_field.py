"""Receptive fields: which part of every input an element of every tensor depends on.

Per axis, element i of a tensor depends on pixels ``first + i jump`` to ``first + i jump + size - 1``
of the input. A window of kernel k, stride s, dilation d behind a padding p takes

    size' = size + d (k - 1) jump,    jump' = s jump,    first' = first - p jump.

Source: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill,
2019. Behind an upsampling by u, element i sees what element ``i // u`` saw: ``jump' = jump / u`` may be
a fraction, and the ends of the field are then exact for each of the elements of a period (`Path`).
A transposed convolution of stride s is a window over the input with s - 1 zeros put between its
elements: ``jump' = jump / s``, and the elements of a period may see more, less or nothing.

Where paths of a graph meet, the field is the smallest interval that holds both; where they disagree
in jump, it differs from element to element and `clear` is False.

That closed form speaks of an image without borders. `AxisField.start` and `stop` are exact for the
image that the network takes: they leave out what lies in the padding of any layer. The axes are
height and width of the input, wherever they lie in a tensor; fields are unions over the channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from cnngen.ir import Array, Graph, Node, TensorType
from cnngen.ops import (
    POINTWISE,
    Conv2D,
    Conv2DTranspose,
    Elementwise,
    Everything,
    Field,
    Softmax,
    Table,
    Transpose,
    Window,
)

NOTHING = int(np.iinfo(np.int64).max)
"""Start of a field that is empty because a window meets nothing but zeros; stop is -1, of a path -NOTHING."""
MAX_PERIOD = 1024
"""Longest period of a path; one of a longer period is given as what all positions together see."""


@dataclass(frozen=True)
class Path:
    """All paths of one jump: element i sees pixels ``first[r] + q shift`` to ``last[r] + q shift``.

    q and r are quotient and remainder of i by the period, which is the length of `first` and `last`
    and 1 where nothing is upsampled. An element that sees nothing begins at NOTHING and ends at -NOTHING.
    """

    shift: int
    first: tuple[int, ...]
    last: tuple[int, ...]

    @property
    def period(self) -> int:
        return len(self.first)

    @property
    def jump(self) -> Fraction:
        """Distance of the fields of neighbours, on average over a period."""
        return Fraction(self.shift, self.period)

    def start(self, index: int) -> int:
        """First pixel that element `index` sees."""
        turns, position = divmod(index, self.period)
        first = self.first[position]
        return first if first == NOTHING else first + turns * self.shift

    def stop(self, index: int) -> int:
        """Last pixel that element `index` sees."""
        turns, position = divmod(index, self.period)
        last = self.last[position]
        return last if last == -NOTHING else last + turns * self.shift


@dataclass(frozen=True, eq=False)
class AxisField:
    """The receptive field of a tensor along one axis of one input, in pixels of that input.

    `extent` is the size of the input; `start` and `stop` hold, for each of the tensor's positions
    along this axis, the first and last pixel that it depends on. `paths` has one entry per jump.
    """

    extent: int
    paths: tuple[Path, ...]
    start: Array
    stop: Array

    @property
    def clear(self) -> bool:
        """Whether all paths from the input agree in jump."""
        return len(self.paths) == 1

    @property
    def jump(self) -> Fraction:
        """Distance of the fields of neighbours; 0 if all are the same. The largest if not `clear`.

        A fraction behind an upsampling: with 1/2 two neighbours see the same, the next two one pixel on.
        """
        return max(path.jump for path in self.paths)

    @property
    def size(self) -> int:
        """Number of pixels that one element sees, borders apart; the most of any where they differ."""
        # In steps of all periods the ends are a minimum and a maximum of lines: their distance is convex
        # in the index, so it is largest within one period of either end.
        return max(max(stop - start + 1, 0) for start, stop in map(self.interval, self._ends))

    @property
    def centre(self) -> float:
        """Middle of the first element's field; pixel i spans i - 1/2 to i + 1/2.

        Where the first element sees nothing, it is where the next one that does says it would be.
        """
        for index in range(self.positions):
            start, stop = self.interval(index)
            if start <= stop:
                return (start + stop) / 2 - float(index * self.jump)
        return 0.0

    @property
    def padding(self) -> tuple[int, int]:
        """How far the fields of the first and of the last elements reach out of the image."""
        ends = [self.interval(index) for index in self._ends]
        return max(0, *(-start for start, _ in ends)), max(0, *(stop - self.extent + 1 for _, stop in ends))

    @property
    def _ends(self) -> list[int]:
        """The elements of the first and of the last period."""
        period = math.lcm(*(path.period for path in self.paths))
        return [*range(min(period, self.positions)), *range(max(self.positions - period, 0), self.positions)]

    @property
    def positions(self) -> int:
        """Size of the tensor along this axis."""
        return len(self.start)

    @property
    def sees_everything(self) -> bool:
        """Whether the field of every element reaches from the first to the last pixel."""
        return bool((self.start <= 0).all() and (self.stop >= self.extent - 1).all())

    @property
    def largest(self) -> int:
        """Most pixels between the first and the last one that any element depends on, ends included."""
        return int(np.max(np.where(self.stop < 0, 0, self.stop - self.start + 1)))

    def interval(self, index: int) -> tuple[int, int]:
        """First and last pixel of the field of element `index`, as if the image had no borders.

        The last is below the first where the element sees nothing whatever the image is.
        """
        return (
            min(path.start(index) for path in self.paths),
            max(path.stop(index) for path in self.paths),
        )

    def support(self, index: int) -> tuple[int, int] | None:
        """First and last pixel of the image that element `index` depends on; None if it is padding only."""
        if self.stop[index] < 0:
            return None
        return int(self.start[index]), int(self.stop[index])


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """Fields along height and width of one input; `spatial` is False behind a flatten."""

    height: AxisField
    width: AxisField
    spatial: bool = True

    @property
    def axes(self) -> tuple[AxisField, AxisField]:
        return self.height, self.width

    @property
    def clear(self) -> bool:
        return self.height.clear and self.width.clear

    @property
    def sees_everything(self) -> bool:
        return self.height.sees_everything and self.width.sees_everything


Fields = Mapping[str, Mapping[str, ReceptiveField]]
"""For every tensor, by the name of each image input that it depends on, its field."""


def receptive_fields(graph: Graph) -> Fields:
    """Fields of all tensors of a typed graph relative to all inputs of rank 4.

    A tensor that does not depend on an input has no entry for it; inputs of rank 2 have no axes.
    """
    fields: dict[str, dict[str, ReceptiveField]] = {}
    for tensor in graph.inputs:
        fields[tensor.name] = {tensor.name: own_field(graph, tensor.name)} if len(tensor.type.shape) == 4 else {}
    for node in graph.nodes:
        merged: dict[str, ReceptiveField] = {}
        for position, name in enumerate(node.inputs):
            window = step(node, graph.input_types(node), position)
            for origin, field in fields[name].items():
                seen = through(field, window, graph.types[node.name])
                merged[origin] = union(merged[origin], seen) if origin in merged else seen
        fields[node.name] = merged
    return fields


def image_axes(graph: Graph, name: str) -> tuple[int, int]:
    """Which axes of an input are height and width: (2, 3) where it is moved to channels-last first."""
    readers = [node.op for node in graph.nodes if name in node.inputs]
    channels_first = bool(readers) and all(op == Transpose((0, 2, 3, 1)) for op in readers)
    return (2, 3) if channels_first else (1, 2)


def own_field(graph: Graph, name: str) -> ReceptiveField:
    """The field of an input relative to itself: every pixel sees itself."""
    shape = graph.types[name].shape
    height, width = (
        AxisField(shape[axis], (Path(1, (0,), (0,)),), np.arange(shape[axis]), np.arange(shape[axis]))
        for axis in image_axes(graph, name)
    )
    return ReceptiveField(height, width)


def step(node: Node, types: Sequence[TensorType], position: int) -> Field:
    """What `node` sees of its input number `position`."""
    if isinstance(node.op, Conv2D | Conv2DTranspose) and position == 1:
        return POINTWISE  # the residual
    if isinstance(node.op, Elementwise):
        return node.op.seen(types, position)
    if isinstance(node.op, Softmax) and len(types[0].shape) == 2:
        return Everything()  # the axis it normalises holds the positions too
    if isinstance(node.op, Transpose) and node.op.axes not in ((0, 2, 3, 1), (0, 3, 1, 2)):
        return Everything()  # mixes the image's axes; no layout of a network does
    return node.op.field(types)


def through(field: ReceptiveField, window: Field, output: TensorType) -> ReceptiveField:
    """The field behind an op with this window whose output has type `output`."""
    spatial = field.spatial and len(output.shape) == 4
    if isinstance(window, Everything):
        rows, columns = output.shape[1:3] if len(output.shape) == 4 else (1, 1)
        return ReceptiveField(collapsed(field.height, rows), collapsed(field.width, columns), spatial)
    if window == POINTWISE:
        return replace(field, spatial=spatial)
    height, width = (
        tabled(axis_field, window, axis)
        if isinstance(window, Table)
        else slid(axis_field, window, axis, output.shape[1 + axis])
        for axis, axis_field in enumerate(field.axes)
    )
    return ReceptiveField(height, width, spatial)


def slid(field: AxisField, window: Window, axis: int, positions: int) -> AxisField:
    """The field behind a window that takes `positions` steps along `axis`."""
    stride, repeat = window.stride[axis], window.repeat[axis]
    paths = []
    if repeat > 1 and field.positions == 1:  # a single position, repeated: all elements see the same
        start, stop = field.interval(0)
        field = replace(field, paths=(Path(0, (start,), (stop,)),))
    for path in field.paths:
        # After so many steps the window stands as it did, whole turns of the path further on.
        turn = repeat * path.period
        alike = path.shift == 0 and path.period == 1 and not window.zeros_between
        period = 1 if alike else turn // math.gcd(turn, stride)
        if period > MAX_PERIOD:
            paths.append(still(path, field.positions))
            continue
        ends = [_seen(path, window_reads(window, axis, index)) for index in range(period)]
        shift = path.shift * (period * stride // turn)
        paths.append(Path(shift, tuple(start for start, _ in ends), tuple(stop for _, stop in ends)))
    taps, inside = window_taps(window, axis, field.positions, positions)
    start = np.where(inside, field.start[taps], NOTHING).min(axis=1)
    stop = np.where(inside, field.stop[taps], -1).max(axis=1)
    return AxisField(field.extent, tuple(paths), start, stop)


def tabled(field: AxisField, table: Table, axis: int) -> AxisField:
    """The field behind an op whose outputs along `axis` read the elements that a table names."""
    reads = table.reads[axis]
    first = np.array([min(row, default=NOTHING) for row in reads])
    last = np.array([max(row, default=-NOTHING) for row in reads])
    period, turn = repetition(first, last, field.positions)
    if field.positions == 1:  # a single position: all elements see the same
        start, stop = field.interval(0)
        field = replace(field, paths=(Path(0, (start,), (stop,)),))
    paths = []
    for path in field.paths:
        times = path.period // math.gcd(path.period, turn)
        if period * times > MAX_PERIOD:
            paths.append(still(path, field.positions))
            continue
        ends = []
        for index in range(period * times):
            row, on = reads[index % period], index // period * turn
            ends.append(_seen(path, [element + on for element in row]))
        shift = path.shift * (times * turn // path.period)
        paths.append(Path(shift, tuple(start for start, _ in ends), tuple(stop for _, stop in ends)))
    taps, inside = window_taps(table, axis, field.positions, len(reads))
    start = np.where(inside, field.start[taps], NOTHING).min(axis=1)
    stop = np.where(inside, field.stop[taps], -1).max(axis=1)
    return AxisField(field.extent, tuple(paths), start, stop)


def repetition(first: Array, last: Array, size: int) -> tuple[int, int]:
    """After how many outputs a table repeats itself, and how many elements further on; at the latest, the whole."""
    if first.max() != NOTHING:
        for period in range(1, min(len(first) // 2, MAX_PERIOD) + 1):
            turns = np.concatenate([first[period:] - first[:-period], last[period:] - last[:-period]])
            if np.all(turns == turns[0]):
                return period, int(turns[0])
    return len(first), size


def window_reads(window: Window, axis: int, index: int) -> list[int]:
    """The elements of an endless tensor that a window reads at step `index`, one for each tap that reads."""
    first = index * window.stride[axis] - window.padding[2 * axis]
    repeat = window.repeat[axis]
    taps = [first + tap * window.dilation[axis] for tap in range(window.kernel[axis])]
    return [tap // repeat for tap in taps if not (window.zeros_between and tap % repeat)]


def _seen(path: Path, elements: Sequence[int]) -> tuple[int, int]:
    """First and last pixel that any of these elements sees along `path`."""
    start = min((path.start(element) for element in elements), default=NOTHING)
    return start, max((path.stop(element) for element in elements), default=-NOTHING)


def window_taps(window: Window | Table, axis: int, size: int, positions: int) -> tuple[Array, Array]:
    """For each step and tap of a window the index it reads, and whether that is an element of the tensor.

    Both have shape (positions, kernel); what lies in the padding is given as 0 and not inside.
    """
    if isinstance(window, Table):
        reads = window.reads[axis]
        taps = np.zeros((positions, max(1, *map(len, reads))), np.int64)
        inside = np.zeros(taps.shape, bool)
        for number, row in enumerate(reads):
            taps[number, : len(row)] = np.clip(row, 0, size - 1)
            inside[number, : len(row)] = True
        return taps, inside
    steps = np.arange(positions) * window.stride[axis] - window.padding[2 * axis]
    taps, rest = np.divmod(steps[:, None] + window.dilation[axis] * np.arange(window.kernel[axis]), window.repeat[axis])
    if window.border == "reflect":
        taps = size - 1 - np.abs(size - 1 - np.abs(taps))
    elif window.border == "edge":
        taps = np.clip(taps, 0, size - 1)
    inside = (taps >= 0) & (taps < size)
    if window.zeros_between:
        inside &= rest == 0
    return np.where(inside, taps, 0), inside


def collapsed(field: AxisField, positions: int = 1) -> AxisField:
    """The field of `positions` elements that depend on all positions: what these see together."""
    start, stop = np.repeat(field.start.min(), positions), np.repeat(field.stop.max(), positions)
    if stop[0] < 0:
        return AxisField(field.extent, (Path(0, (NOTHING,), (-NOTHING,)),), start, stop)
    return AxisField(field.extent, (Path(0, (int(start[0]),), (int(stop[0]),)),), start, stop)


def both(a: Path, b: Path, positions: int) -> Path:
    """Two paths of one jump, to a tensor of so many positions, as one."""
    period = math.lcm(a.period, b.period)
    if period > MAX_PERIOD:
        a, b, period = still(a, positions), still(b, positions), 1
    return Path(
        a.shift * (period // a.period),
        tuple(min(a.start(index), b.start(index)) for index in range(period)),
        tuple(max(a.stop(index), b.stop(index)) for index in range(period)),
    )


def still(path: Path, positions: int) -> Path:
    """What all positions together see along `path`: the same for every element, so jump 0."""
    head, tail = range(min(path.period, positions)), range(max(positions - path.period, 0), positions)
    return Path(0, (min(map(path.start, head)),), (max(map(path.stop, tail)),))


def union(a: ReceptiveField, b: ReceptiveField) -> ReceptiveField:
    """The field of a tensor that two tensors of these fields flow into."""
    return ReceptiveField(joined(a.height, b.height), joined(a.width, b.width), a.spatial and b.spatial)


def joined(a: AxisField, b: AxisField) -> AxisField:
    """Paths of one jump become one; with a single position the jump does not matter."""
    if a.positions != b.positions:  # flattened tensors of different size: positions no longer correspond
        a, b = collapsed(a), collapsed(b)
    by_jump: dict[Fraction, Path] = {}
    for path in (*a.paths, *b.paths):
        by_jump[path.jump] = both(by_jump[path.jump], path, a.positions) if path.jump in by_jump else path
    paths = tuple(by_jump[jump] for jump in sorted(by_jump))
    if a.positions == 1:
        jump = paths[-1].jump
        first, last = min(path.start(0) for path in paths), max(path.stop(0) for path in paths)
        paths = (Path(jump.numerator, (first,) * jump.denominator, (last,) * jump.denominator),)
    return AxisField(a.extent, paths, np.minimum(a.start, b.start), np.maximum(a.stop, b.stop))
