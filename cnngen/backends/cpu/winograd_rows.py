"""Convolutions by Winograd's algorithm along the height: how many tiles at a time, which halo, which kernel.

As in two dimensions (`cnngen.backends.cpu.winograd`) a block of tiles goes through three stages: its input rows are
transformed, multiplied, the products are transformed into rows of results. A transformed row keeps its pixels and
channels: the product is a direct convolution whose kernel has one row, and few channels are as good as many. With
steps of several rows it has a row for each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cnngen.backends.cpu.blocking import apart
from cnngen.backends.cpu.choices import Choice, Image
from cnngen.backends.cpu.kernels import ConvKernel, Epilogue, WinogradRowsKernel
from cnngen.backends.cpu.target import Target
from cnngen.errors import PlanError
from cnngen.ops import Conv2D
from cnngen.plan.memory import Halo, View
from cnngen.winograd_rows import along_height, row_tiles

HELD = 0.5
"""Share of L2 that transformed rows and products of a block may take."""

ProductOf = Callable[[int, int, int, int], ConvKernel]
"""Of elements, rows, and the floats from one row to the next of input and output: the sums along the width."""


def choose(op: Conv2D, source: Image, output: Image, target: Target) -> Choice | None:
    """How a layer is computed along the height, or None where another algorithm is to compute it.

    Raises `PlanError` for a choice that cannot be.
    """
    from cnngen.backends.cpu import cost

    chosen = target.choices.find(op, source, output) or cost.fastest(op, source, output, target).choice
    if chosen.algorithm != "rows":
        return None
    if chosen.tile[0] not in row_tiles(op) or target.reproducible:
        raise PlanError(f"{chosen} cannot compute {op}", remedy="choose another algorithm, or tune again")
    return chosen


def halo(op: Conv2D, source: Image, output: Image, choice: Choice) -> Halo:
    """The zero pixels around the input that whole tiles read: also those below the last row."""
    top, _, left, _ = op.padding
    rows = along_height(choice.tile[0], op.kernel[0], op.stride[0])
    seen = (-(-output[1] // rows.tile) - 1) * rows.tile + rows.size
    bottom = seen * op.stride[0] - top - source[1]
    right = (output[2] - 1) * op.stride[1] + op.dilation[1] * (op.kernel[1] - 1) + 1 - left - source[2]
    return (top, max(bottom, 0), left, max(right, 0))


def row_floats(op: Conv2D, source: Image, output: Image) -> int:
    """Floats of an input row that its results read."""
    return ((output[2] - 1) * op.stride[1] + op.dilation[1] * (op.kernel[1] - 1) + 1) * source[3]


def block_of(op: Conv2D, source: Image, output: Image, target: Target, tile: int) -> int:
    """Tiles of a block: one where the filters stay in L1, else as many as L2 holds and as leave each thread a block."""
    count, step = output[0] * -(-output[1] // tile), op.stride[0]
    size = along_height(tile, op.kernel[0], step).size
    if 4 * size * step * op.kernel[1] * source[3] * output[3] <= target.machine.l1_bytes:
        return 1
    floats = size * (step * apart(row_floats(op, source, output)) + output[2] * apart(output[3]))
    most = max(int(HELD * target.machine.l2_bytes) // (4 * floats), 1)
    return max(n for n in range(1, count + 1) if count % n == 0 and (n == 1 or n <= min(most, count // target.threads)))


def fits(source: View, write: View) -> bool:
    """Whether rows of the input are one run of memory, and channels of the output lie side by side."""
    return source.strides[3] == write.strides[3] == 1 and source.strides[2] == source.shape[3]


def kernel(
    op: Conv2D, source: View, write: View, residual: View | None, choice: Choice, target: Target, product_of: ProductOf
) -> WinogradRowsKernel:
    """The kernel for `choice`; `source` begins at the first padding pixel."""
    tile, step = choice.tile[0], op.stride[0]
    size = along_height(tile, op.kernel[0], step).size
    block = choice.block or block_of(op, source.shape, write.shape, target, tile)
    row = row_floats(op, source.shape, write.shape)
    in_row, out_row = step * apart(row), write.shape[2] * apart(op.filters)
    product = replace(
        product_of(size, block, in_row, out_row), group_step=block * in_row, group_output_step=block * out_row
    )
    return WinogradRowsKernel(
        target.isa.lanes,
        tile,
        op.kernel[0],
        step,
        write.shape,
        row,
        source.strides,
        write.strides,
        residual.strides if residual else None,
        product,
        block,
        target.threads,
        op.use_bias,
        Epilogue(op.activation),
    )
