"""What a generated CPU kernel is specialised to: one frozen dataclass for each template.

A kernel value holds every number that its template prints, and nothing about a particular layer:
two layers with equal kernels share one C function. Offsets and steps are in floats. Every C
function takes its inputs, its packed parameters, its output, then `thread` and `threads`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from cnngen.errors import PlanError
from cnngen.ops import Activation

Strides = tuple[int, int, int, int]


def c_float(value: float) -> str:
    """`value` as a C literal that reads back to the same float32."""
    number = np.float32(value)
    if np.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    text = f"{number:.9g}"
    with np.errstate(over="ignore"):  # the largest float has no shorter text: rounded up it is infinite
        shortest = next((t for p in range(1, 9) if np.float32(t := f"{number:.{p}g}") == number), text)
    return (shortest if any(c in shortest for c in ".e") else shortest + ".0") + "f"


@dataclass(frozen=True)
class Epilogue:
    """What happens to a result before it is stored."""

    activation: Activation | None = None

    def apply(self, variable: str) -> str:
        """The C expression for the activated `variable` (functions of vector_math.h)."""
        if self.activation is None:
            return variable
        constants = {
            "clip": (self.activation.alpha, self.activation.beta),
            "leaky_relu": (self.activation.alpha,),
            "hard_sigmoid": (self.activation.alpha, self.activation.beta),
        }.get(self.activation.function, ())
        arguments = [variable, *(f"v_set1({c_float(constant)})" for constant in constants)]
        return f"act_{self.activation.function}({', '.join(arguments)})"

    @property
    def suffix(self) -> str:
        """Part of a kernel's name."""
        return f"_{self.activation.function}" if self.activation else ""


@dataclass(frozen=True)
class Kernel:
    """Base: `template` is the file under `templates/c/`, `lanes` the vector width it is made for."""

    template: ClassVar[str]
    lanes: int

    @property
    def label(self) -> str:
        """Name of the specialisation, without the ISA."""
        raise NotImplementedError

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        """Floats in each packed parameter array."""
        return ()

    def verify(self) -> None:
        """Raise `PlanError` unless the tiles cover every output element exactly once."""


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


def verify_strips(strips: tuple[Strip, ...], columns: int) -> None:
    """Raise `PlanError` unless `strips` cover `columns` pixels exactly once, in order."""
    end = 0
    for strip in strips:
        if strip.first != end:
            raise PlanError(f"strip {strip} begins at {strip.first}, not at {end}")
        end += strip.pixels * strip.repeat
    if end != columns:
        raise PlanError(f"strips {strips} cover {end} of {columns} pixels")


STREAMED_BYTES = 1 << 20
"""Weights of a layer beyond this are not in L2 when the layer begins."""
PREFETCH_TILES = 16
"""With more tiles for each block of weights the requests cost more (5 %) than they save (7 to 12 %)."""


@dataclass(frozen=True)
class Loop:
    """One loop of a reduction: `count` steps of `step` floats in the input."""

    count: int
    step: int


@dataclass(frozen=True)
class Axis:
    """One loop over output pixels: `count` steps, each so many floats further in every operand."""

    count: int
    input: int
    output: int
    residual: int = 0


