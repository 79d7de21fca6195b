"""Images resized, and pixels moved between space and channels."""

from __future__ import annotations

from collections.abc import Sequence

from cnngen.frontends.torch.lowering import IMAGE, Lowering, Tensor, handles
from cnngen.ops import ChannelShuffle, DepthToSpace, Resize, SpaceToDepth
from cnngen.ops.resampling import Resampling, ResizeMode
from cnngen.ops.resize import resized

NEAREST = Resampling("nearest", "asymmetric", "floor")
NEAREST_EXACT = Resampling("nearest", "half_pixel", "round_prefer_ceil")
"""``floor((i + 1/2) / scale)``"""

Sizes = Sequence[int] | None
Factors = Sequence[float] | None


@handles("upsample_nearest2d.vec")
def nearest_vec(g: Lowering, input: Tensor, output_size: Sizes, scale_factors: Factors) -> Tensor:
    return _resized(g, input, NEAREST, output_size, scale_factors)


@handles("upsample_nearest2d.default")
def nearest(
    g: Lowering, x: Tensor, output_size: Sequence[int], scales_h: float | None, scales_w: float | None
) -> Tensor:
    return _resized(g, x, NEAREST, output_size, _both(scales_h, scales_w))


@handles("_upsample_nearest_exact2d.vec")
def nearest_exact_vec(g: Lowering, input: Tensor, output_size: Sizes, scale_factors: Factors) -> Tensor:
    return _resized(g, input, NEAREST_EXACT, output_size, scale_factors)


@handles("_upsample_nearest_exact2d.default")
def nearest_exact(
    g: Lowering, x: Tensor, output_size: Sequence[int], scales_h: float | None, scales_w: float | None
) -> Tensor:
    return _resized(g, x, NEAREST_EXACT, output_size, _both(scales_h, scales_w))


@handles("upsample_bilinear2d.vec")
def bilinear_vec(g: Lowering, input: Tensor, output_size: Sizes, align_corners: bool, scale_factors: Factors) -> Tensor:
    return _resized(g, input, _smooth("linear", align_corners), output_size, scale_factors)


@handles("upsample_bilinear2d.default")
def bilinear(
    g: Lowering,
    x: Tensor,
    output_size: Sequence[int],
    align_corners: bool,
    scales_h: float | None,
    scales_w: float | None,
) -> Tensor:
    return _resized(g, x, _smooth("linear", align_corners), output_size, _both(scales_h, scales_w))


@handles("upsample_bicubic2d.vec")
def bicubic_vec(g: Lowering, input: Tensor, output_size: Sizes, align_corners: bool, scale_factors: Factors) -> Tensor:
    return _resized(g, input, _smooth("cubic", align_corners), output_size, scale_factors)


@handles("upsample_bicubic2d.default")
def bicubic(
    g: Lowering,
    x: Tensor,
    output_size: Sequence[int],
    align_corners: bool,
    scales_h: float | None,
    scales_w: float | None,
) -> Tensor:
    return _resized(g, x, _smooth("cubic", align_corners), output_size, _both(scales_h, scales_w))


def _smooth(mode: ResizeMode, align_corners: bool) -> Resampling:
    return Resampling(mode, "align_corners" if align_corners else "half_pixel")


def _both(height: float | None, width: float | None) -> Factors:
    return None if height is None or width is None else (height, width)


def _resized(g: Lowering, x: Tensor, how: Resampling, output_size: Sizes, scale_factors: Factors) -> Tensor:
    """PyTorch computes positions with the factors where they are given, else with the sizes, as ONNX does."""
    name = g.image(x)
    factors = None if scale_factors is None else (float(scale_factors[0]), float(scale_factors[-1]))
    if output_size is not None:
        size = (int(output_size[0]), int(output_size[1]))
    else:
        assert factors is not None
        size = (int(x.shape[2] * factors[0]), int(x.shape[3] * factors[1]))
    if how.coordinates == "align_corners":
        factors = None
    return g.add(resized(Resize(size, how, factors), g.types[name]), (name,), IMAGE)


@handles("pixel_shuffle.default")
def pixel_shuffle(g: Lowering, x: Tensor, upscale_factor: int) -> Tensor:
    return g.add(DepthToSpace(upscale_factor, "CRD"), (g.image(x),), IMAGE)


@handles("pixel_unshuffle.default")
def pixel_unshuffle(g: Lowering, x: Tensor, downscale_factor: int) -> Tensor:
    """The pixels of a block are neighbours in the channels; in `SpaceToDepth` channels of one pixel are."""
    moved = g.add(SpaceToDepth(downscale_factor), (g.image(x),), IMAGE)
    return g.add(ChannelShuffle(downscale_factor**2), (moved.name,), IMAGE)
