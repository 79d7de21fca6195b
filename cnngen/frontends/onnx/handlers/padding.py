"""Pad along height, width and channels."""

from __future__ import annotations

from typing import cast, get_args

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.handlers.shape import axes_of
from cnngen.frontends.onnx.handlers.windows import from_image
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.values import Tensor
from cnngen.ops import Pad
from cnngen.ops.pad import PadMode

MODES = get_args(PadMode)


@handles("Pad")
def pad(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    begin, end = _sides(node, x)
    mode = node.text("mode", "constant")
    if mode not in MODES:
        raise UnsupportedError(
            f"Pad with mode {mode[:20]!r}", reason="Pad with another mode", remedy="use " + ", ".join(MODES)
        )
    if not any(begin) and not any(end):
        return x
    value = node.number("value", 0.0) if node.version < 11 else 0.0
    if node.version >= 11 and node.has(2):
        value = float(node.weight(2).reshape(-1)[0])
    if x.rank not in (3, 4) or begin[0] or end[0]:
        raise UnsupportedError(f"Pad by {list(begin)} and {list(end)}", reason="padding of other axes")
    if max(*begin, *end) >= 2**31 or min(*begin, *end) <= -(2**31):
        raise ModelError(f"Pad by {list(begin)} and {list(end)}")
    top, bottom = (0, 0) if x.rank == 3 else (begin[2], end[2])
    op = Pad((top, bottom, begin[-1], end[-1]), cast(PadMode, mode), value, (begin[1], end[1]))
    return from_image(node, node.add(op, node.last(x)), x.rank)


def _sides(node: NodeReader, x: Tensor) -> tuple[list[int], list[int]]:
    """How much is put in front of and behind each axis."""
    pads = node.sizes(1) if node.version >= 11 else node.wholes("pads") or node.wholes("paddings") or ()
    axes = axes_of(node, since=18, index=3) if node.version >= 18 else None
    chosen = list(range(x.rank)) if axes is None else [node.axis(axis, x.rank) for axis in axes]
    if len(pads) != 2 * len(chosen) or len(set(chosen)) != len(chosen):
        raise ModelError(f"pads has {len(pads)} numbers for {len(chosen)} axes")
    begin, end = [0] * x.rank, [0] * x.rank
    for number, axis in enumerate(chosen):
        begin[axis], end[axis] = pads[number], pads[len(chosen) + number]
    return begin, end
