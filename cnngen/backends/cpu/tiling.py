"""Choice of register tiles, by a small model of what limits a tile.

One reduction step of a tile of p pixels by v vectors costs the largest of: its multiply-adds on two
units (p v / 2 cycles), the latency of a multiply-add (4 cycles and some slack: 8 accumulators would
just hide it if nothing ever came late, and measured 20 % short of that), its loads on two ports
((p + v) / 2 cycles), and its weights, which come from L2 at a vector a cycle (v cycles).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from cnngen.backends.cpu.kernels import ChannelBlocks, Strip
from cnngen.backends.cpu.kernels.convolution import halved
from cnngen.backends.cpu.machine import FMA_UNITS

FMA_LATENCY = 4.5
LOAD_PORTS = 2
MAX_VECTORS = 8
ONE_ROW_PIXELS = 64
"""Up to so many pixels an image may be tiled as one row: each tile is a function of its own."""
LINE_BYTES = 64
"""A cache line."""
DIVIDING_REGISTERS = 18
"""Of a tile whose epilogue divides: behind a small one the processor begins the next one while it still divides."""
DEPTHWISE_ROWS, DEPTHWISE_PIXELS = 2, 7
"""Of a tile of a depthwise convolution: larger ones lose more registers than they save loads, on AVX2, too."""
DEPTHWISE_TAPS = 49
"""Up to so many taps the code for several rows is written out."""
STREAMS = 6
"""Of weights from memory: 25 GB/s with one core, where a single stream gave 18."""
WIDE_STREAMS, WIDE_LINES = 3, 4
"""Fewer streams of more lines each, where registers allow it: 32 GB/s with AVX-512, where six of one line gave 29."""


def tile_cycles(pixels: int, vectors: float) -> float:
    """Cycles of one reduction step; half a vector counts as half."""
    arithmetic = max(pixels * vectors / FMA_UNITS, FMA_LATENCY)
    return max(arithmetic, (pixels + vectors) / LOAD_PORTS, vectors)


def max_pixels(vectors: int, registers: int) -> int:
    """Most pixels whose accumulators, weights, broadcast value and one constant of the epilogue fit the registers."""
    return max((registers - 2 - vectors) // vectors, 1)


def tile_registers(registers: int, divides: bool) -> int:
    """How many registers a tile may use."""
    return min(registers, DIVIDING_REGISTERS) if divides else registers


@dataclass(frozen=True)
class Tiling:
    """Strips that cover a row, and the cycles of one reduction step over the row."""

    strips: tuple[Strip, ...]
    cycles: float


@functools.cache
def tile_row(
    columns: int, vectors: int, registers: int, reserved: int = 0, pixels: int = 0, half: bool = False
) -> Tiling:
    """The cheapest cover of `columns` pixels by at most two tile heights.

    Of equally cheap ones the one with the fewest tiles: each tile reads the weights again. `reserved`
    registers hold something else. With `pixels` the first height is given, or what fits,
    and only the rest is tiled otherwise. Of the last vector only `half` may be computed.
    """
    counted = vectors - 0.5 if half else vectors
    limit = min(max_pixels(vectors, registers - reserved), columns)
    best, fewest = None, 0
    for main in [min(pixels, limit)] if pixels else range(limit, 0, -1):
        fewest_repeats = columns // main - 1 if pixels else max(columns // main - 3, -1)
        for repeat in range(columns // main, fewest_repeats, -1):
            rest = columns - repeat * main
            options = [(0, 0)] if rest == 0 else [(p, rest // p) for p in range(1, limit + 1) if rest % p == 0]
            for height, count in options:
                cycles = repeat * tile_cycles(main, counted)
                cycles += count * tile_cycles(height, counted) if count else 0.0
                tiles = repeat + count
                if best is None or cycles < best.cycles - 1e-9 or (cycles < best.cycles + 1e-9 and tiles < fewest):
                    strips = [Strip(0, main, repeat), Strip(repeat * main, height, count)]
                    best, fewest = Tiling(tuple(strip for strip in strips if strip.repeat), cycles), tiles
    assert best is not None
    return best


@dataclass(frozen=True)
class BlockTiling:
    """Channel blocks with their strips, and the cycles that the busiest thread needs for one reduction step."""

    blocks: tuple[ChannelBlocks, ...]
    cycles: float


@functools.cache
def tile_channels(
    channels: int,
    columns: int,
    lanes: int,
    registers: int,
    rows: int = 1,
    threads: int = 1,
    width: int = 0,
    pixels: int = 0,
) -> BlockTiling:
    """The cheapest split of a group's output channels into blocks, each with its row tiling.

    A block of one of `rows` rows (of all groups) is a unit of work; `threads` share those of each set of blocks.
    With `width` and `pixels`, vectors and pixels of a register tile are given.
    """
    total = -(-channels // lanes)
    tail = channels % lanes
    best: BlockTiling | None = None
    for vectors in [min(width, total)] if width else range(1, min(MAX_VECTORS, total) + 1):
        full, rest = divmod(total, vectors)
        blocks, cycles = [], 0.0
        if tail and rest == 0:
            full, rest = full - 1, vectors
        if full:
            row = tile_row(columns, vectors, registers, 0, pixels)
            blocks.append(ChannelBlocks(0, full, vectors, 0, row.strips))
            cycles += -(-full * rows // threads) * row.cycles
        if rest:
            row = tile_row(columns, rest, registers, 0, pixels, halved(tail, lanes))
            blocks.append(ChannelBlocks(full * vectors * lanes, 1, rest, tail, row.strips))
            cycles += -(-rows // threads) * row.cycles
        # A wider block reads the input less often: it wins where the model sees no difference.
        if best is None or cycles < best.cycles * 0.99 or (cycles <= best.cycles * 1.0001 and vectors == 2):
            best = BlockTiling(tuple(blocks), cycles)
    assert best is not None
    return best


def stream_channels(channels: int, lanes: int, registers: int, weight_bytes: int = 4) -> tuple[ChannelBlocks, ...]:
    """Blocks for a single pixel whose weights come from memory: in several streams of whole cache lines.

    One stream is too few for the memory: the processor asks ahead for each of them.
    """
    side, streams = min(max(LINE_BYTES // (weight_bytes * lanes), 1), registers - 4), STREAMS
    if WIDE_LINES * side * WIDE_STREAMS <= registers - 4:
        side, streams = WIDE_LINES * side, WIDE_STREAMS
    vectors = min((registers - 4) // side, streams) * side
    total, tail = -(-channels // lanes), channels % lanes
    full, rest = divmod(total, vectors)
    if tail and rest == 0:
        full, rest = full - 1, vectors
    strips, blocks = (Strip(0, 1, 1),), []
    if full:
        blocks.append(ChannelBlocks(0, full, vectors, 0, strips, vectors // side))
    if rest:
        streams = rest // side if rest % side == 0 else rest
        blocks.append(ChannelBlocks(full * vectors * lanes, 1, rest, tail, strips, streams))
    return tuple(blocks)


def even_row(columns: int, pixels: int) -> tuple[Strip, ...]:
    """As few tiles of at most so many pixels as cover `columns`, as equal as they can be."""
    tiles = -(-columns // pixels)
    width, wider = divmod(columns, tiles)
    strips = (Strip(0, width + 1, wider), Strip(wider * (width + 1), width, tiles - wider))
    return tuple(strip for strip in strips if strip.repeat)


def depthwise_rows(images: int, rows: int, threads: int) -> int:
    """Rows of a depthwise tile: `DEPTHWISE_ROWS`, unless the busiest thread then has a quarter more of them to do."""
    single, taken = (-(-images * -(-rows // n) // threads) * n for n in (1, DEPTHWISE_ROWS))
    return DEPTHWISE_ROWS if taken <= 1.25 * single else 1


def chunk(columns: int, channels: int, lanes: int, registers: int, groups: int = 1, threads: int = 1) -> int:
    """Length of the pieces that a long row of pixels is cut into: a divisor of `columns`.

    Short enough to share among threads and to stay in cache, long enough for few tile changes.
    """
    divisors = [d for d in range(1, columns + 1) if columns % d == 0 and d <= 256]

    def cost(length: int) -> tuple[float, int]:
        cycles = tile_channels(channels, length, lanes, registers, columns // length * groups, threads).cycles
        return (round(cycles * (1 + 0.25 / length), 3), abs(length - 96))

    return min(divisors, key=cost)


def planar_tile(columns: int, filters: int, lanes: int, registers: int) -> tuple[int, int, float]:
    """Vectors along the width, filters in registers, and cycles for one tap over a row.

    The results are stored one by one, about one a cycle for each element (not for each tap): the
    caller adds that.
    """
    best: tuple[int, int, float] | None = None
    for vectors in range(1, min(4, -(-columns // lanes)) + 1):
        for tile in range(1, filters + 1):
            if vectors * tile + vectors + 1 > registers:
                break
            cycles = 0.0
            remaining = -(-columns // lanes)
            while remaining > 0:
                width = min(vectors, remaining)
                passes = [min(tile, filters - first) for first in range(0, filters, tile)]
                cycles += sum(tile_cycles(count, width) for count in passes)
                remaining -= width
            if best is None or cycles < best[2]:
                best = (vectors, tile, cycles)
    assert best is not None
    return best
