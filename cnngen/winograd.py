"""Winograd's minimal filtering: convolutions with fewer multiplications, and what they round.

In one dimension F(m, r) computes m results of a filter g of r taps from n inputs d as ``A^T [(G g) * (B^T d)]``: n
multiplications in place of m r (* is the product element by element). For an image one algorithm runs along the rows
and one along the columns, ``A^T [(G g G'^T) * (B^T d B')] A'``, and the products are summed over the channels (Lavin
and Gray, Fast algorithms for convolutional neural networks, 2016).

- Stride 1: n = m + r - 1. The matrices are those of Toom and Cook, by interpolation at n - 1 points and infinity
  (Blahut, Fast algorithms for signal processing, 2010, 5.2).
- Stride s: a sum of s filters of stride 1, one for each phase of the inputs (those at positions p, p + s, ...) with its
  share of the taps. Its elements are those of the phases, one after the other: n = (m - 1) s + r.
- A single tap multiplies each input: n = m.

F(2x2, 3x3) needs 16 multiplications for what takes 36, F(4x4, 3x3) 36 for 144, F(4x4, 5x5) 64 for 400, and F(2x2,
3x3/2), of stride 2, 25 for 36.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeGuard

import numpy as np

from cnngen.ir import Array
from cnngen.ops import Bound, Conv2D
from cnngen.ops.activation import activated
from cnngen.ops.base import Weights

Tile = tuple[int, int]
"""Rows and columns of results that are computed together."""

POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-2), Fraction(1, 2), Fraction(-1, 2))
"""Of interpolation, beside infinity: the smallest numbers, whose powers stay small, first."""
TILES = {(1, 1): (1,), (3, 1): (2, 4), (5, 1): (2, 4), (3, 2): (2, 4)}
"""Results along an axis, by taps and stride: what there are kernels for."""


@dataclass(frozen=True, eq=False)
class Filtering:
    """F(m, r) in one dimension, exact in float64 but for the fractions in G.

    `inputs` is B^T (n, n), `filters` is G (n, r), `outputs` is A^T (m, n).
    """

    inputs: Array
    filters: Array
    outputs: Array
    stride: int = 1

    @property
    def tile(self) -> int:
        """m: results that are computed together."""
        return len(self.outputs)

    @property
    def size(self) -> int:
        """n: inputs that they see, and multiplications."""
        return len(self.inputs)

    @property
    def taps(self) -> int:
        """r."""
        return int(self.filters.shape[1])

    @property
    def name(self) -> str:
        """In C: f4_3 is F(4, 3), f4_3s2 the one of stride 2."""
        return f"f{self.tile}_{self.taps}" + (f"s{self.stride}" if self.stride > 1 else "")

    @property
    def input_terms(self) -> int:
        """Terms of all sums of B^T d."""
        return int(np.count_nonzero(self.inputs))

    @property
    def result_terms(self) -> int:
        """Terms of all sums of A^T m."""
        return int(np.count_nonzero(self.outputs))

    @property
    def roundings(self) -> int:
        """The most that a term goes through in both transforms of data.

        A sum of n terms with factors rounds each at most n times; the filters are transformed in float64.
        """
        return sum(int(np.count_nonzero(matrix, axis=1).max()) for matrix in (self.inputs, self.outputs))


@functools.cache
def filtering(tile: int, taps: int, stride: int) -> Filtering:
    """F(`tile`, `taps`) for results `stride` inputs apart."""
    phases = [_of_one_phase(tile, len(range(phase, taps, stride))) for phase in range(min(stride, taps))]
    size = (tile - 1) * stride + taps
    inputs, filters = np.zeros((size, size)), np.zeros((size, taps))
    first = 0
    for phase, part in enumerate(phases):
        own = slice(first, first + part.size)
        inputs[own, phase::stride] = part.inputs
        filters[own, phase::stride] = part.filters
        first += part.size
    return Filtering(inputs, filters, np.concatenate([part.outputs for part in phases], axis=1), stride)


def _of_one_phase(tile: int, taps: int) -> Filtering:
    """The algorithm of stride 1; a single tap or result needs no interpolation."""
    size = tile + taps - 1
    if taps == 1:
        return Filtering(np.eye(size), np.ones((size, 1)), np.eye(size))
    if tile == 1:
        return Filtering(np.eye(size), np.eye(size), np.ones((1, size)))
    points = POINTS[: size - 1]
    inputs, filters, outputs = np.zeros((size, size)), np.zeros((size, taps)), np.zeros((tile, size))
    for row, point in enumerate(points):
        others = [other for other in points if other != point]
        scale = functools.reduce(lambda product, other: product * (point - other), others, Fraction(1))
        inputs[row, : size - 1] = _with_roots(others)
        filters[row] = [float(point**power / scale) for power in range(taps)]
        outputs[:, row] = [float(point**power) for power in range(tile)]
    inputs[-1], filters[-1, -1], outputs[-1, -1] = _with_roots(points), 1, 1
    return Filtering(inputs, filters, outputs)


def _with_roots(roots: tuple[Fraction, ...] | list[Fraction]) -> list[float]:
    """The coefficients of the polynomial with these roots, the constant one first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [high - root * low for high, low in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return [float(coefficient) for coefficient in coefficients]


def applies(op: object) -> TypeGuard[Conv2D]:
    """Whether there are algorithms for `op`: a convolution without dilation and groups, of a kernel in `TILES`."""
    return (
        isinstance(op, Conv2D)
        and op.dilation == (1, 1)
        and op.groups == 1
        and all(axis in TILES for axis in zip(op.kernel, op.stride, strict=True))
        and op.kernel != (1, 1)
        and op.pool == (1, 1)
    )


def tiles(op: Conv2D) -> tuple[Tile, ...]:
    """The tiles in which `op`, to which the algorithm applies, can be computed."""
    rows, columns = (TILES[axis] for axis in zip(op.kernel, op.stride, strict=True))
    return tuple((row, column) for column in columns for row in rows)


def within(op: Conv2D, tile: Tile) -> Tile:
    """The largest tile in which `op` can be computed that is no larger than `tile`, along either axis."""
    rows, columns = (TILES[axis] for axis in zip(op.kernel, op.stride, strict=True))
    return max(side for side in rows if side <= tile[0]), max(side for side in columns if side <= tile[1])


def axes(kernel: tuple[int, int], stride: tuple[int, int], tile: Tile) -> tuple[Filtering, Filtering]:
    """The algorithms along the rows and along the columns."""
    rows, columns = (filtering(*axis) for axis in zip(tile, kernel, stride, strict=True))
    return rows, columns


def name(kernel: tuple[int, int], stride: tuple[int, int], tile: Tile) -> str:
    """As people write it: F(2x4, 3x3), and F(4x4, 3x3/2) for stride 2."""
    strides = "x".join(map(str, dict.fromkeys(stride) if stride[0] == stride[1] else stride))
    return f"F({tile[0]}x{tile[1]}, {kernel[0]}x{kernel[1]}" + (")" if stride == (1, 1) else f"/{strides})")


def transform_filters(weight: Array, rows: Filtering, columns: Filtering) -> Array:
    """``G g G'^T`` in float64: (r, r', in, out) to (n, n', in, out)."""
    both = np.kron(rows.filters, columns.filters)  # of rows and columns: one product of matrices
    shape = weight.shape[2:]
    taps = np.asarray(weight, np.float64).reshape(rows.taps * columns.taps, -1)
    return (both @ taps).reshape(rows.size, columns.size, *shape)


def bound(op: Conv2D, inputs: list[Array], weights: Weights, tile: Tile) -> Bound:
    """The value of the convolution, and how far the algorithm for `tile` in float32 may be off.

    Every product of a transformed input and a transformed filter passes through the roundings of the transforms and
    of the sum over the channels, so that gamma_k of Higham's bound applies to the sum of the magnitudes, all of whose
    matrices and operands are absolute: ``|A^T| [sum |G||g||G'^T| * |B^T||d||B'|] |A'|``.
    """
    channels = weights["weight"].shape[2]
    rows, columns = axes(op.kernel, op.stride, tile)
    absolute = {role: np.abs(array) for role, array in weights.items()}
    magnitude = _convolve(op, np.abs(inputs[0]), absolute["weight"], rows, columns)
    if op.use_bias:
        magnitude = magnitude + absolute["bias"]
    if op.residual:
        magnitude = magnitude + np.abs(inputs[1])
    # One more for the filters, which are rounded to float32 once they are transformed.
    roundings = rows.roundings + columns.roundings + 1 + channels + op.use_bias + op.residual
    linear = Bound.of_sum(op.linear(inputs, weights), magnitude, roundings)
    return activated(linear, op.activation)


def _convolve(op: Conv2D, x: Array, weight: Array, rows: Filtering, columns: Filtering) -> Array:
    """The algorithm with absolute matrices on an image (n, h, w, in): (n, oh, ow, out)."""
    (b, g, a), (b2, g2, a2) = (
        [np.abs(matrix) for matrix in (axis.inputs, axis.filters, axis.outputs)] for axis in (rows, columns)
    )
    top, bottom, left, right = op.padding
    height = (x.shape[1] + top + bottom - rows.taps) // rows.stride + 1
    width = (x.shape[2] + left + right - columns.taps) // columns.stride + 1
    counts = (-(-height // rows.tile), -(-width // columns.tile))
    steps = (rows.tile * rows.stride, columns.tile * columns.stride)
    low, last = (step * (count - 1) for step, count in zip(steps, counts, strict=True))
    room = [(0, 0), (top, low + rows.size - x.shape[1] - top), (left, last + columns.size - x.shape[2] - left), (0, 0)]
    padded = np.pad(x, [(before, max(after, 0)) for before, after in room])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (rows.size, columns.size), axis=(1, 2))
    windows = windows[:, : low + 1 : steps[0], : last + 1 : steps[1]]  # (n, rows, columns, in, size, size)
    data = np.einsum("ai,nyxcij,bj->abnyxc", b, windows, b2, optimize=True)
    taps = np.einsum("ai,ijco,bj->abco", g, weight, g2, optimize=True)
    products = data.reshape(*data.shape[:2], -1, data.shape[-1]) @ taps
    results = np.einsum("pa,abto,qb->tpqo", a, products, a2, optimize=True)
    results = results.reshape(len(x), *counts, rows.tile, columns.tile, -1).transpose(0, 1, 3, 2, 4, 5)
    whole = results.reshape(len(x), counts[0] * rows.tile, counts[1] * columns.tile, -1)
    return np.asarray(whole[:, :height, :width])
