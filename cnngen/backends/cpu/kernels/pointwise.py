"""Kernels that work pixel by pixel or window by window, and have no weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from cnngen.backends.cpu.kernels.base import Epilogue, Kernel, Strides
from cnngen.backends.text import c_float
from cnngen.errors import PlanError

POOL_VECTORS = 4
"""Channel vectors whose results are in registers while a large window is read."""


@dataclass(frozen=True)
class PoolKernel(Kernel):
    """Pooling, vectorised over channels. Windows are clipped to the image unless none ever leaves it."""

    template: ClassVar[str] = "pool2d.c.j2"
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
    order: int = 2
    """Of the norm, where the reduction is one."""

    @property
    def label(self) -> str:
        (kh, kw), (oh, ow) = self.kernel, self.out_size
        name = f"l{self.order}" if self.reduction == "lp" else self.reduction
        return f"{name}_pool_{kh}x{kw}s{self.stride[0]}_c{self.channels}_p{self.batch * oh * ow}"

    @property
    def title(self) -> str:
        return {"max": "Maximum", "avg": "Average"}.get(self.reduction, f"L{self.order} norm")

    def term(self, value: str) -> str:
        """The C expression for what an element adds to the result."""
        if self.reduction != "lp":
            return value
        if self.order == 2:
            return f"act_square({value})"
        magnitude = f"v_abs({value})"
        return magnitude if self.order == 1 else f"act_pow_whole({magnitude}, {self.order})"

    def root_of(self, total: str) -> str:
        """The C expression for the result from the joined elements of a window."""
        if self.reduction != "lp" or self.order == 1:
            return total
        return f"v_sqrt({total})" if self.order == 2 else f"v_pow({total}, v_set1({c_float(1 / self.order)}))"

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

    def verify(self) -> None:
        covered = sum(((n - 1) * self.lanes + (tail or self.lanes)) * often for _, n, tail, often in self.blocks)
        if self.whole and covered != self.channels:
            raise PlanError(f"blocks {self.blocks} cover {covered} of {self.channels} channels")

    @property
    def tap_list(self) -> list[tuple[int, int]]:
        """Row and column of every tap of the window."""
        return [(i, j) for i in range(self.kernel[0]) for j in range(self.kernel[1])]

    @property
    def whole(self) -> bool:
        """Whether each channel has one large window: pixels are then read side by side, many channels at a time.

        The elements of a channel are joined in the same order either way.
        """
        return self.out_size == (1, 1) and not self.clipped and not self.unrolled

    @property
    def blocks(self) -> list[tuple[int, int, int, int]]:
        """Channels of a large window in registers: first one, vectors, lanes in use of the last one or 0, how often."""
        vectors, often = -(-self.channels // self.lanes), (self.channels // self.lanes) // POOL_VECTORS
        found = [(0, POOL_VECTORS, 0, often)] if often else []
        rest = vectors - often * POOL_VECTORS
        return [*found, (often * POOL_VECTORS * self.lanes, rest, self.tail, 1)] if rest else found

    @property
    def unrolled(self) -> bool:
        """Whether the taps are written out one by one."""
        return not self.clipped and self.kernel[0] * self.kernel[1] <= 16

    @property
    def tail(self) -> int:
        return self.channels % self.lanes


@dataclass(frozen=True)
class FillKernel(Kernel):
    """Pixels that no element of the input reaches: the `value`, or bias and epilogue of nothing.

    Those of a transposed convolution, and channels that padding adds. Vectorised over channels; `residual_strides` is
    None where there is no residual.
    """

    template: ClassVar[str] = "fill.c.j2"
    shape: tuple[int, int, int, int]
    out_strides: Strides
    residual_strides: Strides | None
    has_bias: bool
    epilogue: Epilogue
    value: float = 0.0

    @property
    def value_literal(self) -> str:
        return c_float(self.value)

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        extras = ("_bias" if self.has_bias else "") + ("_res" if self.residual_strides else "")
        return f"fill_c{c}_p{n * h * w}{extras}{self.epilogue.suffix}"

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        return (-(-self.shape[3] // self.lanes) * self.lanes,) if self.has_bias else ()

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
    """Softmax over the channels of every pixel, or its logarithm."""

    template: ClassVar[str] = "softmax.c.j2"
    shape: tuple[int, int, int, int]
    in_strides: Strides
    out_strides: Strides
    logarithm: bool = False
    partial_sums: ClassVar[int] = 16
    """Fixed, so that the sum has the same bits on every ISA."""

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        return f"{'log_' if self.logarithm else ''}softmax_c{c}_p{n * h * w}"

    @property
    def tail(self) -> int:
        return self.shape[3] % self.lanes
