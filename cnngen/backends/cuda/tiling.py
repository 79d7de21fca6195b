"""Which tile of a convolution: from the shape of the product and the figures of the GPU, without measuring.

`estimate` follows one tile through a multiprocessor: what its tensor cores, its schedulers, its shared memory and its
path to L2 take for the blocks that fit on it at a time, how long a slice takes at least because each step waits for
the one before it, and how many waves of blocks there are. `architectures.py` has the figures with their sources.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from cnngen.backends.cuda.architectures import REGISTERS, SHARED_BYTES_A_CYCLE, Architecture
from cnngen.backends.cuda.kernels.base import ceil_div
from cnngen.backends.cuda.kernels.convolution import CHUNK_BYTES, ROW_BYTES, THREAD_TILE, Tile
from cnngen.backends.cuda.limits import splits_fit
from cnngen.backends.cuda.target import CudaTarget, Precision

TENSOR_TILES = (
    (128, 128, (2, 4)), (128, 128, (2, 2)), (128, 64, (4, 2)), (128, 64, (2, 2)), (64, 128, (2, 4)), (64, 128, (2, 2)),
    (64, 64, (2, 2)), (128, 32, (4, 1)), (64, 32, (2, 2)), (64, 32, (2, 1)), (32, 64, (2, 2)), (32, 32, (2, 2)),
    (32, 32, (1, 1)),
)  # fmt: skip
"""Pixels and channels of a block, and the warps along them."""
PLAIN_TILES = ((128, 64, (2, 2)), (64, 128, (2, 2)), (64, 64, (1, 2)))
"""Without tensor cores; 8x8 numbers a thread."""
STAGES = (4, 3, 2)
SPLITS = (1, 2, 3, 4, 6, 8, 12, 16)
SLICES_A_SPLIT = 4
"""A part of the taps is at least so many slices: shorter ones only fill the pipeline."""

SCHEDULERS = 4
"""Of a multiprocessor, each with a quarter of its arithmetic; each issues an instruction a cycle (white papers)."""
DEPENDENT_CYCLES = 2.0
"""From an instruction of a warp to its next one: 4 cycles where it depends on the former (Jia et al., Dissecting the
NVIDIA Volta GPU Architecture via Microbenchmarking, 2018), and every other one does in the arithmetic of addresses."""
SHARED_LATENCY = 29.0
"""Cycles from a request to shared memory to the numbers (Luo et al., 2024, on A100 and H100)."""
COPY_INSTRUCTIONS = {False: 8, True: 16}
"""For each copy of a thread, with the address and the test whether it lies inside, where a pixel is computed from one
of the input, or from several. Counted in the PTX of ResNet-18."""
OTHER_REGISTERS = 64
"""Of a thread, beside sums and factors: addresses and counters. From the assembler's report on ResNet-18."""
GAP = 0.5e-6
"""Seconds from the end of one kernel of a CUDA graph to the beginning of the next (A. Gray, Getting Started with CUDA
Graphs, NVIDIA, 2019: a kernel of 2.9 us takes 3.4)."""


@dataclass(frozen=True)
class Product:
    """A convolution as a matrix product: `pixels` x `channels` in each of `groups`, over `slices` of the taps.

    `window`: a pixel comes from several of the input. `pieces`: copies for 16 bytes of taps. `input_bytes` are read
    at least once.
    """

    precision: Precision
    pixels: int
    channels: int
    groups: int
    slices: int
    window: bool = True
    pieces: int = 1
    input_bytes: int = 0


@functools.lru_cache(maxsize=1024)
def choose_tile(product: Product, target: CudaTarget) -> Tile:
    """The tile with the least estimated time, of several equal ones that with the most work.

    Where the code is for several architectures: the least product of their times, so that each counts alike.
    """
    return ranked_tiles(product, target)[0]


def ranked_tiles(product: Product, target: CudaTarget) -> list[Tile]:
    """All tiles that fit the target, the one with the least estimated time first."""
    times = {
        tile: math.fsum(math.log(estimate(product, tile, architecture)) for architecture in target.architectures)
        for tile in candidates(product, target)
    }
    return sorted(times, key=times.__getitem__)


def candidates(product: Product, target: CudaTarget) -> Iterator[Tile]:
    """The tiles that a block can have on every architecture of the target, with stages and splits."""
    shapes = TENSOR_TILES if product.precision.tensor_cores else PLAIN_TILES
    for (pixels, channels, warps), stages, splits in itertools.product(shapes, STAGES, SPLITS):
        tile = Tile(pixels, channels, warps, stages, splits)
        fits = shared_bytes(tile) <= target.shared and (splits == 1 or splits_fit(product.groups, splits))
        if fits and (splits == 1 or product.slices >= splits * SLICES_A_SPLIT):
            yield tile


def shared_bytes(tile: Tile) -> int:
    """Shared memory of a block."""
    return tile.stages * ROW_BYTES * (tile.pixels + tile.channels)


