"""A picture file as the input of a network: resized, in grey or colour, scaled to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnngen.errors import RunError
from cnngen.ir import Array

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
MAX_PIXELS = 2**28
"""Larger pictures are refused before they are decoded."""


def load_picture(
    path: Path,
    height: int,
    width: int,
    channels: int,
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    invert: bool = False,
) -> Array:
    """Read a picture as float32 (height, width, channels): ``(pixel / 255 - mean) / std``.

    The whole picture is resized (bilinear with antialiasing, aspect ratio not kept), made grey
    (ITU-R 601 luma) for one channel and RGB for three; transparency is drawn on black. `invert`
    turns dark on light into light on dark first. `mean` and `std` have one value or one per channel.
    Raises `RunError` where Pillow is missing, the file is no picture, or the network takes no picture.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise RunError(
            f"{path}: reading pictures needs Pillow", remedy="pip install 'cnngen[image]', or give a .npy file"
        ) from None
    if channels not in (1, 3):
        raise RunError(
            f"{path}: a picture has 1 or 3 channels, the network takes {channels}", remedy="give a .npy file"
        )
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            raise RunError(f"{name} has {len(values)} values, the network has {channels} channels")
    if any(value == 0 for value in std):
        raise RunError("std contains 0", remedy="use the standard deviation of each channel, such as 0.229")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise RunError(f"{path}: {image.width}x{image.height} pixels are too many", remedy="scale it down")
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                rgba = image.convert("RGBA")
                flat = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
                flat.alpha_composite(rgba)
                converted = flat.convert("L" if channels == 1 else "RGB")
            else:
                converted = image.convert("L" if channels == 1 else "RGB")
            resized = converted.resize((width, height), Image.Resampling.BILINEAR)
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as a picture: {error}", remedy="give a PNG or JPEG file") from None
    pixels = np.asarray(resized, np.float32).reshape(height, width, channels) / np.float32(255)
    if invert:
        pixels = 1 - pixels
    return np.asarray((pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32), np.float32)
