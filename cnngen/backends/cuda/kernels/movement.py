"""Kernels that move or interpolate elements: a thread for each element, or for each vector of channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.cuda.kernels.base import ItemKernel, Strides
from cnngen.backends.text import c_float
from cnngen.ops.resampling import AxisTable


@dataclass(frozen=True)
class CopyKernel(ItemKernel):
    """A copy between any two layouts and precisions: transposition, concatenation, conversion."""

    template: ClassVar[str] = "copy.cu.j2"
    shape: tuple[int, int, int, int]
    in_strides: Strides
    out_strides: Strides
    input_type: str
    output_type: str

    @property
    def label(self) -> str:
        return "copy_" + "x".join(map(str, self.shape))

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def items(self) -> int:
        return self.elements


@dataclass(frozen=True)
class StridedCopyKernel(ItemKernel):
    """A copy in any number of nested loops with any steps, an element a thread: transposition, slice, repetition."""

    template: ClassVar[str] = "strided_copy.cu.j2"
    counts: tuple[int, ...]
    in_strides: tuple[int, ...]
    out_strides: tuple[int, ...]
    input_type: str
    output_type: str

    @property
    def label(self) -> str:
        return "strided_copy_" + "x".join(map(str, self.counts))

    @property
    def items(self) -> int:
        return math.prod(self.counts)

    def offset(self, strides: tuple[int, ...]) -> str:
        """Where element number `i` lies."""
        terms: list[str] = []
        below = 1
        for axis in reversed(range(len(self.counts))):
            index = f"i / {below}" if below > 1 else "i"
            terms.insert(
                0, f"{index} % {self.counts[axis]} * {strides[axis]}" if axis else f"{index} * {strides[axis]}"
            )
            below *= self.counts[axis]
        return " + ".join(terms)


@dataclass(frozen=True)
class PixelKernel(ItemKernel):
    """Base: a thread writes `vector` channels of one pixel of an output of `shape`."""

    shape: tuple[int, int, int, int]
    in_strides: Strides
    out_strides: Strides
    input_type: str
    output_type: str
    vector: int

    @property
    def vectors(self) -> int:
        return self.shape[3] // self.vector

    @property
    def items(self) -> int:
        """Threads with something to do."""
        return math.prod(self.shape[:3]) * self.vectors

    @property
    def suffix(self) -> str:
        return f"_c{self.shape[3]}_p{math.prod(self.shape[:3])}"


@dataclass(frozen=True)
class UpsampleKernel(PixelKernel):
    """Every pixel as a block of `scale` (height, width) equal ones."""

    template: ClassVar[str] = "upsample.cu.j2"
    scale: tuple[int, int]

    @property
    def label(self) -> str:
        return f"upsample_{self.scale[0]}x{self.scale[1]}{self.suffix}"


@dataclass(frozen=True)
class BilinearKernel(PixelKernel):
    """`scale` (height, width) times as many pixels, each between four of the input."""

    template: ClassVar[str] = "upsample_bilinear.cu.j2"
    scale: tuple[int, int]

    @property
    def label(self) -> str:
        return f"bilinear_{self.scale[0]}x{self.scale[1]}{self.suffix}"

    @property
    def rows(self) -> int:
        """Rows of one image of the input."""
        return self.shape[1] // self.scale[0]

    @property
    def columns(self) -> int:
        return self.shape[2] // self.scale[1]


@dataclass(frozen=True)
class PadKernel(PixelKernel):
    """Rows and columns more: `padding` is (top, bottom, left, right), `in_size` the height and width without."""

    template: ClassVar[str] = "pad.cu.j2"
    in_size: tuple[int, int]
    padding: tuple[int, int, int, int]
    mode: str
    value: float

    @property
    def label(self) -> str:
        return f"pad_{self.mode}_{'_'.join(map(str, self.padding))}{self.suffix}"

    @property
    def value_literal(self) -> str:
        return c_float(self.value)

    def ahead(self, axis: int) -> int:
        """Of mode `wrap`: the row or column of the input at which the output begins."""
        return -self.padding[2 * axis] % self.in_size[axis]


@dataclass(frozen=True)
class ResizeKernel(PixelKernel):
    """Every pixel as a weighted sum of some of the input's, which `tables` (rows, columns) name; `value` beyond it."""

    template: ClassVar[str] = "resize.cu.j2"
    in_size: tuple[int, int]
    tables: tuple[AxisTable, AxisTable]
    value: float

    @property
    def label(self) -> str:
        rows, columns = self.tables
        sizes = f"{self.in_size[0]}x{self.in_size[1]}_to_{rows.size}x{columns.size}"
        return f"resize_{rows.taps}x{columns.taps}_{sizes}{self.suffix}"

    @property
    def value_literal(self) -> str:
        return c_float(self.value)

    @property
    def extrapolates(self) -> bool:
        """Whether any pixel holds `value`."""
        return any(table.extrapolates for table in self.tables)

    def indices(self, axis: int) -> list[int]:
        """What the outputs along `axis` are made of, one output behind the other."""
        return [index for row in self.tables[axis].indices for index in row]

    def weights(self, axis: int) -> list[str]:
        """The weights of these, as literals."""
        return [c_float(weight) for row in self.tables[axis].weights for weight in row]


@dataclass(frozen=True)
class ReshapeKernel(PixelKernel):
    """Another shape for the same elements, numbered in `order` (hwc or chw) on both sides; one a thread."""

    template: ClassVar[str] = "reshape.cu.j2"
    in_shape: tuple[int, int, int, int]
    order: str

    @property
    def label(self) -> str:
        return f"reshape_{self.order}_{'x'.join(map(str, self.in_shape[1:]))}{self.suffix}"

    def offset(self, element: str, shape: tuple[int, int, int, int], strides: Strides) -> str:
        """Where element number `element` of all images of this shape lies."""
        _, h, w, c = shape
        image, row, pixel, channel = strides
        first = f"{element} / {h * w * c} * {image}"
        element = f"{element} % {h * w * c}"
        if self.order == "hwc":
            return (
                f"{first} + {element} / {w * c} * {row} + {element} / {c} % {w} * {pixel} + {element} % {c} * {channel}"
            )
        return f"{first} + {element} / {w} % {h} * {row} + {element} % {w} * {pixel} + {element} / {h * w} * {channel}"
