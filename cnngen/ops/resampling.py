"""Where a resized image takes its pixels from: along one axis, which elements with which weights, as a table.

The arithmetic is that of ONNX Resize, in float64, step by step as in its reference implementation
(onnx/reference/ops/op_resize.py), so that ties fall to the same side. In one thing it differs: neighbours are
counted from the same whole number as the weights. There they are counted from the position plus a border, which rounds
a position a little above an element to the element itself: the weights then go to the wrong neighbours.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array

ResizeMode = Literal["nearest", "linear", "cubic"]
Coordinates = Literal[
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
]
Rounding = Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
AspectRatio = Literal["stretch", "not_larger", "not_smaller"]

MAX_ENTRIES = 2**18
"""Of the table of one axis; it is written into the generated code."""
NEGLIGIBLE = 2.0**-40
"""A weight below is a rounded zero: positions are a few roundings of 2^-53 off, times the size of the image."""


@dataclass(frozen=True)
class Resampling:
    """How the elements of an output are made of those of an input, the same along both axes.

    `rounding` is for mode `nearest`: to which side a position between two elements goes. The elements of `cubic`
    are weighted by Keys' kernel with the parameter `cubic_coeff_a`. With `antialias` the kernels of `linear` and
    `cubic` are as many times wider as the image gets smaller. With `exclude_outside` elements beyond the border
    weigh nothing, and the others as much more; without, they are equal to the one at the border.
    """

    mode: ResizeMode = "nearest"
    coordinates: Coordinates = "half_pixel"
    rounding: Rounding = "round_prefer_floor"
    exclude_outside: bool = False
    antialias: bool = False
    cubic_coeff_a: float = -0.75


@dataclass(frozen=True)
class AxisTable:
    """Along one axis: output i is the sum over t of ``weights[i][t] x[indices[i][t]]``.

    Every output has the same number of taps. What reads fewer elements has the weight of its last one in halves:
    their sum is exact. No weight is zero, so nothing that an output does not depend on (a NaN, say) gets into it.
    Outputs outside of ``inside[0]`` to ``inside[1]`` (first, one behind the last) are extrapolated, whatever the table
    says there. `reads` are the elements of an endless input that weigh something, before the border is seen to.
    """

    indices: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    inside: tuple[int, int]
    reads: tuple[tuple[int, ...], ...]

    @property
    def taps(self) -> int:
        return len(self.indices[0])

    @property
    def size(self) -> int:
        """Number of outputs."""
        return len(self.indices)

    @property
    def copies(self) -> bool:
        """Whether every output is one element of the input."""
        return self.taps == 1 and all(weight == 1.0 for (weight,) in self.weights)

    @property
    def extrapolates(self) -> bool:
        return self.inside != (0, self.size)


def resolve_size(
    size: tuple[int, int],
    *,
    target: tuple[int, int] | None = None,
    scale: tuple[float, float] | None = None,
    policy: AspectRatio = "stretch",
) -> tuple[tuple[int, int], tuple[float, float]]:
    """Output size and scale of an image of `size` (height, width), as ONNX Resize has them.

    Of `target` and `scale` one is given. A scale gives ``floor(size * scale)``. With the policy `not_larger` the
    whole image gets into the target, with `not_smaller` it covers it: both scales are the smaller or the larger one,
    and sizes are rounded to the nearest. Raises `ShapeError` where nothing is left of the image.
    """
    if min(size) < 1:
        raise ShapeError(f"an image of {size[0]}x{size[1]} pixels cannot be resized")
    if target is None:
        assert scale is not None
        target = (int(size[0] * scale[0]), int(size[1] * scale[1]))
    else:
        scale = (target[0] / size[0], target[1] / size[1])
        if policy != "stretch":
            common = min(scale) if policy == "not_larger" else max(scale)
            scale = (common, common)
            target = (int(size[0] * common + 0.5), int(size[1] * common + 0.5))
    if min(target) < 1:
        raise ShapeError(
            f"a scale of {scale[0]:g}x{scale[1]:g} leaves nothing of {size[0]}x{size[1]} pixels",
            remedy="use a larger scale, or write the size",
        )
    return target, scale


@functools.lru_cache(maxsize=256)
def axis_table(
    how: Resampling, size: int, output: int, scale: float, region: tuple[float, float] = (0.0, 1.0)
) -> AxisTable:
    """The table from `size` elements to `output` ones; `region` (begin, end) is for `tf_crop_and_resize`.

    Raises `ShapeError` where it has more than `MAX_ENTRIES` entries.
    """
    whole = how.coordinates != "tf_crop_and_resize" or (math.isclose(region[0], 0) and math.isclose(region[1], 1))
    if math.isclose(scale, 1.0) and output == size and whole:
        verify_entries(output)
        each = tuple((index,) for index in range(size))
        return AxisTable(each, ((1.0,),) * size, (0, size), each)
    taps = kernel_width(how, scale)
    verify_entries(output * taps)
    position = source_positions(how.coordinates, size, output, scale, region)
    inside = (0, output)
    if how.coordinates == "tf_crop_and_resize":
        within = np.flatnonzero((position >= 0) & (position <= size - 1))
        inside = (int(within[0]), int(within[-1]) + 1) if within.size else (0, 0)
    floor = np.floor(position)
    # The element on the left is preferred: a position on an element is 1 away from the one before.
    ratio = np.where(position == floor, 1.0, position - floor)
    weights = np.stack([coefficients(how, float(share), scale) for share in ratio])
    weights = np.where(np.abs(weights) < NEGLIGIBLE, 0.0, weights)
    first = np.where(position == floor, floor - taps // 2, floor + 1 - taps // 2).astype(np.int64)
    neighbours = first[:, None] + np.arange(taps)
    if how.exclude_outside:
        weights = np.where((neighbours < 0) | (neighbours >= size), 0.0, weights)
        total = weights.sum(axis=1, keepdims=True)
        weights = weights / np.where(total == 0, 1.0, total)
    return _table(neighbours, weights, size, inside)


def verify_entries(entries: int) -> None:
    """Raise `ShapeError` where a table has too many."""
    if entries > MAX_ENTRIES:
        raise ShapeError(
            f"the table of one axis has {entries:,} entries, more than {MAX_ENTRIES:,}",
            remedy="use a smaller output, or resize in two steps",
        )


def source_positions(
    coordinates: Coordinates, size: int, output: int, scale: float, region: tuple[float, float]
) -> Array:
    """Where each output lies in the input, in elements: float64 of shape (output,)."""
    y = np.arange(output, dtype=np.float64)
    length = scale * size  # not rounded to whole elements
    match coordinates:
        case "half_pixel":
            return np.asarray((y + 0.5) / scale - 0.5)
        case "pytorch_half_pixel":
            # A single element is at 0 in ONNX's text; its reference implementation has -1/2, which reads the same one.
            return np.zeros(output) if length == 1 else np.asarray((y + 0.5) / scale - 0.5)
        case "half_pixel_symmetric":
            offset = size / 2 * (1 - output / length)
            return np.asarray(offset + (y + 0.5) / scale - 0.5)
        case "align_corners":
            return np.zeros(output) if length == 1 else np.asarray(y * (size - 1) / (length - 1))
        case "asymmetric":
            return np.asarray(y / scale)
        case "tf_crop_and_resize":
            begin, end = region
            if length == 1:
                position = np.full(output, (end - begin) * (size - 1) / 2)
            else:
                position = np.asarray(y * (end - begin) * (size - 1) / (length - 1))
            return np.asarray(position + begin * (size - 1))
        case _:
            assert_never(coordinates)


def kernel_width(how: Resampling, scale: float) -> int:
    """Number of neighbours that an output is made of."""
    reach = {"nearest": 1, "linear": 1, "cubic": 2}[how.mode]
    if not how.antialias or how.mode == "nearest":
        return 2 * reach
    return 2 - 2 * (math.floor(-reach / min(scale, 1.0)) + 1)


def coefficients(how: Resampling, ratio: float, scale: float) -> Array:
    """Weights of the neighbours of a position that is `ratio`, in (0, 1], behind the element on its left."""
    match how.mode:
        case "nearest":
            lower = {
                "round_prefer_floor": ratio <= 0.5,
                "round_prefer_ceil": ratio < 0.5,
                "floor": True,
                "ceil": False,
            }[how.rounding]
            return np.array([1.0, 0.0] if lower and ratio != 1 else [0.0, 1.0])
        case "linear" if not how.antialias:
            return np.array([1 - ratio, ratio])
        case "linear":
            distance = _distances(kernel_width(how, scale), ratio, scale)
            weights = np.clip(1 - distance, 0, 1)
            return np.asarray(weights / weights.sum())
        case "cubic" if not how.antialias:
            return keys_kernel(np.array([ratio + 1, ratio, 1 - ratio, 2 - ratio]), how.cubic_coeff_a)
        case "cubic":
            weights = keys_kernel(_distances(kernel_width(how, scale), ratio, scale), how.cubic_coeff_a)
            return np.asarray(weights / weights.sum())
        case _:
            assert_never(how.mode)


def keys_kernel(x: Array, a: float) -> Array:
    """Cubic convolution of distances x >= 0 (Keys, 1981): 1 at 0, 0 at all other whole numbers."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.asarray(np.where(x <= 1, near, np.where(x < 2, far, 0.0)))


