"""Convolutions of a special form: planes with few output channels, and one filter a channel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.cpu.kernels.base import Axis, Epilogue, Kernel, Strip, verify_strips
from cnngen.errors import PlanError


@dataclass(frozen=True)
class PlanarConvKernel(Kernel):
    """Convolution of planes with few output channels: the vector runs along the width.

    For an input whose pixels lie side by side (one channel, or channels-first) and stride 1 along
    the width. `vectors` vectors of pixels by `filters_tile` filters are in registers; results pass
    through a buffer on the stack to become channels-last. Weights: [filter tile][tap][filter].
    """

    template: ClassVar[str] = "conv2d_planar.c.j2"
    family: str
    outer: tuple[Axis, ...]
    columns: int
    filters: int
    filters_tile: int
    vectors: int
    taps: tuple[int, ...]
    out_pixel: int
    residual_pixel: int
    has_bias: bool
    has_residual: bool
    epilogue: Epilogue

    @property
    def label(self) -> str:
        extras = ("_res" if self.has_residual else "") + self.epilogue.suffix
        return (
            f"{self.family}_planar_o{self.filters}_p{math.prod(a.count for a in self.outer) * self.columns}"
            f"_t{self.vectors}vx{self.filters_tile}{extras}"
        )

    @property
    def rows(self) -> int:
        return math.prod(axis.count for axis in self.outer)

    @property
    def passes(self) -> list[tuple[int, int]]:
        """First filter and number of filters of every pass over a row."""
        step = self.filters_tile
        return [(first, min(step, self.filters - first)) for first in range(0, self.filters, step)]

    @property
    def spans(self) -> list[tuple[int, int, int]]:
        """First pixel, vectors and valid lanes of the last vector (0: all) of every tile of a row."""
        width = self.vectors * self.lanes
        spans = []
        for first in range(0, self.columns, width):
            pixels = min(width, self.columns - first)
            spans.append((first, -(-pixels // self.lanes), pixels % self.lanes))
        return spans

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        weights = len(self.taps) * self.filters
        return (weights, self.filters) if self.has_bias else (weights,)

    def verify(self) -> None:
        covered = sum((vectors - 1) * self.lanes + (tail or self.lanes) for _, vectors, tail in self.spans)
        if covered != self.columns or sum(count for _, count in self.passes) != self.filters:
            raise PlanError(f"tiles cover {covered} of {self.columns} pixels, filters {self.passes}")


@dataclass(frozen=True)
class DepthwiseKernel(Kernel):
    """Depthwise convolution: a tile of `tile_rows` rows by the pixels of a strip, one vector of channels, in registers.

    `outer` are the loops over images and rows, those over rows last; a row of input that is loaded serves every row of
    the tile that it reaches. Where the tiles do not divide the rows, the last ones of an image are less tall.
    Weights: [channel vector][kh][kw][lane]; the bias [channel vector][lane].
    """

    template: ClassVar[str] = "conv2d_depthwise.c.j2"
    family: str
    outer: tuple[Axis, ...]
    columns: Axis
    channels: int
    kernel: tuple[int, int]
    row_step: int
    """floats from one kernel row to the next in the input"""
    column_step: int
    """floats from one input pixel to the next"""
    stride: int
    dilation: int
    strips: tuple[Strip, ...]
    has_bias: bool
    has_residual: bool
    epilogue: Epilogue
    tile_rows: int = 1

    @property
    def label(self) -> str:
        extras = ("_res" if self.has_residual else "") + self.epilogue.suffix
        pixels = math.prod(axis.count for axis in self.outer) * self.columns.count
        return f"{self.family}_c{self.channels}_p{pixels}_t{self.tile_rows}x{self.strips[0].pixels}{extras}"

    def columns_of(self, pixels: int) -> list[tuple[int, list[tuple[int, int]]]]:
        """For a tile of `pixels`: every input column it reads, with the (pixel, tap) pairs that use it."""
        return _uses(pixels, self.stride, self.kernel[1], self.dilation)

    def rows_of(self, rows: int) -> list[tuple[int, list[tuple[int, int]]]]:
        """For a tile of `rows`: where every input row that it reads begins, with the (row, kernel row) pairs of it."""
        return _uses(rows, self.outer[-1].input, self.kernel[0], self.row_step)

    @property
    def rows(self) -> int:
        return math.prod(axis.count for axis in self.outer)

    @property
    def groups(self) -> int:
        """Rows of tiles in an image."""
        return -(-self.outer[-1].count // self.tile_rows)

    @property
    def rest(self) -> int:
        """Rows of the last tiles of an image where those are less tall, else 0."""
        return self.outer[-1].count % self.tile_rows

    @property
    def units(self) -> tuple[Axis, ...]:
        """The loops over images and rows of tiles."""
        rows, n = self.outer[-1], self.tile_rows
        return (*self.outer[:-1], Axis(self.groups, n * rows.input, n * rows.output, n * rows.residual))

    @property
    def unit_count(self) -> int:
        return math.prod(axis.count for axis in self.units)

    @property
    def tiles(self) -> list[tuple[int, int]]:
        """Rows and pixels of every distinct tile."""
        heights = [self.tile_rows] * (self.outer[-1].count >= self.tile_rows) + [self.rest] * (self.rest > 0)
        return list(dict.fromkeys((rows, strip.pixels) for rows in heights for strip in self.strips))

    @property
    def vectors(self) -> int:
        return -(-self.channels // self.lanes)

    @property
    def tail(self) -> int:
        return self.channels % self.lanes

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        weights = self.vectors * self.lanes * self.kernel[0] * self.kernel[1]
        return (weights, self.vectors * self.lanes) if self.has_bias else (weights,)

    def verify(self) -> None:
        verify_strips(self.strips, self.columns.count)
        if not 0 < self.tile_rows <= self.outer[-1].count:
            raise PlanError(f"tiles of {self.tile_rows} of {self.outer[-1].count} rows")


def _uses(count: int, stride: int, taps: int, step: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """Where `count` windows along an axis read: every place, with the (window, tap) pairs that use it."""
    uses: dict[int, list[tuple[int, int]]] = {}
    for window in range(count):
        for tap in range(taps):
            uses.setdefault(window * stride + tap * step, []).append((window, tap))
    return sorted(uses.items())
