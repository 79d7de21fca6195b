"""Kernels that normalise by the mean and variance of their input: over pixels, or over the channels of a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from cnngen.backends.cpu.kernels.base import Epilogue, Kernel, Strides
from cnngen.backends.norm_form import ImageNormForm, NormForm
from cnngen.errors import PlanError

BLOCK_CHANNELS = 64
"""Channels that a thread works on at a time: a few cache lines of every pixel."""


class ChannelTile(NamedTuple):
    """`repeat` register tiles of `vectors` vectors side by side, from channel `first` of a block on."""

    first: int
    vectors: int
    repeat: int
    tail: int


@dataclass(frozen=True)
class StatisticsKernel(NormForm, Kernel):
    """Base of both: gamma with `scale`, beta with `center`, then the epilogue."""

    shape: tuple[int, int, int, int]
    in_strides: Strides
    out_strides: Strides
    epsilon: float
    scale: bool
    center: bool
    epilogue: Epilogue

    @property
    def ending(self) -> str:
        return self.epilogue.suffix


@dataclass(frozen=True)
class ImageNormKernel(ImageNormForm, StatisticsKernel):
    """Over all pixels of the channels of a group; with `per_element` gamma and beta have the shape of the image.

    A thread takes some groups of one image at a time. Every channel is summed by itself, row by row, and
    the channels of a group in order, so that the result depends neither on the vectors nor on the threads.
    """

    template: ClassVar[str] = "image_norm.c.j2"
    groups: int
    per_element: bool

    @property
    def block_groups(self) -> int:
        """Groups that are worked on together."""
        return min(self.groups, max(1, BLOCK_CHANNELS // self.group_channels))

    @property
    def blocks(self) -> int:
        return -(-self.groups // self.block_groups)

    @property
    def last_groups(self) -> int:
        """Groups of the last block where they are fewer, else 0."""
        return self.groups % self.block_groups

    def tiles(self, groups: int) -> list[ChannelTile]:
        """Register tiles that cover the channels of so many groups: full ones, and what is left."""
        channels, width = groups * self.group_channels, 2 if self.lanes <= 8 else 4
        full, rest = divmod(channels, width * self.lanes)
        tiles = [ChannelTile(0, width, full, 0)] if full else []
        if rest:
            first = channels - rest
            tiles.append(ChannelTile(first, -(-rest // self.lanes), 1, rest % self.lanes))
        return tiles

    def verify(self) -> None:
        if self.shape[3] % self.groups:
            raise PlanError(f"{self.groups} groups do not divide {self.shape[3]} channels")
        for groups in {self.block_groups, self.last_groups} - {0}:
            end = 0
            for tile in self.tiles(groups):
                if tile.first != end:
                    raise PlanError(f"tile {tile} begins at {tile.first}, not at {end}")
                end += tile.repeat * tile.vectors * self.lanes - (self.lanes - tile.tail if tile.tail else 0)
            if end != groups * self.group_channels:
                raise PlanError(f"tiles cover {end} of {groups * self.group_channels} channels")


@dataclass(frozen=True)
class ChannelNormKernel(StatisticsKernel):
    """Over the channels of each pixel; with `grouped` the columns are groups with gamma and beta of their own."""

    template: ClassVar[str] = "channel_norm.c.j2"
    grouped: bool
    partial_sums: ClassVar[int] = 16
    """Fixed, so that the sums have the same bits on every ISA."""

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        return f"channel_norm_c{c}_p{n * h * w}{'_grouped' if self.grouped else ''}{self.suffix}"

    @property
    def affine_elements(self) -> int:
        return self.shape[3] * (self.shape[2] if self.grouped else 1)

    @property
    def chunk_vectors(self) -> int:
        """Vectors that hold the partial sums."""
        return self.partial_sums // self.lanes

    @property
    def whole(self) -> int:
        """Channels in chunks of as many as there are partial sums."""
        return self.shape[3] // self.partial_sums * self.partial_sums

    @property
    def rest(self) -> list[tuple[int, int, int]]:
        """The vectors behind them: partial sum, first channel, lanes in use (0: all)."""
        left = self.shape[3] - self.whole
        return [
            (index, self.whole + index * self.lanes, min(left - index * self.lanes, self.lanes) % self.lanes)
            for index in range(-(-left // self.lanes))
        ]

    @property
    def parts(self) -> int:
        """Partial sums that hold anything."""
        return min(self.partial_sums, self.shape[3])
