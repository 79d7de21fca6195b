"""Direct convolution and dense layers: a register tile of pixels by channel vectors."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from cnngen.backends.cpu.kernels.base import Axis, Epilogue, Kernel, Strip, verify_strips
from cnngen.backends.text import several
from cnngen.errors import PlanError

STREAMED_BYTES = 1 << 20
"""Weights of a layer beyond this are not in L2 when the layer begins."""
ASKED_BYTES = 1 << 16
"""Weights of a layer beyond this come from L3 at best when a network runs: its layers push each other out of L2."""
HALVED_LANES = 16
"""Of vectors that some processors compute in two steps."""
LEAST_TAPS_APART = 48
"""Steps of a register tile that take much longer than a call."""
PREFETCH_TILES = 10
"""With more tiles for each block of weights the requests cost more (5 %) than they save (7 to 12 %)."""


@dataclass(frozen=True)
class Loop:
    """One loop of a reduction: `count` steps of `step` floats in the input; `index` is its variable in C."""

    count: int
    step: int
    index: str = field(default="i", compare=False)


class Pixel(NamedTuple):
    """Where a pixel lies in each operand."""

    input: int
    output: int
    residual: int = 0

    def behind(self, origin: Pixel) -> Pixel:
        """The same place, counted from `origin`."""
        return Pixel(self.input - origin.input, self.output - origin.output, self.residual - origin.residual)


@dataclass(frozen=True)
class Tile:
    """A register tile: pixels at these offsets from the first one, by `vectors` vectors of channels.

    The last vector holds `tail` channels (0: it is full). Each step asks for `ahead` floats of the
    weights that come next (0: none). The weights are read in so many `streams`.
    """

    pixels: tuple[Pixel, ...]
    vectors: int
    tail: int
    ahead: int
    streams: int = 1
    halved: bool = False
    """Whether only the first half of the last vector is computed."""


@dataclass(frozen=True)
class TileFunction:
    """The C function of all register tiles of one size.

    Where their pixels lie differently (tiles that cross the lines of an image), `variants` has several
    tiles, and the function takes the offsets of those `operands` in which they differ as arrays. It is
    made anew for each call then; with a long epilogue, which is never inlined, it has one variant only.
    """

    name: str
    variants: tuple[Tile, ...]

    @property
    def tile(self) -> Tile:
        return self.variants[0]

    @functools.cached_property
    def operands(self) -> tuple[str, ...]:
        """The fields of `Pixel` that are not the same in all variants."""
        places = {
            name: {tuple(getattr(p, name) for p in tile.pixels) for tile in self.variants} for name in Pixel._fields
        }
        return tuple(name for name, found in places.items() if len(found) > 1)


@dataclass(frozen=True)
class ChannelBlocks:
    """`count` blocks of `vectors` vectors of output channels, beginning at channel `first` of a group.

    The last vector of a block holds `tail` channels (0: it is full). `strips` covers a row of pixels.
    The weights of a block lie in `streams` parts one after the other, each for as many of its vectors.
    """

    first: int
    count: int
    vectors: int
    tail: int
    strips: tuple[Strip, ...]
    streams: int = 1

    @property
    def name(self) -> str:
        return f"{self.vectors}v" + (f"{self.tail}" if self.tail else "")


@dataclass(frozen=True)
class ConvKernel(Kernel):
    """Direct convolution or dense layer: a register tile of pixels x channel vectors, K loops around it.

    `outer` are the loops over rows (and images, where those do not merge); `pixels`, those of one row,
    are tiled by the strips of each block. A small image is one row, whose pixels are not evenly
    spaced: tiles then cross its lines. Weights are packed for each group, block and reduction step as
    `vectors * lanes` channels; the bias for each group and block likewise. The outputs of a group lie
    `group_output_step` floats behind those of the group before (0: right behind them).

    A unit of work is a block of channels for `chunk` rows. Its reduction is cut into `passes`, between which
    the sums of a unit wait in memory, so that the weights of one pass stay in L1. All channels of a chunk are
    computed before those of the next one: what it reads and writes stays in L2. Tiles that `fetch` ask for what they
    will write, and for the residual, before they begin.

    `storage` is the format of the weights, one of `cnngen.weight_storage.FORMATS`; each vector of them becomes float32
    when it is loaded. Sizes and offsets of weights count numbers of that format.
    """

    template: ClassVar[str] = "conv2d.c.j2"
    family: str
    outer: tuple[Axis, ...]
    pixels: tuple[Pixel, ...]
    groups: int
    group_inputs: int
    group_outputs: int
    group_step: int
    loops: tuple[Loop, ...]
    blocks: tuple[ChannelBlocks, ...]
    has_bias: bool
    has_residual: bool
    epilogue: Epilogue
    group_output_step: int = 0
    passes: tuple[Loop, ...] = ()
    chunk: int = 1
    fetch: bool = False
    storage: str = "fp32"

    @property
    def label(self) -> str:
        pixels = self.rows * len(self.pixels)
        tiles = "_".join(f"t{block.strips[0].pixels}x{block.name}" for block in self.blocks)
        groups = f"_g{self.groups}" if self.groups > 1 else ""
        stored = "" if self.storage == "fp32" else f"_{self.storage}"
        extras = ("_res" if self.has_residual else "") + self.epilogue.suffix
        return f"{self.family}_c{self.group_inputs}_o{self.group_outputs}{groups}_p{pixels}_{tiles}{stored}{extras}"

    @property
    def title(self) -> str:
        """What the kernel computes, for people."""
        taps, channels = several(self.taps, "tap"), several(self.group_outputs, "output channel")
        if self.family == "dense":
            images = several(self.rows * len(self.pixels), "image")
            stored = "" if self.storage == "fp32" else f", weights stored as {self.storage}"
            return (
                f"Dense layer: {several(self.taps, 'input')}, {several(self.group_outputs, 'unit')}, {images}{stored}."
            )
        groups = f" in each of {self.groups} groups" if self.groups > 1 else ""
        pixels = f"{several(self.rows, 'row')} of {several(len(self.pixels), 'pixel')}"
        if self.rows == 1:
            pixels = several(len(self.pixels), "pixel")
        return f"Direct convolution: {taps}, {channels}{groups}, {pixels}."

    @property
    def weight_type(self) -> str:
        """The C type of a weight."""
        return "float" if self.storage == "fp32" else "uint16_t"

    @property
    def weight_bytes(self) -> int:
        return 4 if self.storage == "fp32" else 2

    @property
    def load_weights(self) -> str:
        """What loads a vector of weights, in the words of the vocabulary."""
        return {"fp32": "v_load", "bf16": "v_load_bf16", "fp16": "v_load_f16"}[self.storage]

    @property
    def taps(self) -> int:
        """Length of the reduction: products summed for one output element."""
        return self.pass_count * self.pass_taps

    @property
    def pass_count(self) -> int:
        """Passes of the reduction."""
        return math.prod(loop.count for loop in self.passes)

    @property
    def pass_steps(self) -> list[tuple[Loop, int]]:
        """The loops that passes stand for, each with the number of passes in one of its steps."""
        counts = [loop.count for loop in self.passes]
        return [(loop, math.prod(counts[i + 1 :])) for i, loop in enumerate(self.passes)]

    @property
    def pass_taps(self) -> int:
        """Products for one output element that one pass sums."""
        return math.prod(loop.count for loop in self.loops)

    @property
    def chunks(self) -> int:
        """Groups of rows that units of work compute together."""
        return -(-self.rows // self.chunk)

    @property
    def rows(self) -> int:
        return math.prod(axis.count for axis in self.outer)

    def tile(self, block: ChannelBlocks, strip: Strip) -> Tile:
        """The register tile of a strip of a block."""
        return self._tile_at(strip.first, strip.pixels, block)

    def _tile_at(self, first: int, count: int, block: ChannelBlocks) -> Tile:
        pixels = self.pixels[first : first + count]
        places = tuple(pixel.behind(pixels[0]) for pixel in pixels)
        half = self.storage == "fp32" and halved(block.tail, self.lanes)
        return Tile(places, block.vectors, block.tail, self.ahead(block), block.streams, half)

    @functools.cached_property
    def tiles(self) -> dict[Tile, TileFunction]:
        """Every distinct register tile with the function that computes it."""
        sizes: dict[tuple[int, ...], list[Tile]] = {}
        for block in self.blocks:
            for strip in block.strips:
                tile = self.tile(block, strip)
                form = (tile.vectors, tile.tail, tile.ahead, tile.streams)
                size = sizes.setdefault((len(tile.pixels), *form), [])
                if tile not in size:
                    size.append(tile)
        functions: dict[Tile, TileFunction] = {}
        names: set[str] = set()
        for (pixels, vectors, tail, *_), variants in sizes.items():
            base = f"{pixels}x{vectors}" + (f"t{tail}" if tail else "")
            for group in [[tile] for tile in variants] if self.epilogue.long else [variants]:
                name, number = base, 2
                while name in names:
                    name, number = f"{base}_{number}", number + 1
                names.add(name)
                functions |= dict.fromkeys(group, TileFunction(name, tuple(group)))
        return functions

    @property
    def tile_functions(self) -> list[TileFunction]:
        """Every function of `tiles` once."""
        return list(dict.fromkeys(self.tiles.values()))

    def tiles_before(self, block: ChannelBlocks, strip: Strip) -> int:
        """Tiles of a row in front of this strip."""
        return sum(other.repeat for other in block.strips if other.first < strip.first)

    def step(self, strip: Strip) -> Pixel:
        """From one tile of a strip to the next."""
        if strip.repeat == 1:
            return Pixel(0, 0, 0)
        return self.pixels[strip.first + strip.pixels].behind(self.pixels[strip.first])

    def unroll(self, pixels: int, vectors: int) -> int:
        """Steps of the innermost loop that are written out: about 32 multiply-adds, or all of a short loop."""
        count = self.loops[-1].count
        return count if count * pixels * vectors <= 48 else max(min(count, 32 // (pixels * vectors)), 1)

    def ahead(self, block: ChannelBlocks) -> int:
        """How many of the next block's weights to ask for in each reduction step; 0: none.

        Where the weights of a layer come from beyond L2, its few pixels do not hide that: the steps of
        one block ask for the next one, a little each. With several passes it is the next pass of which they do.
        Groups are often elements of Winograd's tiles, whose weights are read again for every block of tiles.
        """
        tiles = self.chunk * sum(strip.repeat for strip in block.strips)
        far = self.parameter_sizes[0] * 4 > (ASKED_BYTES if self.groups == 1 else STREAMED_BYTES)
        if block.count * self.pass_count == 1 or not 1 < tiles <= PREFETCH_TILES or not far:
            return 0
        return -(-block.vectors * self.lanes // tiles)

    @property
    def apart(self) -> bool:
        """Whether a call costs tiles next to nothing, while constants of the code around them would cost registers."""
        return self.pass_taps >= LEAST_TAPS_APART

    @property
    def rereads(self) -> bool:
        """Whether the innermost loop reads an input again for the next pixel."""
        reach = self.loops[-1].count * self.loops[-1].step
        return any(reach > b.input - a.input for a, b in itertools.pairwise(self.pixels))

    def unit(self, block: ChannelBlocks) -> str:
        """What a unit of work of these blocks is: the name of its index in C."""
        if block.count * self.groups == 1:
            return "chunk" if self.chunk > 1 else "row"
        if self.chunks > 1 or (block.count > 1 and self.groups > 1):
            return "unit"
        return "block" if block.count > 1 else "group"

    def last_channel(self, block: ChannelBlocks) -> int:
        """The last output channel (of a group) that a set of blocks computes."""
        floats = block.count * block.vectors * self.lanes
        return block.first + floats - (self.lanes - block.tail if block.tail else 0) - 1

    def pass_floats(self, block: ChannelBlocks) -> int:
        """Packed weights of one pass of a block."""
        return self.pass_taps * block.vectors * self.lanes

    def sums(self, block: ChannelBlocks) -> int:
        """Floats that wait between two passes of a unit."""
        return self.chunk * len(self.pixels) * block.vectors * self.lanes

    def block_floats(self, block: ChannelBlocks) -> int:
        """Packed weights of one block."""
        return self.taps * block.vectors * self.lanes

    @property
    def group_output(self) -> int:
        """From the outputs of one group to those of the next."""
        return self.group_output_step or self.group_outputs

    def weight_offset(self, block: ChannelBlocks) -> int:
        """Where the weights of this set of blocks begin."""
        return self.groups * sum(b.count * self.block_floats(b) for b in self.blocks[: self.blocks.index(block)])

    def bias_offset(self, block: ChannelBlocks) -> int:
        """Where the biases of this set of blocks begin."""
        earlier = self.blocks[: self.blocks.index(block)]
        return self.groups * self.lanes * sum(b.count * b.vectors for b in earlier)

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        weights = self.groups * sum(b.count * self.block_floats(b) for b in self.blocks)
        weights = -(-weights * self.weight_bytes // 4)
        biases = self.groups * self.lanes * sum(b.count * b.vectors for b in self.blocks)
        return (weights, biases) if self.has_bias else (weights,)

    def verify(self) -> None:
        end = 0
        for block in self.blocks:
            if block.first != end or (block.tail and block.count != 1) or block.vectors % block.streams:
                raise PlanError(f"blocks {block} begin at channel {block.first}, not at {end}")
            end = self.last_channel(block) + 1
            verify_strips(block.strips, len(self.pixels))
            for strip in block.strips:
                self._verify_repeats(block, strip)
        if end != self.group_outputs:
            raise PlanError(f"blocks cover {end} of {self.group_outputs} channels")
        if not 0 < self.chunk <= self.rows:
            raise PlanError(f"{self.chunk} rows at a time, of {self.rows}")

    def _verify_repeats(self, block: ChannelBlocks, strip: Strip) -> None:
        """The tiles of a strip are alike and evenly spaced."""
        step, start = self.step(strip), self.pixels[strip.first]
        for t in range(strip.repeat):
            first = strip.first + t * strip.pixels
            expected = Pixel(t * step.input, t * step.output, t * step.residual)
            if self.pixels[first].behind(start) != expected:
                raise PlanError(f"tile {t} of {strip} is not where the steps lead")
            if self._tile_at(first, strip.pixels, block) != self.tile(block, strip):
                raise PlanError(f"tile {t} of {strip} has another shape")


def halved(tail: int, lanes: int) -> bool:
    """Whether `tail` channels are computed in half a vector: AVX-512 has the means (h_t of simd.h)."""
    return lanes == HALVED_LANES and 0 < tail <= lanes // 2


def even_strips(strips: tuple[Strip, ...], pixels: Sequence[Pixel]) -> tuple[Strip, ...]:
    """The same tiles in strips whose tiles are alike and evenly spaced."""
    result: list[Strip] = []
    for strip in strips:
        firsts = [strip.first + t * strip.pixels for t in range(strip.repeat)]
        shapes = [[p.behind(pixels[f]) for p in pixels[f : f + strip.pixels]] for f in firsts]
        start = 0
        while start < len(firsts):
            end = start + 1
            step = pixels[firsts[end]].behind(pixels[firsts[start]]) if end < len(firsts) else None
            while (
                end < len(firsts)
                and shapes[end] == shapes[start]
                and pixels[firsts[end]].behind(pixels[firsts[end - 1]]) == step
            ):
                end += 1
            result.append(Strip(firsts[start], strip.pixels, end - start))
            start = end
    return tuple(result)
