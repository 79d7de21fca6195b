"""Pad along any axes."""

from __future__ import annotations

import math
from typing import Literal, cast

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.handlers.shape import axes_of, reshaped
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.values import Tensor
from cnngen.ops import Pad

Mode = Literal["constant", "reflect", "edge", "wrap"]
MODES = ("constant", "reflect", "edge", "wrap")


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
    shape = tuple(b + size + e for b, size, e in zip(begin, x.shape, end, strict=True))
    if min(shape) < 1:
        raise UnsupportedError(f"Pad leaves nothing of {list(x.shape)}", reason="empty tensors")
    if x.rank in (3, 4) and not begin[0] and not end[0] and (mode == "constant" or not (begin[1] or end[1])):
        top, bottom, left, right = (begin[2], end[2], begin[-1], end[-1]) if x.rank == 4 else (0, 0, begin[2], end[2])
        op = Pad((top, bottom, left, right), cast(Mode, mode), value, (begin[1], end[1]))
        return node.builder.tensor(node.add(op, node.last(x)), shape, "last")
    return _as_image(node, x, begin, end, mode, value)


def _as_image(node: NodeReader, x: Tensor, begin: list[int], end: list[int], mode: str, value: float) -> Tensor:
    """Axis by axis, each as the height of an image."""
    for axis in [axis for axis in range(x.rank) if begin[axis] or end[axis]]:
        size, inner = x.shape[axis], math.prod(x.shape[axis + 1 :])
        image = reshaped(node, x, (math.prod(x.shape[:axis]), size, 1, inner), f"/image{axis}")
        op = Pad((begin[axis], end[axis], 0, 0), cast(Mode, mode), value)
        name = node.add(op, node.plain(image), suffix=f"/axis{axis}")
        wide = node.builder.tensor(name, node.builder.types[name].shape, "plain")
        grown = size + begin[axis] + end[axis]
        x = reshaped(node, wide, (*x.shape[:axis], grown, *x.shape[axis + 1 :]), f"/padded{axis}")
    return x


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
