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
    """Depthwise convolution: a row of `strips` pixels by one vector of channels in registers.

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

    @property
    def label(self) -> str:
        extras = ("_res" if self.has_residual else "") + self.epilogue.suffix
        pixels = math.prod(axis.count for axis in self.outer) * self.columns.count
        return f"{self.family}_c{self.channels}_p{pixels}_t{self.strips[0].pixels}{extras}"

    def columns_of(self, pixels: int) -> list[tuple[int, list[tuple[int, int]]]]:
        """For a tile of `pixels`: every input column it reads, with the (pixel, tap) pairs that use it."""
        uses: dict[int, list[tuple[int, int]]] = {}
        for pixel in range(pixels):
            for tap in range(self.kernel[1]):
                uses.setdefault(pixel * self.stride + tap * self.dilation, []).append((pixel, tap))
        return sorted(uses.items())

    @property
    def rows(self) -> int:
        return math.prod(axis.count for axis in self.outer)

    @property
    def tile_pixels(self) -> list[int]:
        """Every distinct tile height."""
        return list(dict.fromkeys(strip.pixels for strip in self.strips))

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
