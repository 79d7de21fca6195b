"""Parts of tensors, and tensors repeated: Slice, Split, Gather of known indices, Expand, Tile."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.handlers.shape import reshaped
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.values import Tensor, position
from cnngen.ops import Cut, Expand, Slice


def cut(node: NodeReader, x: Tensor, cuts: Sequence[Cut], suffix: str = "") -> Tensor:
    """`x` cut along ONNX's axes, in a form that it has."""
    shape = list(x.shape)
    for one in cuts:
        if one.count < 1:
            raise UnsupportedError(f"{node.kind} leaves nothing of axis {one.axis}", reason="empty tensors")
        shape[one.axis] = one.count
    real = [one for one in cuts if (one.start, one.step, one.count) != (0, 1, x.shape[one.axis])]
    if not real:
        return x
    form, name = node.same_form(x)
    moved = tuple(Cut(position(one.axis, x.rank, form), one.start, one.step, one.count) for one in real)
    return node.builder.tensor(node.add(Slice(moved), name, suffix=suffix), tuple(shape), form)


@handles("Slice")
def slice_(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    if node.version < 10:
        starts, ends, axes = node.wholes("starts") or (), node.wholes("ends") or (), node.wholes("axes")
        steps: tuple[int, ...] | None = None
    else:
        starts, ends = node.sizes(1), node.sizes(2)
        axes = node.sizes(3) if node.has(3) else None
        steps = node.sizes(4) if node.has(4) else None
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    chosen = [node.axis(axis, x.rank) for axis in axes]
    if not len(starts) == len(ends) == len(chosen) == len(steps) == len(set(chosen)) or 0 in steps:
        raise ModelError(f"Slice from {list(starts)[:8]} to {list(ends)[:8]} in steps of {list(steps)[:8]}")
    cuts = []
    for axis, start, end, step in zip(chosen, starts, ends, steps, strict=True):
        kept = range(x.shape[axis])[start:end:step]
        cuts.append(Cut(axis, kept.start, step, len(kept)))
    return cut(node, x, cuts)


@handles("Split")
def split(node: NodeReader) -> list[Tensor]:
    x = node.tensor(0)
    axis = node.axis(node.whole("axis", 0), x.rank)
    size, parts = x.shape[axis], len(node.proto.output)
    sizes = node.wholes("split") if node.version < 13 else node.sizes(1) if node.has(1) else None
    if sizes is None:
        parts = node.whole("num_outputs", parts) if node.version >= 18 else parts
        each = -(-size // max(parts, 1))
        sizes = tuple(min(each, size - first) for first in range(0, size, max(each, 1)))
    if sum(sizes) != size or min(sizes, default=0) < 0 or len(sizes) != len(node.proto.output):
        raise ModelError(f"Split of {size} elements into {list(sizes)[:8]} for {len(node.proto.output)} outputs")
    starts = accumulate(sizes[:-1], initial=0)
    return [
        cut(node, x, [Cut(axis, start, 1, count)], f"/{number}")
        for number, (start, count) in enumerate(zip(starts, sizes, strict=True))
    ]


@handles("Gather")
def gather(node: NodeReader) -> Tensor:
    """Of indices that are known and evenly spaced: a slice."""
    x, axis = node.tensor(0), node.axis(node.whole("axis", 0), node.tensor(0).rank)
    indices = node.constant(1)
    if indices.dtype.kind not in "iu" or not indices.size:
        raise ModelError("Gather has no whole numbers as indices")
    size = x.shape[axis]
    flat = [int(index) for index in indices.reshape(-1)]
    if min(flat) < -size or max(flat) >= size:
        raise ModelError(f"Gather takes element {max(flat)} of axis {axis}, which has {size}")
    flat = [index % size for index in flat]
    step = flat[1] - flat[0] if len(flat) > 1 else 1
    if step == 0 or any(later - index != step for index, later in pairwise(flat)):
        raise UnsupportedError("Gather of indices that are not evenly spaced", reason="gather of scattered elements")
    taken = cut(node, x, [Cut(axis, flat[0], step, len(flat))], "/taken")
    return reshaped(node, taken, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@handles("Expand")
def expand(node: NodeReader) -> Tensor:
    x, shape = node.tensor(0), node.sizes(1)
    try:
        target = np.broadcast_shapes(x.shape, shape)
    except ValueError:
        raise ModelError(f"Expand of {list(x.shape)} to {list(shape)}") from None
    return expanded(node, x, target)


def expanded(node: NodeReader, x: Tensor, shape: tuple[int, ...], suffix: str = "") -> Tensor:
    """`x` repeated to `shape`, which it broadcasts to."""
    if shape == x.shape:
        return x
    if 0 in shape:
        raise UnsupportedError(f"{node.kind} to {list(shape)}", reason="empty tensors")
    return node.builder.tensor(node.add(Expand(shape), node.plain(x), suffix=suffix), shape, "plain")


@handles("Tile")
def tile(node: NodeReader) -> Tensor:
    """Each axis as two, of which one is repeated."""
    x = node.tensor(0)
    if node.version < 6:
        raise UnsupportedError("Tile of opset 5", reason="an old opset")
    repeats = node.sizes(1)
    if len(repeats) != x.rank or min(repeats, default=1) < 1:
        raise UnsupportedError(f"Tile of {list(x.shape)} by {list(repeats)[:8]}", reason="empty tensors")
    pairs = [size for own in x.shape for size in (1, own)]
    wide = [size for own, times in zip(x.shape, repeats, strict=True) for size in (times, own)]
    long = expanded(node, reshaped(node, x, tuple(pairs), "/pairs"), tuple(wide), "/repeated")
    return reshaped(node, long, tuple(own * times for own, times in zip(x.shape, repeats, strict=True)))
