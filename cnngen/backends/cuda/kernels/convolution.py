"""Convolution as a matrix product (implicit GEMM): pixels x taps times taps x channels, a tile for each block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.cuda.kernels.base import CudaKernel, Epilogue, ItemKernel, Launch, Strides, ceil_div
from cnngen.errors import PlanError

ROW_BYTES = 128
"""A row of a tile in shared memory: one pixel's, or one channel's, numbers of a slice of the taps."""
CHUNK_BYTES = 16
"""What one thread copies at a time."""
THREAD_TILE = 8
"""Without tensor cores a thread computes 8 pixels x 8 channels."""


@dataclass(frozen=True)
class Tile:
    """Pixels and channels of a block, cut into `warps` (along pixels, along channels), and slices in flight.

    `splits` blocks share the taps of a tile, and leave partial sums.
    """

    pixels: int
    channels: int
    warps: tuple[int, int]
    stages: int
    splits: int = 1


@dataclass(frozen=True)
class GemmConvKernel(CudaKernel):
    """Implicit-GEMM convolution; a dense layer is one of 1x1 pixels.

    The taps are ordered row, column, input channel, which is the order of the packed weights. `vector`
    is the numbers that lie side by side and aligned in the input for every tap, `store_vector` (1 or 2) those
    of the output that a thread stores together.
    """

    template: ClassVar[str] = "conv2d.cu.j2"
    batch: int
    in_size: tuple[int, int]
    in_strides: Strides
    groups: int
    group_inputs: int
    group_outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    out_size: tuple[int, int]
    out_strides: Strides
    residual_strides: Strides
    input_type: str
    output_type: str
    tile: Tile
    vector: int
    store_vector: int
    has_bias: bool
    has_residual: bool
    epilogue: Epilogue

    @property
    def label(self) -> str:
        (kh, kw), (sh, sw) = self.kernel, self.stride
        groups = f"g{self.groups}_" if self.groups > 1 else ""
        shape = (
            f"conv2d_{kh}x{kw}s{sh if sh == sw else f'{sh}x{sw}'}_{groups}c{self.group_inputs}_o{self.group_outputs}"
        )
        tile = f"t{self.tile.pixels}x{self.tile.channels}" + (f"k{self.splits}" if self.splits > 1 else "")
        return f"{shape}_p{self.pixels}_{tile}{self.epilogue.suffix}"

    @property
    def launch(self) -> Launch:
        grid = (
            ceil_div(self.pixels, self.tile.pixels),
            ceil_div(self.group_outputs, self.tile.channels),
            self.groups * self.splits,
        )
        return Launch(grid, self.threads, self.stages * self.stage_bytes)

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        weights = self.groups * self.padded_channels * self.padded_taps * self.element_bytes // 4
        return (weights, self.groups * self.group_outputs) if self.has_bias else (weights,)

    @property
    def parameter_types(self) -> tuple[str, ...]:
        return (self.precision.element, "float") if self.has_bias else (self.precision.element,)

    # Shape of the product

    @property
    def pixels(self) -> int:
        return self.batch * self.out_size[0] * self.out_size[1]

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1] * self.group_inputs

    @property
    def slice(self) -> int:
        """Taps in a row of a tile."""
        return ROW_BYTES // self.element_bytes

    @property
    def slices(self) -> int:
        return ceil_div(self.taps, self.slice)

    @property
    def padded_taps(self) -> int:
        return self.slices * self.slice

    @property
    def padded_channels(self) -> int:
        """Channels of a group with zeros up to a whole tile."""
        return ceil_div(self.group_outputs, self.tile.channels) * self.tile.channels

    # The tile

    @property
    def tile_pixels(self) -> int:
        return self.tile.pixels

    @property
    def tile_channels(self) -> int:
        return self.tile.channels

    @property
    def stages(self) -> int:
        return self.tile.stages

    @property
    def splits(self) -> int:
        return self.tile.splits

    @property
    def warps(self) -> tuple[int, int]:
        return self.tile.warps

    @property
    def warp_pixels(self) -> int:
        return self.tile.pixels // self.tile.warps[0]

    @property
    def warp_channels(self) -> int:
        return self.tile.channels // self.tile.warps[1]

    @property
    def threads(self) -> int:
        if self.precision.tensor_cores:
            return 32 * self.tile.warps[0] * self.tile.warps[1]
        return self.thread_rows * self.thread_columns

    @property
    def launch_bounds(self) -> str:
        """Threads of a block, and blocks that the compiler leaves room for on a multiprocessor.

        By itself it spills a few registers to make room for more blocks. Where taps are shared out there are too few
        blocks for that to be worth it; and where taps are copied one by one, addresses take many registers. Elsewhere
        all registers would let it unroll until they do not suffice.
        """
        return f"{self.threads}, 1" if self.splits > 1 or self.vector * self.element_bytes < 4 else str(self.threads)

    @property
    def thread_rows(self) -> int:
        """Threads along the pixels of a tile, without tensor cores."""
        return self.tile.pixels // THREAD_TILE

    @property
    def thread_columns(self) -> int:
        return self.tile.channels // THREAD_TILE

    @property
    def stage_bytes(self) -> int:
        return ROW_BYTES * (self.tile.pixels + self.tile.channels)

    @property
    def chunk(self) -> int:
        """Numbers in 16 bytes."""
        return CHUNK_BYTES // self.element_bytes

    @property
    def rows_a_pass(self) -> int:
        """Rows that all threads copy together, each a chunk."""
        return self.threads * CHUNK_BYTES // ROW_BYTES

    @property
    def window(self) -> bool:
        """Whether a pixel is computed from several of the input."""
        return self.kernel != (1, 1)

    @property
    def work(self) -> str:
        """What a warp, or without tensor cores a thread, computes: for the comment."""
        if self.precision.tensor_cores:
            return f"each warp sums {self.warp_pixels} pixels x {self.warp_channels} channels"
        return f"each thread sums {THREAD_TILE} pixels x {THREAD_TILE} channels"

    @property
    def arithmetic(self) -> str:
        """How the products are computed: for the comment."""
        return {
            "fp32": "float32 multiply-adds",
            "tf32": "tensor cores, factors in TF32 and sums in float32",
            "fp16": "tensor cores, factors in float16 and sums in float32",
        }[self.precision.name]

    def verify(self) -> None:
        threads, tile = self.threads, self.tile
        if not 32 <= threads <= 1024 or threads % 32:
            raise PlanError(f"{threads} threads are no block of warps")
        if tile.pixels % self.rows_a_pass or tile.channels % self.rows_a_pass:
            raise PlanError(f"{self.rows_a_pass} rows a pass do not fill tiles of {tile.pixels}x{tile.channels}")
        if self.precision.tensor_cores and (self.warp_pixels % 16 or self.warp_channels % 16):
            raise PlanError(f"a warp's {self.warp_pixels}x{self.warp_channels} are no whole products of 16x16")
        if not self.precision.tensor_cores and (self.thread_rows % 8 or self.thread_columns % 8):
            raise PlanError(f"{self.thread_rows}x{self.thread_columns} threads read rows in the same banks")
        if tile.stages < 2:
            raise PlanError("a pipeline has two stages or more")
        if self.chunk % self.vector or self.group_inputs % self.vector:
            raise PlanError(
                f"vectors of {self.vector} do not fill chunks of {self.chunk} and {self.group_inputs} channels"
            )


@dataclass(frozen=True)
class ReduceSplitsKernel(ItemKernel):
    """Adds the partial sums of a convolution whose taps were shared out, in order, and finishes them."""

    template: ClassVar[str] = "reduce_splits.cu.j2"
    splits: int
    pixels: int
    channels: int
    out_size: tuple[int, int]
    out_strides: Strides
    residual_strides: Strides
    output_type: str
    has_bias: bool
    has_residual: bool
    epilogue: Epilogue

    @property
    def label(self) -> str:
        return f"reduce_k{self.splits}_c{self.channels}_p{self.pixels}{self.epilogue.suffix}"

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        return (self.channels,) if self.has_bias else ()

    def read_type(self, position: int) -> str:
        return "float" if position == 0 else self.precision.element

    @property
    def items(self) -> int:
        return self.pixels * self.channels


@dataclass(frozen=True)
class DenseKernel(CudaKernel):
    """Dense layer for few images: the weights stream past once, a warp for `rows` outputs.

    `precision` is that of the weights in memory; its products are float32.
    """

    template: ClassVar[str] = "dense.cu.j2"
    warps: ClassVar[int] = 4
    rows: ClassVar[int] = 2
    batch: int
    inputs: int
    units: int
    in_strides: Strides
    out_strides: Strides
    input_type: str
    output_type: str
    has_bias: bool
    epilogue: Epilogue

    @property
    def label(self) -> str:
        return f"dense_c{self.inputs}_o{self.units}_n{self.batch}{self.epilogue.suffix}"

    @property
    def threads(self) -> int:
        return 32 * self.warps

    @property
    def chunk(self) -> int:
        """Weights that a lane reads at a time."""
        return CHUNK_BYTES // self.element_bytes

    @property
    def padded_inputs(self) -> int:
        return ceil_div(self.inputs, self.chunk) * self.chunk

    @property
    def padded_units(self) -> int:
        outputs = self.warps * self.rows
        return ceil_div(self.units, outputs) * outputs

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        weights = self.padded_units * self.padded_inputs * self.element_bytes // 4
        return (weights, self.units) if self.has_bias else (weights,)

    @property
    def parameter_types(self) -> tuple[str, ...]:
        return (self.precision.element, "float") if self.has_bias else (self.precision.element,)

    @property
    def launch(self) -> Launch:
        return Launch((self.padded_units // (self.warps * self.rows), 1, 1), self.threads)
