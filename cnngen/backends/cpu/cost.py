"""How long a convolution or dense layer is expected to take, by each way to compute it, and what limits it.

The model counts what `cnngen.backends.cpu.tiling` says of register tiles, and the traffic behind them:

- The weights of a layer come once from where a run finds them (`Target.parameter_bytes`): a cache that holds those of
  the whole network, or memory. Winograd's algorithm reads the transformed ones again for every block of tiles: from L2
  where they fit beside what a block leaves there, else from L3 or memory.
- Inputs and outputs come from the cache that holds both; a direct convolution reads the input again for every block
  of output channels.
- Transforms of Winograd's algorithm cost so many cycles a tile and vector of channels.

Arithmetic hides traffic, but not all of it: `EXPOSED` of what is hidden shows. Constants were fitted to measured times
of the layers of nine networks (docs/performance.md).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Literal

from cnngen import winograd
from cnngen.backends.cpu import tiling, winograd_rows
from cnngen.backends.cpu.choices import Choice, Image
from cnngen.backends.cpu.kernels import Epilogue
from cnngen.backends.cpu.target import Target
from cnngen.ir import TensorType
from cnngen.ops import Conv2D, Dense
from cnngen.weight_storage import narrows
from cnngen.winograd_rows import along_height, row_tiles

Limit = Literal["FMA", "transforms", "L2", "L3", "memory"]

LEAST_CHANNELS = 8
"""Fewer input channels leave Winograd's products too short for the transforms to pay."""
BLOCKS = (4, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 36, 42, 48, 56, 64)
"""Tiles of a block: multiples of register tiles; beyond them nothing is gained."""
TERM_CYCLES = 0.32
"""For each term of the sums of a transform, along rows and along columns, and a vector of channels."""
PRODUCT_CYCLES = 2.0
"""To load a vector of products."""
ROW_CYCLES = (40.0, 30.0)
"""Along the height: for a vector of the inputs of a tile, and for one of its products. Most are loads and stores."""
HELD = 4.0
"""In sizes of L2: so much passes between the stages of Winograd's algorithm when none of it stays there, because
weights pass through, too. With half of that, a quarter does not."""
SCATTERED = 5.0
"""What passes and is not in L2, as in the first block, moves in short pieces: so much slower than a stream from L3."""
EXPOSED = 0.8
"""Share of the lesser of arithmetic and traffic that the greater does not hide."""
STREAM_EXPOSED = 0.35
"""The same of transformed weights, which are read in order."""
SHARE_OF_PEAK = 0.9
"""What a register tile reaches of the peak in the middle of its work."""
RESULT_CYCLES = 7.0
"""To begin and to store a vector of results of a direct convolution."""
ROUNDING_MORE = ("winograd", "rows", "planar rows")
GAIN = 0.9
"""Winograd's algorithm rounds more than a plain sum: it has to save at least a tenth."""
DEPTHWISE_CYCLES = 0.5
"""Of a tap of a depthwise convolution, for a vector of channels: its multiply-add; what else takes time is traffic."""
CALL_SECONDS = 0.3e-6
"""Of a step, whatever it computes."""


@dataclass(frozen=True)
class Estimate:
    """Expected seconds of one layer on the busiest thread: of its parts, and together."""

    arithmetic: float
    transforms: float = 0.0
    caches: float = 0.0
    """What comes from L2 or L3."""
    memory: float = 0.0
    nearest: Limit = "L2"
    """Which cache that is, for the most part."""
    exposed: float = EXPOSED

    @property
    def seconds(self) -> float:
        traffic = self.caches + self.memory
        hidden = min(self.arithmetic, traffic)
        return max(self.arithmetic, traffic) + self.exposed * hidden + self.transforms + CALL_SECONDS

    @property
    def limit(self) -> Limit:
        """What takes most of the time."""
        parts: dict[Limit, float] = {
            "FMA": self.arithmetic,
            "transforms": self.transforms,
            self.nearest: self.caches,
            "memory": self.memory,
        }
        return max(parts, key=lambda name: parts[name])


@dataclass(frozen=True)
class Alternative:
    """A way to compute a layer, and what it is expected to take."""

    choice: Choice
    estimate: Estimate


