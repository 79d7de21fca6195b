"""Winograd's convolution: transforms around matrix products."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.cpu.kernels.base import Epilogue, Kernel, Strides
from cnngen.backends.cpu.kernels.convolution import ConvKernel
from cnngen.errors import PlanError
from cnngen.winograd import Filtering, Tile, axes, name


@dataclass(frozen=True)
class WinogradKernel(Kernel):
    """F(`tile`, `kernel`) for an output of `shape` (n, h, w, filters), in `tiles` (rows, columns) an image.

    A block of tiles at a time goes through `product`, which has one group for each element of a tile, and as
    pixels the tiles of the block. Each of `threads` has scratch memory of its own for a block.
    """

    template: ClassVar[str] = "winograd.c.j2"
    tile: Tile
    kernel: tuple[int, int]
    stride: tuple[int, int]
    shape: tuple[int, int, int, int]
    tiles: tuple[int, int]
    channels: int
    in_strides: Strides
    out_strides: Strides
    residual_strides: Strides | None
    product: ConvKernel
    threads: int
    has_bias: bool
    epilogue: Epilogue

    @property
    def label(self) -> str:
        _, height, width, filters = self.shape
        extras = ("_res" if self.has_residual else "") + self.epilogue.suffix
        (high, wide), (taps, across) = self.tile, self.kernel
        strides = "" if self.stride == (1, 1) else "s" + "x".join(map(str, sorted(set(self.stride))))
        form = f"winograd_{high}x{wide}_{taps}x{across}{strides}"
        return f"{form}_c{self.channels}_o{filters}_{height}x{width}_b{self.block}{extras}"

    @property
    def title(self) -> str:
        """What the kernel computes, for people."""
        images, height, width, filters = self.shape
        whole = f"{height}x{width}" + (f" in {images} images" if images > 1 else "")
        return (
            f"Winograd's convolution {self.algorithm}: {self.channels} channels, {filters} output "
            f"channels, {whole}; {self.block} tiles at a time."
        )

    @property
    def has_residual(self) -> bool:
        return self.residual_strides is not None

    @property
    def algorithm(self) -> str:
        """F(4x4, 3x3), for people."""
        return name(self.kernel, self.stride, self.tile)

    @property
    def axes(self) -> tuple[Filtering, Filtering]:
        """The algorithms along the rows and along the columns."""
        return axes(self.kernel, self.stride, self.tile)

    @property
    def elements(self) -> int:
        """Inputs of a tile, and products for each channel."""
        return math.prod(axis.size for axis in self.axes)

    @property
    def steps(self) -> tuple[int, int]:
        """Rows and columns from the inputs of one tile to those of the next."""
        return (self.tile[0] * self.stride[0], self.tile[1] * self.stride[1])

    @property
    def block(self) -> int:
        """Tiles that are transformed together."""
        return len(self.product.pixels)

    @property
    def count(self) -> int:
        """Tiles of all images."""
        return self.shape[0] * math.prod(self.tiles)

    @property
    def blocks(self) -> int:
        """Units of work."""
        return -(-self.count // self.block)

    @property
    def whole(self) -> bool:
        """Whether every tile lies in the output with all its results."""
        return all(size % tile == 0 for size, tile in zip(self.shape[1:3], self.tile, strict=True))

    @property
    def in_row(self) -> int:
        """From the transformed inputs of one tile to those of the next, and from one element to the next."""
        return self.product.pixels[1].input if self.block > 1 else 0

    @property
    def out_row(self) -> int:
        return self.product.pixels[1].output if self.block > 1 else 0

    @property
    def in_floats(self) -> int:
        """Scratch memory for the transformed inputs of a block."""
        return self.elements * self.product.group_step

    @property
    def scratch_floats(self) -> int:
        """Scratch memory of one thread."""
        return self.in_floats + self.elements * self.product.group_output

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        biases = -(-self.shape[3] // self.lanes) * self.lanes
        return (*self.product.parameter_sizes, *([biases] if self.has_bias else []))

    def verify(self) -> None:
        self.product.verify()
        for size, tiles, tile in zip(self.shape[1:3], self.tiles, self.tile, strict=True):
            if not (tiles - 1) * tile < size <= tiles * tile:
                raise PlanError(f"{tiles} tiles of {tile} do not cover {size} results exactly once")
        if self.product.groups != self.elements:
            raise PlanError(f"{self.product.groups} products for tiles of {self.elements} elements")
        if self.in_strides[3] != 1 or self.out_strides[3] != 1:
            raise PlanError("the channels of a transformed image do not lie side by side")
