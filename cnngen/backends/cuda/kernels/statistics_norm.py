"""Kernels that normalise by the mean and variance of their input: over pixels, or over the channels of a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.cuda.kernels.base import CudaKernel, Epilogue, Launch, Strides, ceil_div
from cnngen.backends.norm_form import ImageNormForm, NormForm
from cnngen.errors import PlanError

WARP = 32


@dataclass(frozen=True)
class StatisticsKernel(NormForm, CudaKernel):
    """Base of both: gamma with `scale`, beta with `center`, then the epilogue."""

    shape: tuple[int, int, int, int]
    in_strides: Strides
    out_strides: Strides
    input_type: str
    output_type: str
    epsilon: float
    scale: bool
    center: bool
    epilogue: Epilogue

    def scaled(self, value: str, element: str) -> str:
        """The expression for `value` with gamma and beta of an element, activated."""
        if self.scale and self.center:
            value = f"fmaf({value}, gamma[{element}], beta[{element}])"
        elif self.scale:
            value = f"{value} * gamma[{element}]"
        elif self.center:
            value = f"{value} + beta[{element}]"
        return self.epilogue.apply(value)

    @property
    def ending(self) -> str:
        return self.epilogue.suffix


@dataclass(frozen=True)
class ImageNormKernel(ImageNormForm, StatisticsKernel):
    """Over all pixels of the channels of a group; with `per_element` gamma and beta have the shape of the image.

    A block takes up to 32 channels of one image, or one group that has more of them. Lanes are channels, each warp
    takes every eighth pixel.
    """

    template: ClassVar[str] = "image_norm.cu.j2"
    rows: ClassVar[int] = 8
    threads: ClassVar[int] = 256
    groups: int
    per_element: bool

    @property
    def group_lanes(self) -> int:
        """Lanes that share a group."""
        return min(self.group_channels, WARP)

    @property
    def block_groups(self) -> int:
        """Groups side by side in a block."""
        return max(1, WARP // self.group_channels)

    @property
    def launch(self) -> Launch:
        return Launch((ceil_div(self.groups, self.block_groups), self.shape[0], 1), self.threads, 4 * self.threads)

    def verify(self) -> None:
        if self.shape[3] % self.groups:
            raise PlanError(f"{self.groups} groups do not divide {self.shape[3]} channels")


@dataclass(frozen=True)
class ChannelNormKernel(StatisticsKernel):
    """Over the channels of each pixel, a warp for each; with `grouped` the columns are groups with gamma and beta."""

    template: ClassVar[str] = "channel_norm.cu.j2"
    threads: ClassVar[int] = 128
    grouped: bool

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        return f"channel_norm_c{c}_p{n * h * w}{'_grouped' if self.grouped else ''}{self.suffix}"

    @property
    def pixels(self) -> int:
        return math.prod(self.shape[:3])

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.shape[1], self.shape[2]

    @property
    def affine_elements(self) -> int:
        return self.shape[3] * (self.shape[2] if self.grouped else 1)

    @property
    def element(self) -> str:
        """Where gamma and beta of channel c are."""
        return f"pixel % {self.shape[2]} * {self.shape[3]} + c" if self.grouped else "c"

    @property
    def launch(self) -> Launch:
        return Launch((ceil_div(self.pixels, self.threads // WARP), 1, 1), self.threads)
