"""Winograd's convolution along the height: transforms of rows around sums along the width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.cpu.kernels.base import Epilogue, Kernel, Strides
from cnngen.backends.cpu.kernels.convolution import ConvKernel
from cnngen.errors import PlanError
from cnngen.winograd import Filtering
from cnngen.winograd_rows import ROW_TILES, along_height


@dataclass(frozen=True)
class WinogradRowsKernel(Kernel):
    """F(`tile`, `taps`/`step`) along the height for results of `shape` (n, h, w, filters), of which `pool` windows are
    pooled.

    `tile` rows of results come from `size` times `step` rows of the input, transformed as `row` floats each, whatever
    pixels and channels they are: each `step` rows together. `product` has one group for each transformed row and sums
    along the width; its rows are those of `block` tiles. Each of `threads` has scratch memory of its own for a block.
    """

    template: ClassVar[str] = "winograd_rows.c.j2"
    tile: int
    taps: int
    step: int
    shape: tuple[int, int, int, int]
    pool: tuple[int, int]
    row: int
    in_strides: Strides
    out_strides: Strides
    residual_strides: Strides | None
    product: ConvKernel
    block: int
    threads: int
    has_bias: bool
    epilogue: Epilogue

    @property
    def label(self) -> str:
        _, height, width, filters = self.shape
        extras = ("_res" if self.has_residual else "") + self.epilogue.suffix
        extras += f"_max{self.pool[0]}x{self.pool[1]}" if self.pool != (1, 1) else ""
        step = f"s{self.step}" if self.step > 1 else ""
        return (
            f"winograd_{self.tile}rows{self.taps}{step}_r{self.row}_o{filters}_{height}x{width}_b{self.block}{extras}"
        )

    @property
    def title(self) -> str:
        """What the kernel computes, for people."""
        images, height, width, filters = self.shape
        whole = f"{height}x{width}" + (f" in {images} images" if images > 1 else "")
        whole += f", then the maxima of {self.pool[0]}x{self.pool[1]} windows" if self.pool != (1, 1) else ""
        at_once = f"; {self.block} tiles at a time" if self.block > 1 else ""
        return (
            f"Winograd's convolution {self.algorithm} along the height: rows of {self.row} floats, "
            f"{filters} output channels, {whole}{at_once}."
        )

    @property
    def algorithm(self) -> str:
        """As people write it: F(4, 5), and F(4, 7/2) for steps of 2."""
        return f"F({self.tile}, {self.taps}" + (f"/{self.step})" if self.step > 1 else ")")

    @property
    def has_residual(self) -> bool:
        return self.residual_strides is not None

    @property
    def size(self) -> int:
        """Rows of the input (or of `step` together) that a tile sees, and products that make its results."""
        return self.filtering.size

    @property
    def filtering(self) -> Filtering:
        """The algorithm along the height."""
        return along_height(self.tile, self.taps, self.step)

    @property
    def tiles(self) -> int:
        """Tiles of an image."""
        return -(-self.shape[1] // self.tile)

    @property
    def count(self) -> int:
        """Tiles of all images."""
        return self.shape[0] * self.tiles

    @property
    def blocks(self) -> int:
        """Units of work."""
        return self.count // self.block

    @property
    def rest(self) -> int:
        """Pooled rows of an image's last tile where that is not whole, else 0."""
        return self.shape[1] % self.tile // self.pool[0]

    @property
    def pooled(self) -> tuple[int, int]:
        """Rows of results of a tile, and results of a row, behind the pooling."""
        return self.tile // self.pool[0], self.shape[2] // self.pool[1]

    @property
    def in_row(self) -> int:
        """From a transformed row of one tile to that of the next."""
        return self.product.group_step // self.block

    @property
    def phase_row(self) -> int:
        """From a transformed row to that of the next of `step` rows together."""
        return self.in_row // self.step

    @property
    def out_row(self) -> int:
        """From the products of one tile to those of the next."""
        return self.product.group_output // self.block

    @property
    def out_pixel(self) -> int:
        """From the products of one pixel to those of the next."""
        return self.out_row // self.shape[2]

    @property
    def in_floats(self) -> int:
        """Scratch memory for the transformed rows of a block."""
        return self.size * self.product.group_step

    @property
    def scratch_floats(self) -> int:
        """Scratch memory of one thread."""
        return self.in_floats + self.size * self.product.group_output

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        biases = -(-self.shape[3] // self.lanes) * self.lanes
        return (*self.product.parameter_sizes, *([biases] if self.has_bias else []))

    def verify(self) -> None:
        self.product.verify()
        if self.tile not in ROW_TILES.get(self.filtering.taps, ()):
            raise PlanError(f"there is no {self.algorithm}")
        if self.blocks * self.block != self.count:
            raise PlanError(f"blocks of {self.block} do not cover {self.count} tiles exactly once")
        if (
            self.product.groups != self.size
            or self.product.rows * len(self.product.pixels) != self.block * self.shape[2]
        ):
            raise PlanError(f"{self.product.groups} products of {self.product.rows} rows for {self.block} tiles")
        if self.tile % self.pool[0] or self.shape[1] % self.pool[0] or self.shape[2] % self.pool[1]:
            raise PlanError(f"windows of {self.pool} do not divide {self.shape} in tiles of {self.tile} rows")
        if self.pool != (1, 1) and (self.has_residual or not self.epilogue.passes_maxima):
            raise PlanError(f"{self.epilogue} of a maximum, or a residual, is not what the maximum is taken of")
        if self.out_strides[3] != 1:
            raise PlanError("the output's channels do not lie side by side")
