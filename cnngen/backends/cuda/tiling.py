"""Which tile of a convolution: from the shape of the product and the facts of the target, without measuring."""

from __future__ import annotations

import itertools
import math

from cnngen.backends.cuda.kernels.base import ceil_div
from cnngen.backends.cuda.kernels.convolution import ROW_BYTES, Tile
from cnngen.backends.cuda.target import CudaTarget

TENSOR_TILES = ((128, 128), (128, 64), (64, 128), (64, 64), (128, 32), (64, 32), (32, 64), (32, 32))
"""Pixels and channels of a block, the most work first."""
PLAIN_TILES = ((128, 64), (64, 128), (64, 64))
"""Without tensor cores; 8x8 numbers a thread."""
WARP = {128: 2, 64: 2, 32: 1}
"""Warps along a side of a tile: a warp computes 16 to 64 pixels and 16 to 64 channels."""
MAX_STAGES = 4
MAX_SPLITS = 16
SLICES_A_SPLIT = 4
"""A part of the taps is at least so many slices: shorter ones only fill the pipeline."""
COPY_COST = 0.35
"""Cost of a row of 128 bytes copied, in products of a row by a channel, for each channel row."""
START_COST = 3.0
"""Cost of starting and storing a tile, in slices."""
REDUCE_COST = 2.0
"""Cost of writing and reading the partial sums of one more split, in slices."""


def choose_tile(pixels: int, channels: int, groups: int, slices: int, target: CudaTarget) -> Tile:
    """The tile with the least estimated time for a product of `pixels` x `channels` over `slices` of taps.

    The estimate is waves of blocks over the multiprocessors, times the slices that a block works through,
    times what a slice of this tile costs: its products, and its copies, which larger tiles share.
    """
    best, least = None, math.inf
    for (tile_pixels, tile_channels), splits in itertools.product(
        TENSOR_TILES if target.precision.tensor_cores else PLAIN_TILES, range(1, MAX_SPLITS + 1)
    ):
        if splits > 1 and slices < splits * SLICES_A_SPLIT:
            continue
        blocks = ceil_div(pixels, tile_pixels) * ceil_div(channels, tile_channels) * groups * splits
        waves = ceil_div(blocks, target.processors)
        work = tile_pixels * tile_channels / 4096 + COPY_COST * (tile_pixels + tile_channels) / 128
        cost = waves * (ceil_div(slices, splits) + START_COST + REDUCE_COST * (splits > 1)) * work
        cost += REDUCE_COST * 0.05 * (splits - 1)
        if cost < least:
            warps = (WARP[tile_pixels], WARP[tile_channels])
            stage = ROW_BYTES * (tile_pixels + tile_channels)
            stages = max(2, min(MAX_STAGES, target.shared // stage))
            best, least = Tile(tile_pixels, tile_channels, warps, stages, splits), cost
    assert best is not None
    return best


def vector_width(numbers: tuple[int, ...], element_bytes: int) -> int:
    """Numbers of up to 16 bytes that lie aligned together where all `numbers` (offsets, strides, counts) divide."""
    common = math.gcd(*numbers)
    widest = 16 // element_bytes
    return math.gcd(common, widest) if common else widest