def estimate(product: Product, tile: Tile, gpu: Architecture) -> float:
    """Seconds that the convolution takes with this tile, with the kernel that adds its parts where there are some."""
    precision, work = product.precision, _Work.of(product, tile)
    resident = _resident(work, tile, gpu)
    tiles = ceil_div(product.pixels, tile.pixels) * ceil_div(product.channels, tile.channels) * product.groups
    slices = ceil_div(product.slices, tile.splits)
    stored = tile.pixels * tile.channels * (4 if tile.splits > 1 else precision.element_bytes)
    rate = gpu.multiply_adds(precision.name)
    bytes_in = ROW_BYTES * (tile.pixels + tile.channels)

    def wave(blocks: int) -> float:
        """Cycles of a multiprocessor for so many blocks side by side."""
        share = min(1.0, blocks * work.warps / SCHEDULERS)
        step = max(
            blocks * work.multiply_adds / (rate * share),
            blocks * work.warps * work.instructions / (SCHEDULERS * share),
            blocks * work.shared_bytes / SHARED_BYTES_A_CYCLE,
            blocks * bytes_in / gpu.l2_bytes,
            gpu.l2_latency / (tile.stages - 1),
            work.copies * COPY_INSTRUCTIONS[product.window] * DEPENDENT_CYCLES
            + max(work.chain * gpu.mma_latency, work.multiply_adds / (rate * min(1.0, work.warps / SCHEDULERS)))
            + SHARED_LATENCY,
        )
        return gpu.memory_latency + slices * step + blocks * stored / gpu.l2_bytes + gpu.l2_latency

    full, rest = divmod(tiles * tile.splits, gpu.processors * resident)
    cycles = full * wave(resident) + (wave(ceil_div(rest, gpu.processors)) if rest else 0.0)
    padded = ceil_div(product.channels, tile.channels) * tile.channels * product.groups
    outputs = product.pixels * product.channels * product.groups
    bytes_moved = padded * product.slices * ROW_BYTES + product.input_bytes + outputs * precision.element_bytes
    seconds = GAP + max(cycles / gpu.clock, bytes_moved / gpu.memory)
    if tile.splits > 1:
        partial = 4 * outputs * tile.splits
        added = (partial + outputs * precision.element_bytes) / (gpu.l2_bytes * gpu.processors)
        seconds += GAP + (2 * gpu.l2_latency + added) / gpu.clock
        seconds += 2 * max(0, partial - gpu.l2_size) / gpu.memory
    return seconds


@dataclass(frozen=True)
class _Work:
    """What a block does for one slice: `chain` products one after the other, and for each thread `copies` of 16 bytes
    and `instructions` in all, that is, without those of the arithmetic that `multiply_adds` counts."""

    warps: int
    registers: int
    multiply_adds: int
    shared_bytes: int
    copies: int
    chain: int
    instructions: int

    @staticmethod
    def of(product: Product, tile: Tile) -> _Work:
        precision, area = product.precision, tile.pixels * tile.channels
        taps = ROW_BYTES // precision.element_bytes
        chunks = ROW_BYTES // CHUNK_BYTES
        if precision.tensor_cores:
            warps, (down, across) = math.prod(tile.warps), tile.warps
            pixels, channels = tile.pixels // down, tile.channels // across
            chain = taps // precision.product_taps
            loads = chain * (pixels // 16 + channels // 16)
            factors, multiplies = (pixels + channels) // 4, chain * (pixels // 16) * (channels // 8)
        else:
            # A warp is 32 threads side by side along the channels, then along the pixels.
            warps, columns = area // (THREAD_TILE * THREAD_TILE * 32), tile.channels // THREAD_TILE
            channels = THREAD_TILE * min(32, columns)
            pixels = THREAD_TILE * 32 * THREAD_TILE // channels
            chain, loads, multiplies = 0, 2 * THREAD_TILE * chunks, 0
            factors = THREAD_TILE * CHUNK_BYTES // 4
        threads = 32 * warps
        rows = threads // chunks  # that all threads copy together
        copies = ceil_div(tile.pixels, rows) * product.pieces + ceil_div(tile.channels, rows)
        return _Work(
            warps,
            area // threads + factors + OTHER_REGISTERS,
            area * taps,
            # Copied into it once, and read by each warp that has a part of the row.
            ROW_BYTES * (tile.pixels + tile.channels + warps * (pixels + channels)),
            copies,
            chain,
            copies * COPY_INSTRUCTIONS[product.window] + loads + multiplies,
        )


def _resident(work: _Work, tile: Tile, gpu: Architecture) -> int:
    """Blocks that fit on a multiprocessor at a time."""
    threads = 32 * work.warps
    registers = 8 * ceil_div(work.registers, 8) * threads
    return max(
        1,
        min(
            gpu.blocks,
            gpu.threads // threads,
            REGISTERS // registers,
            gpu.shared_processor // (shared_bytes(tile) + gpu.reserved),
        ),
    )


def vector_width(numbers: tuple[int, ...], element_bytes: int) -> int:
    """Numbers of up to 16 bytes that lie aligned together where all `numbers` (offsets, strides, counts) divide."""
    common = math.gcd(*numbers)
    widest = 16 // element_bytes
    return math.gcd(common, widest) if common else widest
