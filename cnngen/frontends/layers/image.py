"""Layers that change the size of an image or where its elements lie."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cnngen import ops
from cnngen.errors import ShapeError
from cnngen.frontends.fields import (
    AnyPair,
    AnySides,
    Count,
    Pair,
    Region,
    Scale,
    Sides,
)
from cnngen.frontends.layer import Layer, Options
from cnngen.ops.base import Types, require_rank
from cnngen.ops.resampling import AspectRatio, Coordinates, Resampling, ResizeMode, Rounding, resolve_size


class Upsample(Layer, kind="upsample"):
    """Every pixel as a block of equal ones (nearest neighbour), or of interpolated ones (bilinear).

    Becomes `ops.Upsample` or `ops.UpsampleBilinear`.
    """

    scale: Pair = Field(description="Rows and columns made of one: a number or [h, w]")
    mode: Literal["nearest", "bilinear"] = Field("nearest", description="nearest or bilinear")

    def lower(self, inputs: Types, options: Options) -> ops.Upsample | ops.UpsampleBilinear:
        return ops.Upsample(self.scale) if self.mode == "nearest" else ops.UpsampleBilinear(self.scale)


class Resize(Layer, kind="resize"):
    """The image in another size: each pixel the nearest one, or interpolated, as ONNX Resize.

    One of `size` and `scale` is enough; with both, positions are computed with the scale. At whole factors it is the
    `upsample` that does the same. Becomes `ops.Resize`, `ops.Upsample`, `ops.UpsampleBilinear`, or `ops.Identity`
    where nothing changes.
    """

    size: Pair | None = Field(None, description="Rows and columns of the result: a number or [h, w]")
    scale: Scale | None = Field(None, description="Result over input, rounded down: a number or [h, w]")
    mode: ResizeMode = Field("nearest", description="nearest, linear or cubic")
    coordinates: Coordinates = Field("half_pixel", description="Where pixel i of the result lies in the input")
    rounding: Rounding = Field("round_prefer_floor", description="With mode nearest: which of two pixels")
    cubic_coeff_a: float = Field(-0.75, description="With mode cubic: the parameter of Keys' kernel")
    exclude_outside: bool = Field(False, description="Whether pixels beyond the border weigh nothing")
    antialias: bool = Field(False, description="Whether linear and cubic kernels widen as the image shrinks")
    keep_aspect_ratio: AspectRatio = Field("stretch", description="With size: stretch, not_larger or not_smaller")
    roi: Region | None = Field(
        None, description="For tf_crop_and_resize: [top, left, bottom, right], parts of the image"
    )
    extrapolation_value: float = Field(0.0, description="For tf_crop_and_resize: what lies outside the image")

    def lower(self, inputs: Types, options: Options) -> ops.Op:
        require_rank(inputs, 4, self.kind)
        self._verify_fields()
        _, height, width, _ = inputs[0].shape
        if self.size is not None and self.scale is not None:
            size, scale = self.size, self.scale
        else:
            size, scale = resolve_size(
                (height, width), target=self.size, scale=self.scale, policy=self.keep_aspect_ratio
            )
        how = Resampling(
            self.mode, self.coordinates, self.rounding, self.exclude_outside, self.antialias, self.cubic_coeff_a
        )
        stretched = self.scale is None and self.keep_aspect_ratio == "stretch"
        region = self.roi or (0.0, 0.0, 1.0, 1.0)
        op = ops.Resize(size, how, None if stretched else scale, region, self.extrapolation_value)
        return ops.resized(op, inputs[0])

    def _verify_fields(self) -> None:
        """Raise `ShapeError` where fields contradict each other."""
        if self.size is None and self.scale is None:
            raise ShapeError("has neither size nor scale", remedy="give one of them")
        if self.keep_aspect_ratio != "stretch" and (self.size is None or self.scale is not None):
            raise ShapeError(
                f"keep_aspect_ratio {self.keep_aspect_ratio} needs a size and no scale",
                remedy="give a size alone, or leave it out",
            )
        if self.antialias and self.mode == "nearest":
            raise ShapeError("mode nearest has no antialias", remedy="use mode: linear or cubic, or leave it out")
        if (self.roi is None) == (self.coordinates == "tf_crop_and_resize"):
            raise ShapeError(
                "coordinates tf_crop_and_resize need a roi, and others have none",
                remedy="write roi: [top, left, bottom, right] in parts of the image, or leave it out",
            )


class DepthToSpace(Layer, kind="depth_to_space"):
    """Every pixel as a block of pixels, with its channels dealt out among them. Becomes `ops.DepthToSpace`."""

    block: Count = Field(description="Rows and columns of a block")
    mode: Literal["DCR", "CRD"] = Field("DCR", description="DCR (as TensorFlow) or CRD (as PyTorch's PixelShuffle)")

    def lower(self, inputs: Types, options: Options) -> ops.DepthToSpace:
        return ops.DepthToSpace(self.block, self.mode)


class SpaceToDepth(Layer, kind="space_to_depth"):
    """Every block of pixels as one pixel with as many times more channels. Becomes `ops.SpaceToDepth`."""

    block: Count = Field(description="Rows and columns of a block")
    mode: Literal["DCR", "CRD"] = Field("DCR", description="DCR (as TensorFlow) or CRD (as PyTorch's PixelUnshuffle)")

    def lower(self, inputs: Types, options: Options) -> ops.SpaceToDepth:
        return ops.SpaceToDepth(self.block, self.mode)


class ChannelShuffle(Layer, kind="channel_shuffle"):
    """The channels of all groups in turn, so that the next grouped layer mixes them. Becomes `ops.ChannelShuffle`."""

    groups: Count = Field(description="Number of groups, which divides the channels")

    def lower(self, inputs: Types, options: Options) -> ops.ChannelShuffle:
        return ops.ChannelShuffle(self.groups)


class Pad(Layer, kind="pad"):
    """Rows, columns and channels around the image: a constant, the image mirrored, its border, or the image again.

    Negative numbers crop it. Becomes `ops.Pad`.
    """

    padding: AnySides = Field((0, 0, 0, 0), description="A number, [h, w] or [t, b, l, r]; negative ones crop")
    mode: Literal["constant", "reflect", "edge", "wrap"] = Field(
        "constant", description="constant, reflect, edge or wrap"
    )
    value: float = Field(0.0, description="What they hold with mode constant")
    channels: AnyPair = Field((0, 0), description="Channels added in front and behind: a number or two")

    def lower(self, inputs: Types, options: Options) -> ops.Pad:
        return ops.Pad(self.padding, self.mode, self.value, self.channels)


class Crop(Layer, kind="crop"):
    """The image without some of its border. Becomes `ops.Pad` with negative numbers."""

    crop: Sides = Field(description="Rows and columns to cut off: a number, [h, w] or [t, b, l, r]")

    def lower(self, inputs: Types, options: Options) -> ops.Pad:
        top, bottom, left, right = self.crop
        return ops.Pad((-top, -bottom, -left, -right))