@dataclass(frozen=True)
class Strip:
    """`repeat` register tiles of `pixels` pixels side by side, beginning at pixel `first`."""

    first: int
    pixels: int
    repeat: int


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
    weights that come next (0: none).
    """

    pixels: tuple[Pixel, ...]
    vectors: int
    tail: int
    ahead: int


@dataclass(frozen=True)
class ChannelBlocks:
    """`count` blocks of `vectors` vectors of output channels, beginning at channel `first` of a group.

    The last vector of a block holds `tail` channels (0: it is full). `strips` covers a row of pixels.
    """

    first: int
    count: int
    vectors: int
    tail: int
    strips: tuple[Strip, ...]

    @property
    def name(self) -> str:
        return f"{self.vectors}v" + (f"{self.tail}" if self.tail else "")


@dataclass(frozen=True)
class ConvKernel(Kernel):
    """Direct convolution or dense layer: a register tile of pixels x channel vectors, K loops around it.

    `outer` are the loops over rows (and images, where those do not merge); `pixels`, those of one row,
    are tiled by the strips of each block. A small image is one row, whose pixels are not evenly
    spaced: tiles then cross its lines. Weights are packed for each group, block and reduction step as
    `vectors * lanes` channels; the bias for each group and block likewise.
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

    @property
    def label(self) -> str:
        pixels = self.rows * len(self.pixels)
        tiles = "_".join(f"t{block.strips[0].pixels}x{block.name}" for block in self.blocks)
        groups = f"_g{self.groups}" if self.groups > 1 else ""
        extras = ("_res" if self.has_residual else "") + self.epilogue.suffix
        return f"{self.family}_c{self.group_inputs}_o{self.group_outputs}{groups}_p{pixels}_{tiles}{extras}"

    @property
    def taps(self) -> int:
        """Length of the reduction: products summed for one output element."""
        return math.prod(loop.count for loop in self.loops)

    @property
    def rows(self) -> int:
        return math.prod(axis.count for axis in self.outer)

    def tile(self, block: ChannelBlocks, strip: Strip) -> Tile:
        """The register tile of a strip of a block."""
        return self._tile_at(strip.first, strip.pixels, block)

    def _tile_at(self, first: int, count: int, block: ChannelBlocks) -> Tile:
        pixels = self.pixels[first : first + count]
        return Tile(tuple(pixel.behind(pixels[0]) for pixel in pixels), block.vectors, block.tail, self.ahead(block))

    @functools.cached_property
    def tiles(self) -> dict[Tile, str]:
        """Every distinct register tile with the ending of its function's name."""
        tiles: dict[Tile, str] = {}
        for block in self.blocks:
            for strip in block.strips:
                tile = self.tile(block, strip)
                name = f"{len(tile.pixels)}x{block.vectors}" + (f"t{block.tail}" if block.tail else "")
                taken = sum(other == name or other.startswith(name + "_") for other in tiles.values())
                tiles.setdefault(tile, f"{name}_{taken + 1}" if taken else name)
        return tiles

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
        """Floats of the next block's weights to ask for in each reduction step; 0: none.

        Where the weights of a layer come from beyond L2, its few pixels do not hide that: the steps of
        one block ask for the next one, a little each.
        """
        tiles = self.rows * sum(strip.repeat for strip in block.strips)
        streams = self.parameter_sizes[0] * 4 > STREAMED_BYTES
        if block.count == 1 or not 1 < tiles <= PREFETCH_TILES or not streams:
            return 0
        return -(-block.vectors * self.lanes // tiles)

    @property
    def rereads(self) -> bool:
        """Whether the innermost loop reads an input again for the next pixel."""
        reach = self.loops[-1].count * self.loops[-1].step
        return any(reach > b.input - a.input for a, b in itertools.pairwise(self.pixels))

    def last_channel(self, block: ChannelBlocks) -> int:
        """The last output channel (of a group) that a set of blocks computes."""
        floats = block.count * block.vectors * self.lanes
        return block.first + floats - (self.lanes - block.tail if block.tail else 0) - 1

    def block_floats(self, block: ChannelBlocks) -> int:
        """Packed weights of one block."""
        return self.taps * block.vectors * self.lanes

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
        biases = self.groups * self.lanes * sum(b.count * b.vectors for b in self.blocks)
        return (weights, biases) if self.has_bias else (weights,)

    def verify(self) -> None:
        end = 0
        for block in self.blocks:
            if block.first != end or (block.tail and block.count != 1):
                raise PlanError(f"blocks {block} begin at channel {block.first}, not at {end}")
            end = self.last_channel(block) + 1
            verify_strips(block.strips, len(self.pixels))
            for strip in block.strips:
                self._verify_repeats(block, strip)
        if end != self.group_outputs:
            raise PlanError(f"blocks cover {end} of {self.group_outputs} channels")

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


@dataclass(frozen=True)
class PlanarConvKernel(Kernel):
    """Convolution of planes with few output channels: the vector runs along the width.

    For an input whose pixels lie side by side (one channel, or channels-first) and stride 1 along
    the width. `vectors` vectors of pixels by `filters_tile` filters are in registers; results pass
    through a buffer on the stack to become channels-last. Weights: [filter tile][tap][filter].
    """

    template: ClassVar[str] = "conv2d_planar.c.j2"
    family: str
    outer: tuple[Axis, ...]
    columns: int
    filters: int
    filters_tile: int
    vectors: int
    taps: tuple[int, ...]
    out_pixel: int
    residual_pixel: int
    has_bias: bool
    has_residual: bool
    epilogue: Epilogue

    @property
    def label(self) -> str:
        extras = ("_res" if self.has_residual else "") + self.epilogue.suffix
        return (
            f"{self.family}_planar_o{self.filters}_p{math.prod(a.count for a in self.outer) * self.columns}"
            f"_t{self.vectors}vx{self.filters_tile}{extras}"
        )

    @property
    def rows(self) -> int:
        return math.prod(axis.count for axis in self.outer)

    @property
    def passes(self) -> list[tuple[int, int]]:
        """First filter and number of filters of every pass over a row."""
        step = self.filters_tile
        return [(first, min(step, self.filters - first)) for first in range(0, self.filters, step)]

    @property
    def spans(self) -> list[tuple[int, int, int]]:
        """First pixel, vectors and valid lanes of the last vector (0: all) of every tile of a row."""
        width = self.vectors * self.lanes
        spans = []
        for first in range(0, self.columns, width):
            pixels = min(width, self.columns - first)
            spans.append((first, -(-pixels // self.lanes), pixels % self.lanes))
        return spans

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        weights = len(self.taps) * self.filters
        return (weights, self.filters) if self.has_bias else (weights,)

    def verify(self) -> None:
        covered = sum((vectors - 1) * self.lanes + (tail or self.lanes) for _, vectors, tail in self.spans)
        if covered != self.columns or sum(count for _, count in self.passes) != self.filters:
            raise PlanError(f"tiles cover {covered} of {self.columns} pixels, filters {self.passes}")


@dataclass(frozen=True)
class DepthwiseKernel(Kernel):
    """Depthwise convolution: a row of `strips` pixels by one vector of channels in registers.

    Weights: [channel vector][kh][kw][lane]; the bias [channel vector][lane].
    """

    template: ClassVar[str] = "conv2d_depthwise.c.j2"
    family: str
    outer: tuple[Axis, ...]
    columns: Axis
    channels: int
    kernel: tuple[int, int]
    row_step: int
    """floats from one kernel row to the next in the input"""
    column_step: int
    """floats from one input pixel to the next"""
    stride: int
    dilation: int
    strips: tuple[Strip, ...]
    has_bias: bool
    has_residual: bool
    epilogue: Epilogue

    @property
    def label(self) -> str:
        extras = ("_res" if self.has_residual else "") + self.epilogue.suffix
        pixels = math.prod(axis.count for axis in self.outer) * self.columns.count
        return f"{self.family}_c{self.channels}_p{pixels}_t{self.strips[0].pixels}{extras}"

    def columns_of(self, pixels: int) -> list[tuple[int, list[tuple[int, int]]]]:
        """For a tile of `pixels`: every input column it reads, with the (pixel, tap) pairs that use it."""
        uses: dict[int, list[tuple[int, int]]] = {}
        for pixel in range(pixels):
            for tap in range(self.kernel[1]):
                uses.setdefault(pixel * self.stride + tap * self.dilation, []).append((pixel, tap))
        return sorted(uses.items())

    @property
    def rows(self) -> int:
        return math.prod(axis.count for axis in self.outer)

    @property
    def tile_pixels(self) -> list[int]:
        """Every distinct tile height."""
        return list(dict.fromkeys(strip.pixels for strip in self.strips))

    @property
    def vectors(self) -> int:
        return -(-self.channels // self.lanes)

    @property
    def tail(self) -> int:
        return self.channels % self.lanes

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        weights = self.vectors * self.lanes * self.kernel[0] * self.kernel[1]
        return (weights, self.vectors * self.lanes) if self.has_bias else (weights,)

    def verify(self) -> None:
        verify_strips(self.strips, self.columns.count)


@dataclass(frozen=True)
class PoolKernel(Kernel):
    """Pooling, vectorised over channels. Windows are clipped to the image unless none ever leaves it."""

    template: ClassVar[str] = "pool2d.c.j2"
    reduction: Literal["max", "avg"]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    count_include_pad: bool
    batch: int
    channels: int
    in_size: tuple[int, int]
    out_size: tuple[int, int]
    in_strides: Strides
    out_strides: Strides

    @property
    def label(self) -> str:
        (kh, kw), (oh, ow) = self.kernel, self.out_size
        return f"{self.reduction}_pool_{kh}x{kw}s{self.stride[0]}_c{self.channels}_p{self.batch * oh * ow}"

    @property
    def clipped(self) -> bool:
        """Whether some window leaves the image."""
        return any(
            self.padding[2 * axis]
            or (self.out_size[axis] - 1) * self.stride[axis] + self.dilation[axis] * (self.kernel[axis] - 1)
            >= self.in_size[axis]
            for axis in (0, 1)
        )

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width of the image with its padding."""
        top, bottom, left, right = self.padding
        return self.in_size[0] + top + bottom, self.in_size[1] + left + right

    @property
    def tap_list(self) -> list[tuple[int, int]]:
        """Row and column of every tap of the window."""
        return [(i, j) for i in range(self.kernel[0]) for j in range(self.kernel[1])]

    @property
    def unrolled(self) -> bool:
        """Whether the taps are written out one by one."""
        return not self.clipped and self.kernel[0] * self.kernel[1] <= 16

    @property
    def tail(self) -> int:
        return self.channels % self.lanes


@dataclass(frozen=True)
class ElementwiseKernel(Kernel):
    """Sum of the inputs (or scale and shift of one), then the epilogue; vectorised over channels."""

    template: ClassVar[str] = "elementwise.c.j2"
    shape: tuple[int, int, int, int]
    in_strides: tuple[Strides, ...]
    out_strides: Strides
    affine: bool
    epilogue: Epilogue

    @property
    def label(self) -> str:
        what = "affine" if self.affine else ("sum" if len(self.in_strides) > 1 else "map")
        n, h, w, c = self.shape
        return f"{what}{len(self.in_strides)}_c{c}_p{n * h * w}{self.epilogue.suffix}"

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        padded = -(-self.shape[3] // self.lanes) * self.lanes
        return (padded, padded) if self.affine else ()

    @property
    def tail(self) -> int:
        return self.shape[3] % self.lanes


@dataclass(frozen=True)
class LrnKernel(Kernel):
    """Local response normalisation across channels, one pixel after the other."""

    template: ClassVar[str] = "lrn.c.j2"
    shape: tuple[int, int, int, int]
    in_strides: Strides
    out_strides: Strides
    size: int
    alpha: float
    beta: float
    bias: float

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        return f"lrn{self.size}_c{c}_p{n * h * w}"

    @property
    def before(self) -> int:
        """Channels of the window below the own one."""
        return (self.size - 1) // 2

    @property
    def scale(self) -> str:
        return c_float(self.alpha / self.size)

    @property
    def bias_literal(self) -> str:
        return c_float(self.bias)

    @property
    def scratch(self) -> int:
        """Floats for the squares of one pixel, the window's reach around it and one vector beyond."""
        return self.shape[3] + self.size - 1 + self.lanes

    def normalised(self, x: str) -> str:
        """The C expression for ``x base^-beta``; powers of a quarter by square roots."""
        root = "v_sqrt(base)"
        powers = {0.5: root, 0.75: f"v_mul({root}, v_sqrt({root}))", 1.0: "base"}
        if self.beta in powers:
            return f"v_div({x}, {powers[self.beta]})"
        return f"v_mul({x}, v_exp(v_mul(v_set1({c_float(-self.beta)}), v_log(base))))"

    @property
    def tail(self) -> int:
        return self.shape[3] % self.lanes


@dataclass(frozen=True)
class SoftmaxKernel(Kernel):
    """Softmax over the channels of every pixel."""

    template: ClassVar[str] = "softmax.c.j2"
    shape: tuple[int, int, int, int]
    in_strides: Strides
    out_strides: Strides
    partial_sums: ClassVar[int] = 16
    """Fixed, so that the sum has the same bits on every ISA."""

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        return f"softmax_c{c}_p{n * h * w}"

    @property
    def tail(self) -> int:
        return self.shape[3] % self.lanes


@dataclass(frozen=True)
class CopyKernel(Kernel):
    """A copy between any two layouts: padding, transposition, concatenation."""

    template: ClassVar[str] = "copy.c.j2"
    shape: tuple[int, int, int, int]
    in_strides: Strides
    out_strides: Strides

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        return f"copy_{n}x{h}x{w}x{c}"

    @property
    def runs(self) -> bool:
        """Whether a row of pixels is one run of memory on both sides."""
        row = (self.shape[3], 1)
        return self.in_strides[2:] == row and self.out_strides[2:] == row


@dataclass(frozen=True)
class UpsampleKernel(Kernel):
    """Every pixel as a block of `scale` (height, width) equal ones, vectorised over channels.

    `shape` is the output's. An output row is one unit of work, so that a single row is shared, too.
    """

    template: ClassVar[str] = "upsample.c.j2"
    shape: tuple[int, int, int, int]
    scale: tuple[int, int]
    in_strides: Strides
    out_strides: Strides

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        return f"upsample_{self.scale[0]}x{self.scale[1]}_c{c}_p{n * h * w}"

    @property
    def rows(self) -> int:
        """Rows of one image of the input."""
        return self.shape[1] // self.scale[0]

    @property
    def columns(self) -> int:
        """Pixels in a row of the input."""
        return self.shape[2] // self.scale[1]

    @property
    def tail(self) -> int:
        return self.shape[3] % self.lanes

    def verify(self) -> None:
        if (self.rows * self.scale[0], self.columns * self.scale[1]) != self.shape[1:3]:
            raise PlanError(f"blocks of {self.scale} do not fill {self.shape[1]}x{self.shape[2]} pixels")


@dataclass(frozen=True)
class HaloKernel(Kernel):
    """Zeros around every image of a buffer of `shape` (n, h, w, c, without the halo)."""

    template: ClassVar[str] = "halo.c.j2"
    shape: tuple[int, int, int, int]
    halo: tuple[int, int, int, int]

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        return f"halo_{n}x{h}x{w}x{c}_" + "_".join(map(str, self.halo))

    @property
    def rows(self) -> int:
        """Rows of one image with its halo."""
        return self.shape[1] + self.halo[0] + self.halo[1]

    @property
    def row_floats(self) -> int:
        return (self.shape[2] + self.halo[2] + self.halo[3]) * self.shape[3]


AnyKernel = (
    ConvKernel
    | PlanarConvKernel
    | DepthwiseKernel
    | PoolKernel
    | ElementwiseKernel
    | LrnKernel
    | SoftmaxKernel
    | CopyKernel
    | UpsampleKernel
    | HaloKernel
)
"""Every kernel; a `match` over it ends in `assert_never`."""
