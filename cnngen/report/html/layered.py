"""A layered drawing of a DAG: ranks from top to bottom, few crossings, straight long edges.

The method is Sugiyama, Tagawa, Toda, "Methods for Visual Understanding of Hierarchical System
Structures", IEEE SMC, 1981: rank, order within ranks by barycentres, then coordinates. All lengths are
in the drawing's own units, which the page takes for CSS pixels.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

BETWEEN_RANKS = 26.0
BETWEEN_BOXES = 18.0
BEND_WIDTH = 10.0
"""Room for an edge that passes a rank in which it has no box."""
ORDER_SWEEPS = 8
PLACE_SWEEPS = 10
WEIGHTS = (0.001, 0.001, 1.0, 0.2)
"""Of what a cell wants: with no neighbour; box and bend; box and box; bends in a line."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Layered:
    """Where the boxes and edges of a DAG lie: `lefts` and `tops` of the boxes, the points of every edge.

    An edge begins at the bottom of one box, ends at the top of another, and passes ranks between
    them vertically: from its second point on, points come in pairs (top and bottom of a rank).
    """

    lefts: tuple[float, ...]
    tops: tuple[float, ...]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


@dataclass
class _Cell:
    """A place in a rank: a box, or a bend of the long edges that leave box `box`."""

    box: int
    rank: int
    width: float
    bend: bool
    above: list[int]
    below: list[int]
    x: float = 0.0


