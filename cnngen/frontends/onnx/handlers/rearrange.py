"""DepthToSpace and SpaceToDepth."""

from __future__ import annotations

from typing import Literal, cast

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.node import NodeReader
from cnngen.frontends.onnx.values import Tensor
from cnngen.ops import DepthToSpace, SpaceToDepth

Mode = Literal["DCR", "CRD"]


def _image(node: NodeReader) -> tuple[str, int, Mode]:
    """The input, the size of a block, and the order of its channels."""
    x, block = node.tensor(0), node.whole("blocksize", 0)
    if x.rank != 4:
        raise ModelError(f"{node.kind} reads a tensor of rank {x.rank}, and takes (batch, channels, height, width)")
    if block < 1:
        raise ModelError(f"blocksize is {block}", remedy="it is at least 1")
    mode = node.text("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise ModelError(f"mode is {mode[:20]!r}", remedy="it is DCR or CRD")
    return node.last(x), block, cast(Mode, mode)


@handles("DepthToSpace")
def depth_to_space(node: NodeReader) -> Tensor:
    image, block, mode = _image(node)
    return node.result(node.add(DepthToSpace(block, mode), image), "last")


@handles("SpaceToDepth")
def space_to_depth(node: NodeReader) -> Tensor:
    image, block, mode = _image(node)
    return node.result(node.add(SpaceToDepth(block, mode), image), "last")