def _distances(taps: int, ratio: float, scale: float) -> Array:
    """Distances of the neighbours in units of a kernel that is stretched as far as the image is shrunk."""
    return np.asarray(np.abs(np.arange(1 - taps // 2, 1 + taps // 2) - ratio) * min(scale, 1.0))


def _table(neighbours: Array, weights: Array, size: int, inside: tuple[int, int]) -> AxisTable:
    """Elements beyond the border as the one at the border, each element once, all rows of one length."""
    reads, rows = [], []
    for number, (indices, factors) in enumerate(zip(neighbours.tolist(), weights.tolist(), strict=True)):
        extrapolated = not inside[0] <= number < inside[1]
        reads.append(() if extrapolated else tuple(i for i, weight in zip(indices, factors, strict=True) if weight))
        merged: dict[int, float] = defaultdict(float)
        for index, weight in zip(indices, factors, strict=True):
            merged[min(max(index, 0), size - 1)] += weight
        row = [(index, weight) for index, weight in merged.items() if weight]
        if extrapolated or (len(row) == 1 and abs(row[0][1] - 1) < NEGLIGIBLE):
            row = [(0 if extrapolated else row[0][0], 1.0)]
        rows.append(row or [(indices[0] % size, 0.0)])
    taps = max(map(len, rows))
    for row in rows:
        while len(row) < taps:
            index, weight = row.pop()
            row += [(index, weight / 2)] * 2
    return AxisTable(
        tuple(tuple(index for index, _ in row) for row in rows),
        tuple(tuple(weight for _, weight in row) for row in rows),
        inside,
        tuple(reads),
    )
