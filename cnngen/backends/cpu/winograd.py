"""Whether a convolution is worth Winograd's algorithm, with which tile, and how many tiles at a time.

A block of tiles goes through three stages: its inputs are transformed, multiplied by the transformed filters (a
matrix product for each of the (m + 2)^2 elements of a tile), and the products are transformed into results. Blocks are
so small that what passes between the stages stays in L2, and so large that the filters, which every block reads
once, are used often.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

from cnngen import winograd
from cnngen.backends.cpu import tiling
from cnngen.backends.cpu.kernels import Axis, ConvKernel, Epilogue, Loop, Pixel, WinogradKernel, even_strips
from cnngen.backends.cpu.target import Target
from cnngen.ops import Conv2D
from cnngen.plan.memory import Halo, View

Image = tuple[int, int, int, int]

LEAST_CHANNELS = 8
"""Fewer input channels leave the product too short for the transforms to pay."""
BLOCKS = (4, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 36, 42, 48, 56, 64)
"""Tiles of a block: multiples of register tiles; beyond them nothing is gained."""
L2_BYTES = 256 << 10
"""What the stages of a block may leave in L2."""
FAR_BYTES_A_CYCLE = 12.0
"""Filters that do not fit beside that come from L3 at this rate (one core)."""
L3_BYTES = 16 << 20
"""Of filters; more than that comes from memory."""
MEMORY_BYTES_A_CYCLE = 4.0
"""A core's share of the bandwidth of memory."""
TRANSFORM_CYCLES = {2: (28.0, 20.0), 4: (110.0, 85.0)}
"""Cycles for a vector of channels of a tile: of the inputs, of the results. Loads and stores count as much as sums."""
GAIN = 0.9
"""The algorithm rounds more than a plain sum: it has to save at least a tenth."""


@dataclass(frozen=True)
class Choice:
    """F(`tile` x `tile`, 3x3) on `block` tiles at a time, and the cycles that is expected to take."""

    tile: int
    block: int
    cycles: float


def tiles_of(output: Image, tile: int) -> tuple[int, int]:
    """Rows and columns of tiles of an image."""
    return -(-output[1] // tile), -(-output[2] // tile)


def choose(op: Conv2D, source: Image, output: Image, target: Target) -> Choice | None:
    """The fastest way through Winograd's algorithm, or None where a direct sum is expected to be as fast.

    `source` and `output` are the shapes (n, h, w, c) of the input and of the result.
    """
    if target.reproducible or not winograd.applies(op) or source[3] < LEAST_CHANNELS:
        return None
    lanes, registers = target.isa.lanes, target.isa.registers
    direct = 9 * source[3] * tiling.tile_channels(output[3], output[2], lanes, registers, output[0] * output[1]).cycles
    # Whether, and which tile, must not depend on the number of threads: results do not.
    best = _cheapest(tuple(winograd.TRANSFORMS), source, output, lanes, registers, 1)
    if best.cycles >= GAIN * direct:
        return None
    return _cheapest((best.tile,), source, output, lanes, registers, target.threads)


@functools.cache
def _cheapest(tiles: tuple[int, ...], source: Image, output: Image, lanes: int, registers: int, threads: int) -> Choice:
    """The block, and the one of `tiles`, with the least expected time of the busiest thread."""
    candidates = []
    for tile in tiles:
        count = output[0] * math.prod(tiles_of(output, tile))
        for block in sorted({min(size, count) for size in BLOCKS}):
            cycles = _cycles(tile, block, count, source[3], output[3], lanes, registers, threads)
            candidates.append(Choice(tile, block, cycles))
    return min(candidates, key=lambda choice: choice.cycles)


def _cycles(
    tile: int, block: int, count: int, channels: int, filters: int, lanes: int, registers: int, threads: int
) -> float:
    """Expected cycles of the busiest thread."""
    elements = (tile + 2) ** 2
    blocks = -(-count // block)
    product = elements * channels * tiling.tile_channels(filters, block, lanes, registers).cycles
    inputs, outputs = TRANSFORM_CYCLES[tile]
    transforms = block * (inputs * -(-channels // lanes) + outputs * -(-filters // lanes))
    held = 4 * elements * block * (channels + filters)
    weights = 4 * elements * channels * filters
    rate = FAR_BYTES_A_CYCLE if weights <= L3_BYTES else MEMORY_BYTES_A_CYCLE
    far = weights / rate if held + weights > L2_BYTES else 0.0
    if held > L2_BYTES:
        far += 2 * (held - L2_BYTES) / FAR_BYTES_A_CYCLE
    return -(-blocks // threads) * (max(product, far) + 0.25 * far + transforms)


def halo(op: Conv2D, source: Image, output: Image, choice: Choice) -> Halo:
    """The zero pixels around the input that whole tiles read: also those beyond the last row and column."""
    top, _, left, _ = op.padding
    rows, columns = tiles_of(output, choice.tile)
    bottom = rows * choice.tile + 2 - top - source[1]
    right = columns * choice.tile + 2 - left - source[2]
    return (top, max(bottom, 0), left, max(right, 0))


def kernel(
    op: Conv2D, source: View, write: View, residual: View | None, choice: Choice, target: Target
) -> WinogradKernel:
    """The kernel for `choice`; `source` begins at the first padding pixel."""
    lanes = target.isa.lanes
    channels, tiles = source.shape[3], tiles_of(write.shape, choice.tile)
    return WinogradKernel(
        lanes,
        choice.tile,
        write.shape,
        tiles,
        channels,
        source.strides,
        write.strides,
        residual.strides if residual else None,
        product_kernel(choice, channels, op.filters, target),
        target.threads,
        op.use_bias,
        Epilogue(op.activation),
    )


def product_kernel(choice: Choice, channels: int, filters: int, target: Target) -> ConvKernel:
    """For each element of a tile: (tiles of a block x channels) times (channels x filters)."""
    lanes, registers = target.isa.lanes, target.isa.registers
    elements = (choice.tile + 2) ** 2
    row = apart(-(-channels // lanes) * lanes)
    pixels = tuple(Pixel(t * row, t * apart(filters)) for t in range(choice.block))
    tiled = tiling.tile_channels(filters, choice.block, lanes, registers)
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


def apart(floats: int) -> int:
    """At least `floats`, on whole cache lines, no multiple of 1 KiB: such rows share few cache sets."""
    lines = -(-floats // 16) * 16
    return lines + 16 if lines % 256 == 0 else lines


__all__ = ["Choice", "choose", "halo", "kernel", "tiles_of"]
