"""Winograd's minimal filtering: a 3x3 convolution of stride 1 with fewer multiplications, and what it rounds.

A tile of m x m results is ``A^T [(G g G^T) * (B^T d B)] A`` for a filter g and the (m + 2) x (m + 2) inputs d that the
tile sees; * is the product element by element, summed over the channels (Lavin and Gray, Fast algorithms for
convolutional neural networks, 2016). F(2x2, 3x3) needs 16 multiplications for what takes 36, F(4x4, 3x3) 36 for 144.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnngen.ir import Array
from cnngen.ops import Bound, Conv2D
from cnngen.ops.activation import activated
from cnngen.ops.base import Weights


@dataclass(frozen=True, eq=False)
class Transform:
    """The matrices of F(m x m, 3x3), exact in float64 but for the thirds in G.

    `inputs` is B^T (m + 2, m + 2), `filters` is G (m + 2, 3), `outputs` is A^T (m, m + 2).
    """

    inputs: Array
    filters: Array
    outputs: Array

    @property
    def tile(self) -> int:
        """m: results along a side of a tile."""
        return len(self.outputs)

    @property
    def size(self) -> int:
        """m + 2: inputs along a side of a tile."""
        return len(self.inputs)

    @property
    def roundings(self) -> int:
        """The most that a term goes through in both transforms of data, rows and columns, and in that of the filters.

        A sum of n terms with factors rounds each at most n times; the filters are transformed in float64.
        """
        longest = [int(np.count_nonzero(matrix, axis=1).max()) for matrix in (self.inputs, self.outputs)]
        return 2 * sum(longest) + 1


TRANSFORMS = {
    transform.tile: transform
    for transform in (
        Transform(
            np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float64),
            np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
            np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float64),
        ),
        Transform(
            np.array(
                [
                    [4, 0, -5, 0, 1, 0],
                    [0, -4, -4, 1, 1, 0],
                    [0, 4, -4, -1, 1, 0],
                    [0, -2, -1, 2, 1, 0],
                    [0, 2, -1, -2, 1, 0],
                    [0, 4, 0, -5, 0, 1],
                ],
                np.float64,
            ),
            np.array(
                [
                    [1 / 4, 0, 0],
                    [-1 / 6, -1 / 6, -1 / 6],
                    [-1 / 6, 1 / 6, -1 / 6],
                    [1 / 24, 1 / 12, 1 / 6],
                    [1 / 24, -1 / 12, 1 / 6],
                    [0, 0, 1],
                ]
            ),
            np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float64),
        ),
    )
}
"""By m. The points of interpolation are 0, 1, -1 and infinity; for m = 4 also 2 and -2."""


def applies(op: object) -> bool:
    """Whether the algorithm computes `op`: a 3x3 convolution of stride 1 without dilation and groups."""
    return (
        isinstance(op, Conv2D)
        and op.kernel == (3, 3)
        and op.stride == (1, 1)
        and op.dilation == (1, 1)
        and op.groups == 1
    )


def transform_filters(weight: Array, tile: int) -> Array:
    """``G g G^T`` in float64: (3, 3, in, out) to (m + 2, m + 2, in, out)."""
    filters = TRANSFORMS[tile].filters
    both = np.kron(filters, filters)  # of rows and columns: one product of matrices
    size, shape = len(filters), weight.shape[2:]
    return (both @ np.asarray(weight, np.float64).reshape(9, -1)).reshape(size, size, *shape)


def bound(op: Conv2D, inputs: list[Array], weights: Weights, tile: int) -> Bound:
    """The value of the convolution, and how far F(`tile`x`tile`, 3x3) in float32 may be off.

    Every product of a transformed input and a transformed filter passes through the roundings of the transforms and
    of the sum over the channels, so that gamma_k of Higham's bound applies to the sum of the magnitudes, all of whose
    matrices and operands are absolute: ``|A^T| [sum |G||g||G^T| * |B^T||d||B|] |A|``.
    """
    channels = weights["weight"].shape[2]
    absolute = {role: np.abs(array) for role, array in weights.items()}
    magnitude = _convolve(op, np.abs(inputs[0]), absolute["weight"], tile)
    if op.use_bias:
        magnitude = magnitude + absolute["bias"]
    if op.residual:
        magnitude = magnitude + np.abs(inputs[1])
    roundings = TRANSFORMS[tile].roundings + channels + op.use_bias + op.residual
    linear = Bound.of_sum(op.linear(inputs, weights), magnitude, roundings)
    return activated(linear, op.activation)


def _convolve(op: Conv2D, x: Array, weight: Array, tile: int) -> Array:
    """The algorithm with absolute matrices on an image (n, h, w, in): (n, oh, ow, out)."""
    transform = TRANSFORMS[tile]
    inputs, filters, outputs = (np.abs(matrix) for matrix in (transform.inputs, transform.filters, transform.outputs))
    top, bottom, left, right = op.padding
    height, width = x.shape[1] + top + bottom - 2, x.shape[2] + left + right - 2
    rows, columns = -(-height // tile), -(-width // tile)
    room = [(0, 0), (top, rows * tile + 2 - x.shape[1] - top), (left, columns * tile + 2 - x.shape[2] - left), (0, 0)]
    padded = np.pad(x, [(low, max(high, 0)) for low, high in room])
    tiles = np.lib.stride_tricks.sliding_window_view(padded, (transform.size, transform.size), axis=(1, 2))
    tiles = tiles[:, : rows * tile : tile, : columns * tile : tile]  # (n, rows, columns, in, size, size)
    data = np.einsum("ai,nyxcij,bj->abnyxc", inputs, tiles, inputs, optimize=True)
    taps = np.einsum("ai,ijco,bj->abco", filters, weight, filters, optimize=True)
    products = data.reshape(*data.shape[:2], -1, data.shape[-1]) @ taps
    results = np.einsum("pa,abto,qb->tpqo", outputs, products, outputs, optimize=True)
    results = results.reshape(len(x), rows, columns, tile, tile, -1).transpose(0, 1, 3, 2, 4, 5)
    return np.asarray(results.reshape(len(x), rows * tile, columns * tile, -1)[:, :height, :width])
