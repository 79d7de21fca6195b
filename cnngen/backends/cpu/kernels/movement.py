"""Kernels that move elements and compute nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from cnngen.backends.cpu.kernels.base import Kernel, Strides
from cnngen.backends.text import c_float
from cnngen.errors import PlanError
from cnngen.ops.pad import PadMode


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
class StridedCopyKernel(Kernel):
    """A copy in nested loops, outermost first, of any number and with any steps: transposition, slice, repetition.

    The loops are in the order of the output but for the last two of a transposition, which goes by squares of `tile`
    elements, so that both sides stay within a few cache lines.
    """

    template: ClassVar[str] = "strided_copy.c.j2"
    tile: ClassVar[int] = 16
    counts: tuple[int, ...]
    in_strides: tuple[int, ...]
    out_strides: tuple[int, ...]

    @property
    def label(self) -> str:
        return f"strided_copy_{'x'.join(map(str, self.counts))}"

    @property
    def tiled(self) -> bool:
        """Whether the last loop writes and the one before it reads neighbours, and both are long."""
        return (
            len(self.counts) > 1
            and min(self.counts[-2:]) >= self.tile // 2
            and self.out_strides[-1] == self.in_strides[-2] == 1
            and self.in_strides[-1] not in (0, 1)
        )

    @property
    def run(self) -> bool:
        """Whether the last loop is a run of memory on both sides."""
        return self.in_strides[-1] == self.out_strides[-1] == 1

    @property
    def inner(self) -> int:
        """How many of the loops are within a unit of work; the others are its number."""
        return 2 if len(self.counts) > 2 or self.tiled else 1

    @property
    def blocks(self) -> int:
        """Squares along the last loop but one."""
        return -(-self.counts[-2] // self.tile)

    @property
    def units(self) -> int:
        return math.prod(self.counts[: -self.inner]) * (self.blocks if self.tiled else 1)

    def origin(self, base: str, strides: tuple[int, ...]) -> str:
        """Where the innermost loops begin for the unit at hand: a C expression."""
        terms = [base]
        outer = list(zip(self.counts, strides, strict=True))[: -self.inner]
        below = self.blocks if self.tiled else 1
        for axis in reversed(range(len(outer))):
            count, step = outer[axis]
            index = f"unit / {below}" if below > 1 else "unit"
            if math.prod(self.counts[:axis]) > 1:
                index = f"{index} % {count}"
            if step and count > 1:
                whole = index if index == "unit" else f"({index})"
                terms.insert(1, whole if step == 1 else f"(ptrdiff_t){whole} * {step}")
            below *= count
        return " + ".join(terms)

    def verify(self) -> None:
        if not self.counts or not len(self.counts) == len(self.in_strides) == len(self.out_strides):
            raise PlanError(f"loops {self.counts} with steps {self.in_strides} and {self.out_strides}")
        if any(count > 1 and not step for count, step in zip(self.counts, self.out_strides, strict=True)):
            raise PlanError(f"steps {self.out_strides} of the output write several elements to one place")


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
class BilinearKernel(UpsampleKernel):
    """Interpolated pixels, `scale` (height, width) for one; `positions` are those of `UpsampleBilinear`."""

    template: ClassVar[str] = "upsample_bilinear.c.j2"
    positions: tuple[tuple[tuple[int, float], ...], tuple[tuple[int, float], ...]]

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        return f"bilinear_{self.scale[0]}x{self.scale[1]}_c{c}_p{n * h * w}"

    def lower(self, axis: int) -> list[int]:
        """The lower neighbour of each output of a pixel, relative to it."""
        return [low for low, _ in self.positions[axis]]

    def shares(self, axis: int) -> list[str]:
        """The share of the upper neighbour, as a literal."""
        return [c_float(share) for _, share in self.positions[axis]]

    def rests(self, axis: int) -> list[str]:
        """The share of the lower neighbour."""
        return [c_float(1 - share) for _, share in self.positions[axis]]


@dataclass(frozen=True)
class PadKernel(Kernel):
    """A border of `padding` (top, bottom, left, right) around an image of `in_size`; `shape` is the output's."""

    template: ClassVar[str] = "pad.c.j2"
    shape: tuple[int, int, int, int]
    in_size: tuple[int, int]
    padding: tuple[int, int, int, int]
    mode: PadMode
    value: float
    in_strides: Strides
    out_strides: Strides

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        return f"pad_{self.mode}_{'_'.join(map(str, self.padding))}_c{c}_p{n * h * w}"

    @property
    def value_literal(self) -> str:
        return c_float(self.value)

    @property
    def tail(self) -> int:
        return self.shape[3] % self.lanes

    def ahead(self, axis: int) -> int:
        """Of mode `wrap`: the row or column of the input at which the output begins."""
        return -self.padding[2 * axis] % self.in_size[axis]

    def verify(self) -> None:
        top, bottom, left, right = self.padding
        if (self.in_size[0] + top + bottom, self.in_size[1] + left + right) != self.shape[1:3]:
            raise PlanError(f"padding {self.padding} of {self.in_size} does not make {self.shape[1:3]}")
        if self.mode == "reflect" and (max(top, bottom) >= self.in_size[0] or max(left, right) >= self.in_size[1]):
            raise PlanError(f"reflect padding {self.padding} reaches beyond the image {self.in_size}")


@dataclass(frozen=True)
class ReshapeKernel(Kernel):
    """An image of `shape` of the elements of one of `in_shape`, numbered in `order` on both sides."""

    template: ClassVar[str] = "reshape.c.j2"
    shape: tuple[int, int, int, int]
    in_shape: tuple[int, int, int, int]
    order: Literal["hwc", "chw"]
    in_strides: Strides
    out_strides: Strides

    @property
    def label(self) -> str:
        return f"reshape_{self.order}_{'x'.join(map(str, self.in_shape))}_to_{'x'.join(map(str, self.shape))}"

    @property
    def mixes_images(self) -> bool:
        """Whether elements of one image of the input go to several of the output, or the other way round."""
        return self.shape[0] != self.in_shape[0]

    def verify(self) -> None:
        if math.prod(self.shape) != math.prod(self.in_shape):
            raise PlanError(f"{self.in_shape} and {self.shape} do not have as many elements")


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
