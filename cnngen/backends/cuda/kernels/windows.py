"""Kernels that slide a window over each channel by itself: pooling and depthwise convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from cnngen.backends.cuda.kernels.base import CudaKernel, Epilogue, ItemKernel, Launch, Strides, ceil_div
from cnngen.backends.text import c_float


def norm_term(order: int, value: str) -> str:
    """What an element adds to an Lp norm before the root."""
    if order == 2:
        return f"act_square({value})"
    return f"fabsf({value})" if order == 1 else f"act_pow_whole(fabsf({value}), {order})"


def norm_root(order: int, value: str) -> str:
    """The Lp norm from the sum."""
    return {1: value, 2: f"sqrtf({value})"}.get(order, f"powf({value}, {c_float(1 / order)})")


@dataclass(frozen=True)
class PoolKernel(ItemKernel):
    """Pooling over windows; a thread computes `vector` channels of one pixel."""

    template: ClassVar[str] = "pool2d.cu.j2"
    threads: ClassVar[int] = 128
    reduction: Literal["max", "avg", "lp"]
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
    input_type: str
    output_type: str
    vector: int
    order: int = 2

    @property
    def label(self) -> str:
        (kh, kw), (oh, ow) = self.kernel, self.out_size
        name = f"l{self.order}" if self.reduction == "lp" else self.reduction
        return f"{name}_pool_{kh}x{kw}s{self.stride[0]}_c{self.channels}_p{self.batch * oh * ow}"

    def term(self, value: str) -> str:
        """What an element adds to the result."""
        return norm_term(self.order, value) if self.reduction == "lp" else value

    def root(self, value: str) -> str:
        """The norm from the sum."""
        return norm_root(self.order, value)

    @property
    def vectors(self) -> int:
        return self.channels // self.vector

    @property
    def items(self) -> int:
        """Threads with something to do."""
        return self.batch * self.out_size[0] * self.out_size[1] * self.vectors


@dataclass(frozen=True)
class GlobalPoolKernel(CudaKernel):
    """Pooling over the whole image: a block for 32 channels of one image."""

    template: ClassVar[str] = "global_pool.cu.j2"
    rows: ClassVar[int] = 8
    threads: ClassVar[int] = 256
    reduction: Literal["max", "avg", "lp"]
    batch: int
    channels: int
    size: tuple[int, int]
    in_strides: Strides
    out_strides: Strides
    input_type: str
    output_type: str

    order: int = 2

    @property
    def label(self) -> str:
        name = f"l{self.order}" if self.reduction == "lp" else self.reduction
        return f"global_{name}_pool_{self.size[0]}x{self.size[1]}_c{self.channels}_n{self.batch}"

    def term(self, value: str) -> str:
        """What an element adds to the result."""
        return norm_term(self.order, value) if self.reduction == "lp" else value

    def finished(self, value: str) -> str:
        """The result from the maximum or the sum."""
        if self.reduction == "lp":
            return norm_root(self.order, value)
        return f"{value} / {self.size[0] * self.size[1]}.0f" if self.reduction == "avg" else value

    @property
    def launch(self) -> Launch:
        return Launch((ceil_div(self.channels, 32), self.batch, 1), self.threads, 4 * self.threads)


@dataclass(frozen=True)
class DepthwiseKernel(ItemKernel):
    """Depthwise convolution; a thread computes `vector` channels of `span` pixels side by side.

    Its products are float32 whatever the precision: there are few of them, and memory is the limit.
    """

    template: ClassVar[str] = "conv2d_depthwise.cu.j2"
    threads: ClassVar[int] = 128
    batch: int
    channels: int
    in_size: tuple[int, int]
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    in_strides: Strides
    out_strides: Strides
    residual_strides: Strides
    input_type: str
    output_type: str
    vector: int
    span: int
    has_bias: bool
    has_residual: bool
    epilogue: Epilogue

    @property
    def label(self) -> str:
        (kh, kw), (oh, ow) = self.kernel, self.out_size
        return f"dwconv2d_{kh}x{kw}s{self.stride[0]}_c{self.channels}_p{self.batch * oh * ow}{self.epilogue.suffix}"

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        taps = self.kernel[0] * self.kernel[1] * self.channels
        return (taps, self.channels) if self.has_bias else (taps,)

    @property
    def columns(self) -> int:
        """Pixels of an input row that a thread reads."""
        return (self.span - 1) * self.stride[1] + self.dilation[1] * (self.kernel[1] - 1) + 1

    @property
    def spans(self) -> int:
        """Threads along a row of the output."""
        return ceil_div(self.out_size[1], self.span)

    @property
    def vectors(self) -> int:
        return self.channels // self.vector

    @property
    def items(self) -> int:
        return self.batch * self.out_size[0] * self.spans * self.vectors
