"""Resize and Upsample at whole factors."""

from __future__ import annotations

from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.values import Tensor
from cnngen.ops import Upsample, UpsampleBilinear


@handles("Resize", "Upsample")
def resize(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    scales = _scales(node, x)
    whole = [round(scale) for scale in scales]
    mode, where = node.text("mode", "nearest"), node.text("coordinate_transformation_mode", "half_pixel")
    rounding = node.text("nearest_mode", "round_prefer_floor")
    legacy = node.kind == "Upsample" or node.version < 11
    if x.rank != 4 or whole[:2] != [1, 1] or any(s != w or w < 1 for s, w in zip(scales, whole, strict=True)):
        raise UnsupportedError(f"{node.kind} by {list(scales)}", reason="resize by a fraction")
    scale = (whole[2], whole[3])
    if mode == "nearest" and (legacy or (where, rounding) in BLOCKS):
        name = node.add(Upsample(scale), node.last(x))
    elif mode == "linear" and not legacy and where == "half_pixel":
        name = node.add(UpsampleBilinear(scale), node.last(x))
    else:
        raise UnsupportedError(f"{node.kind} with mode {mode}, {where}", reason="resize with another mode")
    return node.result(name, "last")


BLOCKS = (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil"))
"""Where every pixel becomes a block: at whole factors the halves of pixels are never met exactly."""


def _scales(node: NodeReader, x: Tensor) -> tuple[float, ...]:
    index = 1 if node.version < 11 else 2
    if node.kind == "Upsample" and node.version < 9:
        scales = node.numbers("scales") or ()
    elif node.has(3) and node.kind == "Resize":
        sizes = node.sizes(3)
        scales = tuple(size / own for size, own in zip(sizes, x.shape, strict=False))
    else:
        scales = tuple(float(scale) for scale in node.weight(index).reshape(-1))
    if len(scales) != x.rank or node.wholes("axes") is not None:
        raise UnsupportedError(f"{node.kind} of some axes", reason="resize of some axes")
    return scales
