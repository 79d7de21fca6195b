"""Images enlarged and rearranged."""

from __future__ import annotations

from collections.abc import Sequence

from cnngen.frontends.torch.lowering import IMAGE, Lowering, Tensor, UnsupportedError, handles
from cnngen.ops import Upsample, UpsampleBilinear


@handles("upsample_nearest2d.vec", "upsample_nearest2d.default", without_effect=("scales_h", "scales_w"))
def upsample_nearest2d(
    g: Lowering,
    x: Tensor | None = None,
    input: Tensor | None = None,
    output_size: Sequence[int] | None = None,
    scale_factors: Sequence[float] | None = None,
) -> Tensor:
    image = x or input
    assert image is not None
    scale = _whole(image, output_size, scale_factors)
    return g.add(Upsample(scale), (g.image(image),), IMAGE)


@handles("upsample_bilinear2d.vec", "upsample_bilinear2d.default", without_effect=("scales_h", "scales_w"))
def upsample_bilinear2d(
    g: Lowering,
    align_corners: bool,
    x: Tensor | None = None,
    input: Tensor | None = None,
    output_size: Sequence[int] | None = None,
    scale_factors: Sequence[float] | None = None,
) -> Tensor:
    image = x or input
    assert image is not None
    if align_corners:
        raise UnsupportedError("aligns the corners", remedy="use align_corners=False")
    scale = _whole(image, output_size, scale_factors)
    return g.add(UpsampleBilinear(scale), (g.image(image),), IMAGE)


def _whole(x: Tensor, output_size: Sequence[int] | None, scale_factors: Sequence[float] | None) -> tuple[int, int]:
    """The factors along height and width. Raises `UnsupportedError` where they are not whole."""
    outputs = output_size or [int(size * factor) for size, factor in zip(x.shape[2:], scale_factors or (), strict=True)]
    if any(output % size for output, size in zip(outputs, x.shape[2:], strict=True)):
        raise UnsupportedError(f"makes {tuple(outputs)} of {x.shape[2:]}", remedy="use a whole factor")
    return outputs[0] // x.shape[2], outputs[1] // x.shape[3]
