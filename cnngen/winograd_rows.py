"""Winograd's minimal filtering along the height: m rows of results from m + r - 1 transformed rows, and what it rounds.

A column of m results of a filter g of r rows is ``A^T [(G g) * (B^T d)]`` for the m + r - 1 inputs d that it sees; * is
the product element by element, summed over the filter's columns and the channels (Winograd, Arithmetic complexity of
computations, 1980; Lavin and Gray, Fast algorithms for convolutional neural networks, 2016, in one dimension). F(4, 5)
needs 8 multiplications for what takes 20. Along the width the sum stays as it is, with any stride and dilation.

With steps of s rows, s rows of the input are one row of s times the channels, and a filter of r rows is one of r / s,
rounded up: F(4, 7/2) is F(4, 4) on pairs of rows, 7 x 2 multiplications for what takes 28.
"""

from __future__ import annotations

import numpy as np

from cnngen.ir import Array
from cnngen.ops import Bound, Conv2D
from cnngen.ops.activation import activated
from cnngen.ops.base import Weights
from cnngen.winograd import Filtering, filtering

ROW_TILES = {3: (4,), 4: (4,), 5: (2, 4), 7: (2,)}
"""m, by the rows of a filter, or of one on several rows at once."""


def row_tiles(op: object) -> tuple[int, ...]:
    """The m for which there is an F(m, r/s) for `op`: a convolution without groups, and dilation along the height."""
    if not isinstance(op, Conv2D) or op.dilation[0] != 1 or op.groups != 1:
        return ()
    return ROW_TILES.get(-(-op.kernel[0] // op.stride[0]), ())


def along_height(tile: int, taps: int, step: int) -> Filtering:
    """The algorithm for `tile` rows of results, of filters of `taps` rows, on `step` rows at once."""
    return filtering(tile, -(-taps // step), 1)


def transform_rows(weight: Array, tile: int, step: int) -> Array:
    """``G g`` in float64: (r, kw, in, out) to (n, kw, step, in, out)."""
    taps, width, channels, filters = weight.shape
    rows = along_height(tile, taps, step)
    folded = _fold(np.asarray(weight, np.float64), step, rows.taps)
    return np.asarray(np.tensordot(rows.filters, folded, 1)).reshape(rows.size, width, step, channels, filters)


def _fold(weight: Array, step: int, taps: int) -> Array:
    """A filter on `step` rows at once: (r, kw, in, out) to (taps, kw, step in, out), with rows of zeros at its end."""
    height, width, channels, filters = weight.shape
    whole = np.pad(weight, [(0, taps * step - height), (0, 0), (0, 0), (0, 0)])
    parts = whole.reshape(taps, step, width, channels, filters).transpose(0, 2, 1, 3, 4)
    return parts.reshape(taps, width, step * channels, filters)


def bound(op: Conv2D, inputs: list[Array], weights: Weights, tile: int) -> Bound:
    """The value of the convolution, and how far F(`tile`, r/s) along the height in float32 may be off.

    As for Winograd's algorithm in two dimensions (`cnngen.winograd.bound`), the magnitude is what the algorithm makes
    of absolute matrices and operands. A term goes through at most as many roundings in a transform of data as the
    longest row of its matrix has factors, through one in the filter, and through those of the sum.
    """
    weight = weights["weight"]
    rows = along_height(tile, len(weight), op.stride[0])
    magnitude = _convolve(op, np.abs(inputs[0]), np.abs(weight), rows)
    if op.use_bias:
        magnitude = magnitude + np.abs(weights["bias"])
    if op.residual:
        magnitude = magnitude + np.abs(inputs[1])
    terms = op.stride[0] * int(np.prod(weight.shape[1:3]))
    roundings = rows.roundings + 1 + terms + op.use_bias + op.residual
    linear = Bound.of_sum(op.linear(inputs, weights), magnitude, roundings)
    return op.pooled_bound(activated(linear, op.activation))


def _convolve(op: Conv2D, x: Array, weight: Array, rows: Filtering) -> Array:
    """The algorithm with absolute matrices on an image (n, h, w, in): (n, oh, ow, out)."""
    inputs, filters, outputs = (np.abs(matrix) for matrix in (rows.inputs, rows.filters, rows.outputs))
    (step, stride), (_, dilation) = op.stride, op.dilation
    top, bottom, left, right = op.padding
    height = (x.shape[1] + top + bottom - len(weight)) // step + 1
    width = (x.shape[2] + left + right - dilation * (weight.shape[1] - 1) - 1) // stride + 1
    count = -(-height // rows.tile)
    seen = (count - 1) * rows.tile + rows.size
    padded = np.pad(x, [(0, 0), (top, max(seen * step - x.shape[1] - top, 0)), (left, right), (0, 0)])
    folded = padded[:, : seen * step].reshape(len(x), seen, step, *padded.shape[2:]).transpose(0, 1, 3, 2, 4)
    folded = folded.reshape(*folded.shape[:3], -1)  # (n, rows, w, step in)
    tiles = np.lib.stride_tricks.sliding_window_view(folded, rows.size, axis=1)[:, :: rows.tile]
    data = np.einsum("ai,nywci->nyawc", inputs, tiles, optimize=True)  # (n, tiles, points, w, step in)
    taps = np.tensordot(filters, _fold(weight, step, rows.taps), 1)
    products = np.zeros((*data.shape[:3], width, weight.shape[3]))
    for column in range(weight.shape[1]):
        begin = column * dilation
        products += data[:, :, :, begin : begin + stride * (width - 1) + 1 : stride] @ taps[:, column]
    results = np.einsum("pa,nyawo->nypwo", outputs, products, optimize=True)
    return np.asarray(results.reshape(len(x), count * rows.tile, width, -1)[:, :height])