def alternatives(op: Conv2D | Dense, source: Image, output: Image, target: Target) -> tuple[Alternative, ...]:
    """Every algorithm that could compute a layer, each with its best sizes, the fastest first.

    `source` and `output` are the shapes (n, h, w, c) of the input and of the result. Which algorithm is first does not
    depend on the number of threads, so that results do not, either.
    """
    single = _ranked(op, source, output, replace(target, threads=1))
    if target.threads == 1:
        return single
    return tuple(sized(op, source, output, target, found.choice) for found in single)


def fastest(op: Conv2D | Dense, source: Image, output: Image, target: Target) -> Alternative:
    """The one to take: Winograd's algorithm only where it saves `GAIN`."""
    found = alternatives(op, source, output, target)
    if found[0].choice.algorithm not in ROUNDING_MORE:
        return found[0]
    direct = next(way for way in found if way.choice.algorithm not in ROUNDING_MORE)
    # As ranked: for one thread.
    times = [
        sized(op, source, output, replace(target, threads=1), way.choice).estimate.seconds for way in (found[0], direct)
    ]
    return found[0] if times[0] < GAIN * times[1] else direct


@functools.lru_cache(maxsize=1024)
def _ranked(op: Conv2D | Dense, source: Image, output: Image, target: Target) -> tuple[Alternative, ...]:
    found = [sized(op, source, output, target, Choice("direct"))]
    if isinstance(op, Conv2D) and op.depthwise([TensorType(source)]) and op.filters == source[3]:
        found = [Alternative(Choice("depthwise"), depthwise(op, source, output, target))]
    if winograd_applies(op, source, target):
        assert isinstance(op, Conv2D)
        found += [sized(op, source, output, target, Choice("winograd", tile=tile)) for tile in winograd.tiles(op)]
    if isinstance(op, Conv2D) and not target.reproducible:
        found += [sized(op, source, output, target, Choice("rows", tile=(tile, 1))) for tile in row_tiles(op)]
        if winograd_rows.on_planes(op, source, target):
            planar = [Choice("planar rows", tile=(tile, 1)) for tile in row_tiles(op)]
            found += [sized(op, source, output, target, choice) for choice in planar]
    return tuple(sorted(found, key=lambda way: way.estimate.seconds))


def winograd_applies(op: Conv2D | Dense, source: Image, target: Target) -> bool:
    """Whether Winograd's algorithm may compute a layer at all."""
    return isinstance(op, Conv2D) and not target.reproducible and winograd.applies(op) and source[3] >= LEAST_CHANNELS


@functools.lru_cache(maxsize=4096)
def sized(op: Conv2D | Dense, source: Image, output: Image, target: Target, choice: Choice) -> Alternative:
    """The best sizes for an algorithm; those of Winograd's tile are given."""
    if choice.algorithm == "winograd":
        count = output[0] * math.prod(tiles_of(output, choice.tile))
        sizes = sorted({min(size, count) for size in BLOCKS})
        ways = [choice._replace(block=size) for size in sizes]
        assert isinstance(op, Conv2D)
        found = [Alternative(way, winograd_estimate(op, source, output, target, way)) for way in ways]
        return min(found, key=lambda way: way.estimate.seconds)
    if choice.algorithm == "rows":
        assert isinstance(op, Conv2D)
        block = choice.block or winograd_rows.block_of(op, source, output, target, choice.tile[0])
        choice = choice._replace(block=block)
        return Alternative(choice, rows_estimate(op, source, output, target, choice))
    if choice.algorithm == "planar rows":
        assert isinstance(op, Conv2D)
        return Alternative(choice, planar_rows_estimate(op, source, output, target, choice))
    if choice.algorithm == "depthwise":
        assert isinstance(op, Conv2D)
        return Alternative(choice, depthwise(op, source, output, target))
    return Alternative(choice, direct(op, source, output, target, choice))


