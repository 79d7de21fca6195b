"""Ops that move elements between space and channels, or among the channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.base import Types, Weights, Window, require_rank
from cnngen.ops.shape import Movement

MAX_BLOCK = 64
"""A copy is made for each of the block's pixels."""


def verify_block(block: int) -> None:
    """Raise `ShapeError` where a block is too large."""
    if block > MAX_BLOCK:
        raise ShapeError(f"block {block} exceeds {MAX_BLOCK}", remedy="use a smaller block, or several layers")


@dataclass(frozen=True)
class DepthToSpace(Movement):
    """Every pixel as a block of `block` x `block` pixels, with its channels dealt out among them.

    Pixel (i, j) of a block gets channels ``(i block + j) C + k`` (mode `DCR`, TensorFlow's) or ``k block^2 +
    i block + j`` (mode `CRD`, PyTorch's PixelShuffle) for k below C, the channels of the output. As ONNX DepthToSpace.
    """

    block: int
    mode: Literal["DCR", "CRD"] = "DCR"

    @property
    def kind(self) -> str:
        return "depth_to_space"

    def infer(self, inputs: Types) -> TensorType:
        require_rank(inputs, 4, self.kind)
        batch, height, width, channels = inputs[0].shape
        verify_block(self.block)
        if channels % self.block**2:
            raise ShapeError(
                f"{channels} channels do not fill blocks of {self.block}x{self.block} pixels",
                remedy=f"use a multiple of {self.block**2} channels, or another block",
            )
        return TensorType((batch, height * self.block, width * self.block, channels // self.block**2))

    def field(self, inputs: Types) -> Window:
        return Window(repeat=(self.block, self.block))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        batch, height, width, channels = inputs[0].shape
        b, rest = self.block, channels // self.block**2
        if self.mode == "DCR":
            x = inputs[0].reshape(batch, height, width, b, b, rest).transpose(0, 1, 3, 2, 4, 5)
        else:
            x = inputs[0].reshape(batch, height, width, rest, b, b).transpose(0, 1, 4, 2, 5, 3)
        return x.reshape(batch, height * b, width * b, rest)


@dataclass(frozen=True)
class SpaceToDepth(Movement):
    """Every block of `block` x `block` pixels as one pixel, the inverse of `DepthToSpace` in either mode.

    Pixel (i, j) of a block goes to channels ``(i block + j) C + k`` (mode `DCR`, ONNX SpaceToDepth) or ``k block^2 +
    i block + j`` (mode `CRD`, PyTorch's PixelUnshuffle) for k below C, the channels of the input.
    """

    block: int
    mode: Literal["DCR", "CRD"] = "DCR"

    @property
    def kind(self) -> str:
        return "space_to_depth"

    def infer(self, inputs: Types) -> TensorType:
        require_rank(inputs, 4, self.kind)
        batch, height, width, channels = inputs[0].shape
        verify_block(self.block)
        for size, name in ((height, "height"), (width, "width")):
            if size % self.block:
                raise ShapeError(
                    f"blocks of {self.block} do not fill the {name} {size}",
                    remedy=f"pad or crop it to a multiple of {self.block}, or use another block",
                )
        return TensorType((batch, height // self.block, width // self.block, channels * self.block**2))

    def field(self, inputs: Types) -> Window:
        return Window((self.block, self.block), (self.block, self.block))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        batch, height, width, channels = inputs[0].shape
        b = self.block
        x = inputs[0].reshape(batch, height // b, b, width // b, b, channels)
        x = x.transpose((0, 1, 3, 2, 4, 5) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4))
        return x.reshape(batch, height // b, width // b, b * b * channels)


@dataclass(frozen=True)
class ChannelShuffle(Movement):
    """Channels of `groups` groups dealt out in turn: ``y[k groups + g] = x[g C / groups + k]``.

    ShuffleNet (Zhang et al., 2018); PyTorch's ChannelShuffle.
    """

    groups: int

    @property
    def kind(self) -> str:
        return "channel_shuffle"

    def infer(self, inputs: Types) -> TensorType:
        require_rank(inputs, 4, self.kind)
        channels = inputs[0].shape[3]
        if channels % self.groups:
            raise ShapeError(
                f"groups {self.groups} does not divide {channels} channels", remedy="choose groups that divide them"
            )
        return inputs[0]

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        x = inputs[0]
        grouped = x.reshape(*x.shape[:3], self.groups, x.shape[3] // self.groups)
        return grouped.swapaxes(3, 4).reshape(x.shape)
