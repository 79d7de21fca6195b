"""What each ONNX op becomes: one family a module, entered in `HANDLERS` when this package is imported."""

from cnngen.frontends.onnx.handlers import (
    activation,
    convolution,
    dense,
    elementwise,
    identity,
    normalization,
    padding,
    pooling,
    rearrange,
    reduction,
    resize,
    shape,
    slicing,
)
from cnngen.frontends.onnx.handlers.registry import HANDLERS

__all__ = [
    "HANDLERS",
    "activation",
    "convolution",
    "dense",
    "elementwise",
    "identity",
    "normalization",
    "padding",
    "pooling",
    "rearrange",
    "reduction",
    "resize",
    "shape",
    "slicing",
]
