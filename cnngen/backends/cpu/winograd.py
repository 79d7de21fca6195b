"""Convolutions by Winograd's algorithm: how many tiles at a time, which halo, which kernel.

A block of tiles goes through three stages: its inputs are transformed, multiplied by the transformed filters (a
matrix product for each element of a tile), and the products are transformed into results. Blocks are
so small that what passes between the stages stays in L2, and so large that the filters, which every block reads
once, are used often.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from cnngen import winograd
from cnngen.backends.cpu import cost, tiling
from cnngen.backends.cpu.blocking import apart
from cnngen.backends.cpu.choices import Image
from cnngen.backends.cpu.cost import tiles_of
from cnngen.backends.cpu.kernels import Axis, ConvKernel, Epilogue, Loop, Pixel, WinogradKernel, even_strips
from cnngen.backends.cpu.target import Target
from cnngen.errors import PlanError
from cnngen.ops import Conv2D
from cnngen.plan.memory import Halo, View


@dataclass(frozen=True)
class Choice:
    """The algorithm for `tile`, on `block` tiles at a time; `vectors` and `pixels` of the products' tiles, or 0."""

    tile: winograd.Tile
    block: int
    vectors: int = 0
    pixels: int = 0


def choose(op: Conv2D, source: Image, output: Image, target: Target) -> Choice | None:
    """How Winograd's algorithm computes a layer, or None where a direct sum is to compute it.

    `source` and `output` are the shapes (n, h, w, c) of the input and of the result. Decided by the target's choice
    for the layer, or else by the model of its time. Raises `PlanError` for a choice that cannot be.
    """
    chosen = target.choices.find(op, source, output) or cost.fastest(op, source, output, target).choice
    if chosen.algorithm != "winograd":
        return None
    if not winograd.applies(op) or chosen.tile not in winograd.tiles(op) or target.reproducible:
        raise PlanError(f"{chosen} cannot compute {op}", remedy="choose another algorithm, or tune again")
    count = output[0] * math.prod(tiles_of(output, chosen.tile))
    if not chosen.block:
        chosen = chosen._replace(block=cost.sized(op, source, output, target, chosen).choice.block)
    return Choice(chosen.tile, min(chosen.block, count), chosen.vectors, chosen.pixels)


def halo(op: Conv2D, source: Image, output: Image, choice: Choice) -> Halo:
    """The zero pixels around the input that whole tiles read: also those beyond the last row and column."""
    top, _, left, _ = op.padding
    rows, columns = winograd.axes(op.kernel, op.stride, choice.tile)
    down, across = tiles_of(output, choice.tile)
    bottom = (down * rows.tile - 1) * rows.stride + rows.taps - top - source[1]
    right = (across * columns.tile - 1) * columns.stride + columns.taps - left - source[2]
    return (top, max(bottom, 0), left, max(right, 0))


def kernel(
    op: Conv2D, source: View, write: View, residual: View | None, choice: Choice, target: Target
) -> WinogradKernel:
    """The kernel for `choice`; `source` begins at the first padding pixel."""
    lanes = target.isa.lanes
    channels, tiles = source.shape[3], tiles_of(write.shape, choice.tile)
    elements = math.prod(axis.size for axis in winograd.axes(op.kernel, op.stride, choice.tile))
    return WinogradKernel(
        lanes,
        choice.tile,
        op.kernel,
        op.stride,
        write.shape,
        tiles,
        channels,
        source.strides,
        write.strides,
        residual.strides if residual else None,
        product_kernel(choice, elements, channels, op.filters, target),
        target.threads,
        op.use_bias,
        Epilogue(op.activation),
    )


def product_kernel(choice: Choice, elements: int, channels: int, filters: int, target: Target) -> ConvKernel:
    """For each element of a tile: (tiles of a block x channels) times (channels x filters)."""
    lanes, registers = target.isa.lanes, target.isa.registers
    row = apart(-(-channels // lanes) * lanes)
    pixels = tuple(Pixel(t * row, t * apart(filters)) for t in range(choice.block))
    tile = (choice.vectors, choice.pixels)
    tiled = tiling.tile_channels(filters, choice.block, lanes, registers, 1, 1, *tile)
    blocks = tuple(replace(block, strips=even_strips(block.strips, pixels)) for block in tiled.blocks)
    return ConvKernel(
        lanes,
        "product",
        (Axis(1, 0, 0, 0),),
        pixels,
        elements,
        channels,
        filters,
        apart(choice.block * row),
        (Loop(channels, 1, "c"),),
        blocks,
        False,
        False,
        Epilogue(),
        apart(choice.block * apart(filters)),
    )


__all__ = ["Choice", "apart", "choose", "halo", "kernel", "tiles_of"]