def tiles_of(output: Image, tile: winograd.Tile) -> tuple[int, int]:
    """Rows and columns of tiles of an image."""
    return -(-output[1] // tile[0]), -(-output[2] // tile[1])


def direct(op: Conv2D | Dense, source: Image, output: Image, target: Target, choice: Choice) -> Estimate:
    """A direct convolution or a dense layer, with the tile that `choice` names or the cheapest one."""
    lanes, registers, machine = target.isa.lanes, target.isa.registers, target.machine
    if not (choice.vectors or choice.pixels):
        registers = tiling.tile_registers(registers, Epilogue(op.activation).divides)
    groups, kernel = (op.groups, op.kernel) if isinstance(op, Conv2D) else (1, (1, 1))
    filters, channels = output[3] // groups, source[3] // groups
    taps = math.prod(kernel) * channels
    n, height, width, _ = output
    rows, columns = n * height * groups, width
    tiled = tiling.tile_channels(
        filters, columns, lanes, registers, rows, target.threads, choice.vectors, choice.pixels
    )
    if n * height * width <= tiling.ONE_ROW_PIXELS:
        whole = n * height * width
        crossing = tiling.tile_channels(
            filters, whole, lanes, registers, groups, target.threads, choice.vectors, choice.pixels
        )
        tiled = min(tiled, crossing, key=lambda tiling: tiling.cycles)
    results = math.prod(output[:3]) * groups * -(-filters // lanes) / target.threads
    cycles = taps * tiled.cycles / SHARE_OF_PEAK + RESULT_CYCLES * results
    arithmetic = cycles / machine.cycles_a_second(lanes)
    passes = sum(block.count for block in tiled.blocks)
    narrow = target.weight_storage != "fp32" and isinstance(op, Dense) and narrows(taps * filters)
    weights = (2.0 if narrow else 4.0) * taps * filters * groups / target.threads
    return _with_traffic(arithmetic, source, output, target, weights, passes)


def depthwise(op: Conv2D, source: Image, output: Image, target: Target) -> Estimate:
    """A convolution of each channel with a filter of its own."""
    lanes, machine = target.isa.lanes, target.machine
    vectors = -(-output[3] // lanes) * math.prod(output[:3]) / target.threads
    cycles = vectors * math.prod(op.kernel) * DEPTHWISE_CYCLES
    weights = 4.0 * math.prod(op.kernel) * output[3]
    return _with_traffic(cycles / machine.cycles_a_second(lanes), source, output, target, weights, 1)


def _with_traffic(
    arithmetic: float, source: Image, output: Image, target: Target, weights: float, passes: int
) -> Estimate:
    """What a layer reads and writes beside its arithmetic; the input in each of so many `passes`."""
    machine = target.machine
    read, written = 4.0 * math.prod(source) / target.threads, 4.0 * math.prod(output) / target.threads
    far = max(weights, target.parameter_bytes)
    cold = weights / machine.rate_behind(max(far, machine.l2_bytes + 1))
    # A pass reads the input through L2; where it does not stay there, every one fetches it again.
    rate = machine.rate_behind(read + written)
    images = (read + written) / rate
    again = (passes - 1) * read / machine.rate_behind(read) if read > machine.l2_bytes else 0.0
    memory = cold if far > machine.l3_bytes else 0.0
    caches = cold - memory + again
    if read + written > machine.l3_bytes:
        memory += images
    else:
        caches += images
    nearest: Limit = "L3" if read + written > machine.l2_bytes or cold > images else "L2"
    return Estimate(arithmetic, 0.0, caches, memory, nearest)


def _transform_cycles(rows: winograd.Filtering, columns: winograd.Filtering) -> tuple[float, float]:
    """Cycles for a vector of channels of a tile: to transform its inputs, and its products into results."""
    inputs = rows.input_terms * columns.size + rows.size * columns.input_terms
    results = rows.result_terms * columns.size + rows.tile * columns.result_terms
    return TERM_CYCLES * inputs, PRODUCT_CYCLES * rows.size * columns.size + TERM_CYCLES * results


def winograd_estimate(op: Conv2D, source: Image, output: Image, target: Target, choice: Choice) -> Estimate:
    """Winograd's algorithm on `block` tiles at a time: transforms, matrix products, and what is read for them."""
    lanes, registers, machine = target.isa.lanes, target.isa.registers, target.machine
    clock = machine.cycles_a_second(lanes)
    channels, filters, tile, block = source[3], output[3], choice.tile, choice.block
    rows, columns = winograd.axes(op.kernel, op.stride, tile)
    elements, count = rows.size * columns.size, output[0] * math.prod(tiles_of(output, tile))
    blocks = -(-count // block)
    own = -(-blocks // target.threads)
    inputs, outputs = _transform_cycles(rows, columns)
    product = elements * channels * tiling.tile_channels(filters, block, lanes, registers).cycles
    transforms = block * (inputs * -(-channels // lanes) + outputs * -(-filters // lanes))
    held = 4.0 * elements * block * (channels + filters)
    weights = 4.0 * elements * channels * filters
    # The first block finds the weights where the run does, later ones where they stayed.
    far = max(weights * target.parameter_bytes / (4.0 * math.prod(op.kernel) * channels * filters), weights)
    cold = weights / machine.rate_behind(max(far, machine.l2_bytes + 1))
    stays = held + weights <= machine.l2_bytes
    again = (own - 1) * weights / machine.rate_behind(max(weights, 0 if stays else machine.l2_bytes + 1))
    # What is written and read between the stages.
    away = min(held / (HELD * machine.l2_bytes), 1.0) ** 2
    moved = (1 + (own - 1) * away) * SCATTERED * 2 * held / machine.rate_behind(machine.l2_bytes + 1)
    caches, memory = 0.0, 0.0
    if far > machine.l3_bytes:
        memory += cold
    else:
        caches += cold
    if weights > machine.l3_bytes:
        memory += again
    else:
        caches += again
    nearest: Limit = "L2" if stays else "L3"
    transformed = own * transforms / clock + moved
    return Estimate(own * product / clock, transformed, caches, memory, nearest, STREAM_EXPOSED)


def rows_estimate(op: Conv2D, source: Image, output: Image, target: Target, choice: Choice) -> Estimate:
    """F(tile, r) along the height on `block` tiles at a time: transforms, sums along the width, what they read."""
    lanes, registers, machine = target.isa.lanes, target.isa.registers, target.machine
    clock = machine.cycles_a_second(lanes)
    width, filters, step = output[2], output[3], op.stride[0]
    size = along_height(choice.tile[0], op.kernel[0], step).size
    count = output[0] * -(-output[1] // choice.tile[0])
    blocks = count // choice.block
    own = -(-blocks // target.threads) * choice.block
    taps = step * op.kernel[1] * source[3]
    vectors = -(-filters // lanes)
    product = size * taps * tiling.tile_channels(filters, width, lanes, registers).cycles / SHARE_OF_PEAK
    product += RESULT_CYCLES * size * width * vectors
    inputs, outputs = ROW_CYCLES
    row = step * winograd_rows.row_floats(op, source, output)
    transforms = inputs * -(-row // lanes) + outputs * width * vectors
    weights = 4.0 * size * taps * filters
    far = max(weights * target.parameter_bytes / (4.0 * math.prod(op.kernel) * source[3] * filters), weights)
    caches = weights / machine.rate_behind(max(far, machine.l2_bytes + 1))
    memory = caches if far > machine.l3_bytes else 0.0
    caches -= memory
    caches += (own // choice.block - 1) * weights / machine.rate_behind(2 * weights)
    images = 4.0 * (math.prod(source) + math.prod(output)) / target.threads
    if images > machine.l3_bytes:
        memory += images / machine.rate_behind(images)
    else:
        caches += images / machine.rate_behind(images)
    nearest: Limit = "L2" if 2 * weights <= machine.l2_bytes and images <= machine.l2_bytes else "L3"
    return Estimate(own * product / clock, own * transforms / clock, caches, memory, nearest)


def planar_rows_estimate(op: Conv2D, source: Image, output: Image, target: Target, choice: Choice) -> Estimate:
    """F(tile, r) along the height on one channel: a step loads a vector of pixels, and a weight for each filter."""
    lanes, machine = target.isa.lanes, target.machine
    clock = machine.cycles_a_second(lanes)
    size, width, filters = choice.tile[0] + op.kernel[0] - 1, output[2], output[3]
    tiles = -(-output[0] * -(-output[1] // choice.tile[0]) // target.threads)
    passes = -(-filters // winograd_rows.filters_at_once(op, target, choice.tile[0]))
    vectors = -(-width // lanes)
    steps = tiles * vectors * size * op.kernel[1]
    cycles = steps * (filters + passes) / tiling.LOAD_PORTS / SHARE_OF_PEAK
    inputs, outputs = ROW_CYCLES
    transforms = tiles * (inputs * -(-(width + op.kernel[1] - 1) // lanes) + outputs * vectors * filters)
    weights = 4.0 * size * op.kernel[1] * filters / target.threads
    traffic = _with_traffic(0.0, source, output, target, weights, 1)
    return replace(traffic, arithmetic=cycles / clock, transforms=transforms / clock)
