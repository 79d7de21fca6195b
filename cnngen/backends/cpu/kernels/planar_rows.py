"""Winograd's convolution along the height of an image with one channel: vectors run along the width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.cpu.kernels.base import Epilogue, Kernel, Strides
from cnngen.errors import PlanError
from cnngen.winograd import Filtering
from cnngen.winograd_rows import ROW_TILES, along_height


@dataclass(frozen=True)
class PlanarRowsKernel(Kernel):
    """F(`tile`, `taps`) along the height on one channel, for results of `shape` (n, h, w, filters), which are `pool`ed.

    For one vector of pixels the products of all transformed rows and of `filters_tile` filters are in registers; their
    results, pooled along the height, wait on the stack until the rows of a tile are complete. Then they are pooled
    along the width and stored: as they are where the pixels of a channel lie side by side (planes), else one by one.
    Weights: [filter tile][column][transformed row][filter].
    """

    template: ClassVar[str] = "conv2d_planar_rows.c.j2"
    tile: int
    taps: int
    columns: int
    dilation: int
    shape: tuple[int, int, int, int]
    pool: tuple[int, int]
    in_strides: Strides
    out_strides: Strides
    filters_tile: int
    has_bias: bool
    epilogue: Epilogue

    @property
    def label(self) -> str:
        _, height, width, filters = self.shape
        pooled = f"_max{self.pool[0]}x{self.pool[1]}" if self.pool != (1, 1) else ""
        return (
            f"planar_{self.tile}rows{self.taps}x{self.columns}_o{filters}_{height}x{width}_x{self.filters_tile}"
            f"{self.epilogue.suffix}{pooled}{'_planes' if self.planes else ''}"
        )

    @property
    def title(self) -> str:
        """What the kernel computes, for people."""
        _, height, width, filters = self.shape
        pooled = f", then the maxima of {self.pool[0]}x{self.pool[1]} windows" if self.pool != (1, 1) else ""
        return (
            f"Winograd's convolution F({self.tile}, {self.taps}) along the height of one channel: {filters} filters, "
            f"{height}x{width}{pooled}."
        )

    @property
    def size(self) -> int:
        """Rows of the input that a tile sees, and products that make its results."""
        return self.filtering.size

    @property
    def filtering(self) -> Filtering:
        """The algorithm along the height."""
        return along_height(self.tile, self.taps, 1)

    @property
    def tiles(self) -> int:
        """Tiles of an image."""
        return -(-self.shape[1] // self.tile)

    @property
    def count(self) -> int:
        """Units of work: tiles of all images."""
        return self.shape[0] * self.tiles

    @property
    def row(self) -> int:
        """Floats of an input row that its results read."""
        return self.shape[2] + self.dilation * (self.columns - 1)

    @property
    def span(self) -> int:
        """Results of a row, up to whole vectors before and behind the pooling."""
        step = self.lanes * self.pool[1]
        return -(-self.shape[2] // step) * step

    @property
    def room(self) -> int:
        """Floats of a transformed row, up to the end of the last vector that is read or written there."""
        read = -(-self.shape[2] // self.lanes) * self.lanes + self.dilation * (self.columns - 1)
        return -(-max(read, self.row) // self.lanes) * self.lanes

    @property
    def pooled(self) -> tuple[int, int]:
        """Rows of results of a tile, and results of a row, behind the pooling."""
        return self.tile // self.pool[0], self.shape[2] // self.pool[1]

    @property
    def rest(self) -> int:
        """Pooled rows of an image's last tile where that is not whole, else 0."""
        return self.shape[1] % self.tile // self.pool[0]

    @property
    def passes(self) -> list[tuple[int, int]]:
        """First filter and number of filters of every pass over the transformed rows."""
        step, filters = self.filters_tile, self.shape[3]
        return [(first, min(step, filters - first)) for first in range(0, filters, step)]

    @property
    def pass_sizes(self) -> list[int]:
        """Every number of filters that a pass takes."""
        return list(dict.fromkeys(count for _, count in self.passes))

    @property
    def planes(self) -> bool:
        """Whether the pixels of a channel lie side by side."""
        return self.out_strides[2] == 1 and self.shape[3] > 1

    @property
    def by_vectors(self) -> bool:
        """Whether results are stored by vectors: a plane behind a pooling that vectors can do."""
        return self.out_strides[2] == 1 and self.pool[1] <= 2

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        weights = self.size * self.columns * self.shape[3]
        return (weights, self.shape[3]) if self.has_bias else (weights,)

    def verify(self) -> None:
        if self.tile not in ROW_TILES.get(self.taps, ()):
            raise PlanError(f"there is no F({self.tile}, {self.taps})")
        if self.tile % self.pool[0] or self.shape[1] % self.pool[0] or self.shape[2] % self.pool[1]:
            raise PlanError(f"windows of {self.pool} do not divide {self.shape} in tiles of {self.tile} rows")
        if self.pool != (1, 1) and not self.epilogue.passes_maxima:
            raise PlanError(f"{self.epilogue} of a maximum is not the maximum of its values")
        if sum(count for _, count in self.passes) != self.shape[3] or self.in_strides[2] != 1:
            raise PlanError(f"passes {self.passes} do not cover {self.shape[3]} filters, or pixels lie apart")