def layered(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layered:
    """Place boxes of the given (width, height), numbered in topological order, and route the edges between them.

    Raises `ValueError` if an edge leads backwards.
    """
    if any(start >= stop for start, stop in edges):
        raise ValueError("boxes are not in topological order")
    ranks = _ranks(len(sizes), edges)
    cells, bends = _cells(sizes, edges, ranks)
    order = _ordered(cells)
    _place(cells, order)

    heights = [max((sizes[cells[c].box][1] for c in row if not cells[c].bend), default=0.0) for row in order]
    tops = [0.0]
    for height in heights:
        tops.append(tops[-1] + height + BETWEEN_RANKS)
    left = min((cell.x - cell.width / 2 for cell in cells), default=0.0)
    right = max((cell.x + cell.width / 2 for cell in cells), default=0.0)
    for cell in cells:
        cell.x -= left

    routes = []
    for start, stop in edges:
        middle = [cells[bends[start, rank]].x for rank in range(ranks[start] + 1, ranks[stop])]
        first = _port(cells[start], middle[0] if middle else cells[stop].x)
        last = _port(cells[stop], middle[-1] if middle else cells[start].x)
        points: list[Point] = [(first, tops[ranks[start]] + sizes[start][1])]
        for rank, x in enumerate(middle, ranks[start] + 1):
            points += [(x, tops[rank]), (x, tops[rank] + heights[rank])]
        points.append((last, tops[ranks[stop]]))
        routes.append(tuple(points))
    return Layered(
        lefts=tuple(cells[i].x - cells[i].width / 2 for i in range(len(sizes))),
        tops=tuple(tops[ranks[i]] for i in range(len(sizes))),
        routes=tuple(routes),
        width=right - left,
        height=max(tops[-1] - BETWEEN_RANKS, 0.0),
    )


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The longest path to each box; what nothing leads to stands right above the first box that it leads to."""
    ranks, entered = [0] * count, [False] * count
    for start, stop in sorted(edges, key=lambda edge: edge[1]):
        ranks[stop] = max(ranks[stop], ranks[start] + 1)
        entered[stop] = True
    for box in range(count):
        below = [ranks[stop] for start, stop in edges if start == box] if not entered[box] else []
        if below:
            ranks[box] = min(below) - 1
    return ranks


def _cells(
    sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]], ranks: Sequence[int]
) -> tuple[list[_Cell], dict[tuple[int, int], int]]:
    """Boxes, then bends; all long edges out of one box share their bends, which are found by (box, rank)."""
    cells = [_Cell(i, ranks[i], width, False, [], []) for i, (width, _) in enumerate(sizes)]
    bends: dict[tuple[int, int], int] = {}
    for start, stop in edges:
        last = start
        for rank in range(ranks[start] + 1, ranks[stop]):
            if (start, rank) not in bends:
                bends[start, rank] = len(cells)
                cells.append(_Cell(start, rank, BEND_WIDTH, True, [last], []))
                cells[last].below.append(bends[start, rank])
            last = bends[start, rank]
        cells[last].below.append(stop)
        cells[stop].above.append(last)
    return cells, bends


def _ordered(cells: list[_Cell]) -> list[list[int]]:
    """The cells of each rank from left to right: the order with the fewest crossings of a few sweeps."""
    order: list[list[int]] = [[] for _ in range(max((cell.rank for cell in cells), default=-1) + 1)]
    for index in sorted(range(len(cells)), key=lambda i: (cells[i].bend, cells[i].box)):
        order[cells[index].rank].append(index)
    best, fewest = [row[:] for row in order], _crossings(cells, order)
    for sweep in range(ORDER_SWEEPS):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        position = {index: place for row in order for place, index in enumerate(row)}
        for row in order if down else reversed(order):
            middle = {}
            for index in row:
                near = cells[index].above if down else cells[index].below
                middle[index] = sum(position[n] for n in near) / len(near) if near else position[index]
            row.sort(key=lambda index: middle[index])
            position.update({index: place for place, index in enumerate(row)})
        crossings = _crossings(cells, order)
        if crossings < fewest:
            best, fewest = [row[:] for row in order], crossings
    return best


def _crossings(cells: list[_Cell], order: list[list[int]]) -> int:
    """Number of pairs of edges that cross."""
    position = {index: place for row in order for place, index in enumerate(row)}
    total = 0
    for row in order:
        seen: list[int] = []
        for index in row:
            ends = sorted(position[below] for below in cells[index].below)
            total += sum(len(seen) - bisect.bisect_right(seen, end) for end in ends)
            for end in ends:
                bisect.insort(seen, end)
    return total


def _place(cells: list[_Cell], order: list[list[int]]) -> None:
    """Give every cell its x: as near as possible to the neighbours that matter most, in the given order."""
    for row in order:
        _settle(cells, row, [(0.0, 1.0)] * len(row))
    for sweep in range(PLACE_SWEEPS):
        down = sweep % 2 == 0
        for row in order if down else reversed(order):
            _settle(cells, row, [_wanted(cells, index, down) for index in row])


def _wanted(cells: list[_Cell], index: int, down: bool) -> tuple[float, float]:
    """Mean x of the neighbours with the strongest claim, and how much it weighs: boxes make way for no bend."""
    cell = cells[index]
    near = cell.above if down else cell.below
    if not near:
        return cell.x, WEIGHTS[0]
    claims = [3 if cell.bend and cells[n].bend else 1 if cell.bend or cells[n].bend else 2 for n in near]
    strongest = [n for n, claim in zip(near, claims, strict=True) if claim == max(claims)]
    return sum(cells[n].x for n in strongest) / len(strongest), WEIGHTS[max(claims)]


def _settle(cells: list[_Cell], row: list[int], wanted: list[tuple[float, float]]) -> None:
    """Move the cells of a row to the wanted places, weighted least squares, without overlap.

    With the gaps subtracted that is an isotonic regression, which pooling adjacent violators solves.
    """
    shift, shifts = 0.0, []
    for before, index in zip([None, *row], row, strict=False):
        if before is not None:
            shift += (cells[before].width + cells[index].width) / 2 + BETWEEN_BOXES
        shifts.append(shift)
    pools: list[tuple[float, float, int]] = []  # mean, weight, number of cells
    for (target, weight), shift in zip(wanted, shifts, strict=True):
        mean, count = target - shift, 1
        while pools and pools[-1][0] > mean:
            other, more, cells_more = pools.pop()
            mean = (mean * weight + other * more) / (weight + more)
            weight, count = weight + more, count + cells_more
        pools.append((mean, weight, count))
    places = [mean for mean, _, count in pools for _ in range(count)]
    for index, place, shift in zip(row, places, shifts, strict=True):
        cells[index].x = place + shift


def _port(cell: _Cell, towards: float) -> float:
    """Where an edge meets a box: straight towards where it leads, as far as the middle half of the box allows."""
    return min(max(towards, cell.x - cell.width / 4), cell.x + cell.width / 4)
