"""Ops that move elements: views, permutations, concatenation, padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from cnngen.frontends.torch.lowering import (
    IMAGE,
    Lowering,
    Order,
    Tensor,
    UnsupportedError,
    Value,
    array,
    handles,
    last,
    natural,
)
from cnngen.ops import ChannelShuffle, Concat, Expand, Flatten, Pad, Reshape, Slice
from cnngen.ops.pad import PadMode


@handles("dropout.default", "feature_dropout.default", "alpha_dropout.default", "feature_alpha_dropout.default")
def dropout(g: Lowering, input: Tensor, p: float, train: bool) -> Tensor:
    if train and p > 0:
        raise UnsupportedError("drops elements, as in training", remedy="pass training=self.training, and call .eval()")
    return input


@handles(
    "clone.default",
    "contiguous.default",
    "alias.default",
    "detach.default",
    "to.dtype",
    "to.dtype_layout",
    "to.device",
    "_to_copy.default",
    "lift_fresh_copy.default",
    without_effect=("memory_format", "dtype", "layout", "device", "pin_memory", "non_blocking", "copy"),
)
def same(g: Lowering, x: Tensor) -> Tensor:
    """Another type is found by its result."""
    return x


@handles("permute.default")
def permute(g: Lowering, x: Tensor, dims: Sequence[int]) -> Tensor:
    axes = [x.axis(dim) for dim in dims]
    return Tensor(x.name, tuple(x.shape[axis] for axis in axes), tuple(axes.index(axis) for axis in x.order))


@handles("transpose.int")
def transpose(g: Lowering, x: Tensor, dim0: int, dim1: int) -> Tensor:
    axes = list(range(x.rank))
    first, second = x.axis(dim0), x.axis(dim1)
    axes[first], axes[second] = second, first
    return permute(g, x, axes)


@handles("flatten.using_ints")
def flatten(g: Lowering, x: Tensor, start_dim: int, end_dim: int) -> Tensor:
    first, end = x.axis(start_dim), x.axis(end_dim)
    return reshaped(g, x, (*x.shape[:first], math.prod(x.shape[first : end + 1]), *x.shape[end + 1 :]))


@handles("view.default", "_unsafe_view.default")
def view(g: Lowering, x: Tensor, size: Sequence[int]) -> Tensor:
    return reshaped(g, x, size)


@handles("reshape.default")
def reshape(g: Lowering, x: Tensor, shape: Sequence[int]) -> Tensor:
    return reshaped(g, x, shape)


@handles("squeeze.dim", "squeeze.dims", "squeeze.default")
def squeeze(g: Lowering, x: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    dims = range(x.rank) if dim is None else [dim] if isinstance(dim, int) else dim
    return without(g, x, [axis for axis in (x.axis(one) for one in dims) if x.shape[axis] == 1])


@handles("unsqueeze.default")
def unsqueeze(g: Lowering, x: Tensor, dim: int) -> Tensor:
    return with_axis(g, x, dim if dim >= 0 else dim + x.rank + 1)


@handles("unflatten.int")
def unflatten(g: Lowering, x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    axis = x.axis(dim)
    rest = [x.shape[axis] // -math.prod(sizes) if size == -1 else size for size in sizes]
    return reshaped(g, x, (*x.shape[:axis], *rest, *x.shape[axis + 1 :]))


def without(g: Lowering, x: Tensor, axes: Sequence[int]) -> Tensor:
    """`x` without these axes, which have one element each; the others stay where they are."""
    kept = [axis for axis in range(x.rank) if axis not in axes]
    order = tuple(kept.index(axis) for axis in x.order if axis in kept)
    shape = tuple(x.shape[axis] for axis in x.order if axis in kept)
    return x if len(kept) == x.rank else _as(g, x, shape, order)


def with_axis(g: Lowering, x: Tensor, at: int) -> Tensor:
    """`x` with a new axis of one element, PyTorch's axis `at`; it comes in front of the axis that was there."""
    order = [axis + (axis >= at) for axis in x.order]
    order.insert(order.index(at + 1) if at < x.rank else x.rank, at)
    sizes = (*x.shape[:at], 1, *x.shape[at:])
    return _as(g, x, tuple(sizes[axis] for axis in order), tuple(order))


def _as(g: Lowering, x: Tensor, shape: tuple[int, ...], order: Order) -> Tensor:
    """The elements of `x` as they lie, with this shape in the graph."""
    own = g.types[x.name]
    if len(shape) == 2 and shape[0] == own.shape[0]:
        return g.add(Flatten("hwc"), (x.name,), order)
    return g.add(Reshape.to(shape, own), (x.name,), order)


def reshaped(g: Lowering, x: Tensor, sizes: Sequence[int], *, keep: bool = False) -> Tensor:
    """The elements of `x`, in PyTorch's order, with other sizes; -1 stands for what is left.

    An image has its channels last afterwards, unless the order is to `keep` PyTorch's.
    """
    known = math.prod(size for size in sizes if size != -1)
    shape = tuple(math.prod(x.shape) // known if size == -1 else size for size in sizes)
    if shape == x.shape:
        return x
    images = not keep and shape[:1] == x.shape[:1] and x.rank in (2, 4) and len(shape) in (2, 4)
    if not images or (x.rank == 4 and x.order not in (IMAGE, natural(4))):
        name = g.arranged(x, natural(x.rank))
        return g.add(Reshape.to(shape, g.types[name]), (name,), natural(len(shape)))
    name = g.image(x) if x.rank == 4 else g.arranged(x, natural(2))
    if len(shape) == 2:
        return g.add(Flatten("chw"), (name,), natural(2))
    _, channels, height, width = shape
    return g.add(Reshape((height, width, channels), "chw"), (name,), IMAGE)


@handles("slice.Tensor")
def cut(g: Lowering, x: Tensor, dim: int, start: int | None, end: int | None, step: int) -> Tensor:
    axis = x.axis(dim)
    if (start or 0) == 0 and (end is None or end >= x.shape[axis]) and step == 1:
        return x
    return _cut(g, x, axis, start, end, step)


def _cut(g: Lowering, x: Tensor, axis: int, start: int | None, end: int | None, step: int = 1) -> Tensor:
    own = g.types[x.name]
    return g.add(Slice((Slice.of(own, x.order.index(axis), start, end, step),)), (x.name,), x.order)


@handles("narrow.default")
def narrow(g: Lowering, x: Tensor, dim: int, start: int, length: int) -> Tensor:
    first = start % x.shape[x.axis(dim)]
    return cut(g, x, dim, first, first + length, 1)


@handles("select.int")
def select(g: Lowering, x: Tensor, dim: int, index: int) -> Tensor:
    axis = x.axis(dim)
    first = index % x.shape[axis]
    return without(g, cut(g, x, axis, first, first + 1, 1), [axis])


@handles("unbind.int")
def unbind(g: Lowering, x: Tensor, dim: int) -> list[Tensor]:
    return [select(g, x, dim, index) for index in range(x.shape[x.axis(dim)])]


@handles("split.Tensor")
def split(g: Lowering, x: Tensor, split_size: int, dim: int) -> list[Tensor]:
    size = x.shape[x.axis(dim)]
    return [cut(g, x, dim, start, min(start + split_size, size), 1) for start in range(0, size, split_size)]


@handles("chunk.default")
def chunk(g: Lowering, x: Tensor, chunks: int, dim: int) -> list[Tensor]:
    return split(g, x, -(-x.shape[x.axis(dim)] // chunks), dim)


@handles("split_with_sizes.default")
def split_with_sizes(g: Lowering, x: Tensor, split_sizes: Sequence[int], dim: int) -> list[Tensor]:
    ends = list(accumulate(split_sizes))
    return [cut(g, x, dim, end - size, end, 1) for size, end in zip(split_sizes, ends, strict=True)]


@handles("split.sizes")
def split_sizes(g: Lowering, x: Tensor, split_size: Sequence[int], dim: int) -> list[Tensor]:
    return split_with_sizes(g, x, split_size, dim)


@handles("flip.default")
def flip(g: Lowering, x: Tensor, dims: Sequence[int]) -> Tensor:
    for dim in dims:
        x = _cut(g, x, x.axis(dim), None, None, -1)
    return x


@handles("roll.default")
def roll(g: Lowering, x: Tensor, shifts: Sequence[int], dims: Sequence[int]) -> Tensor:
    if not dims:
        raise UnsupportedError("rolls all elements at once", remedy="name the axes")
    for shift, dim in zip(shifts, dims, strict=True):
        axis = x.axis(dim)
        first = -shift % x.shape[axis]
        if first:
            x = cat(g, [_cut(g, x, axis, first, None), _cut(g, x, axis, None, first)], axis)
    return x


@handles("expand.default")
def expand(g: Lowering, x: Tensor, size: Sequence[int]) -> Tensor:
    while x.rank < len(size):
        x = with_axis(g, x, 0)
    shape = tuple(own if wanted == -1 else wanted for own, wanted in zip(x.shape, size, strict=True))
    if shape == x.shape:
        return x
    return g.add(Expand(tuple(shape[axis] for axis in x.order)), (x.name,), x.order)


@handles("expand_as.default")
def expand_as(g: Lowering, x: Tensor, other: Value) -> Tensor:
    return expand(g, x, tuple(other.shape))


@handles("stack.default")
def stack(g: Lowering, tensors: Sequence[Tensor], dim: int) -> Tensor:
    at = dim if dim >= 0 else dim + len(tensors[0].shape) + 1
    return cat(g, [with_axis(g, tensor, at) for tensor in tensors], at)


def channel_shuffle(g: Lowering, x: Tensor, groups: int) -> Tensor:
    """Channels dealt out in turn: the view, transposition and view that networks write for it."""
    return g.add(ChannelShuffle(groups), (g.image(x),), IMAGE)


handles("channel_shuffle.default", "native_channel_shuffle.default")(channel_shuffle)


@handles("cat.default")
def cat(g: Lowering, tensors: Sequence[Value], dim: int) -> Tensor:
    parts = [
        part if isinstance(part, Tensor) else g.constant(array(part)) for part in tensors if tuple(part.shape) != (0,)
    ]
    if len(parts) == 1:
        return parts[0]
    axis, order = parts[0].axis(dim), parts[0].order
    names = [g.arranged(part, order) for part in parts]
    return g.add(Concat.along(order.index(axis), g.types[names[0]]), names, order)


PAD_MODES: dict[str, PadMode] = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""By the names of `torch.nn.functional.pad`."""


@handles("constant_pad_nd.default")
def constant_pad_nd(g: Lowering, x: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    return _padded(g, x, pad, "constant", float(value))


@handles("pad.default")
def pad(g: Lowering, x: Tensor, pad: Sequence[int], mode: str, value: float | None) -> Tensor:
    return _padded(g, x, pad, mode, float(value or 0))


@handles("reflection_pad2d.default")
def reflection_pad2d(g: Lowering, x: Tensor, padding: Sequence[int]) -> Tensor:
    return _padded(g, x, padding, "reflect", 0.0)


@handles("replication_pad2d.default")
def replication_pad2d(g: Lowering, x: Tensor, padding: Sequence[int]) -> Tensor:
    return _padded(g, x, padding, "replicate", 0.0)


def _padded(g: Lowering, x: Tensor, sides: Sequence[int], mode: str, value: float) -> Tensor:
    """`sides` as PyTorch has them: begin and end of the last axis, of the one before it, and so on."""
    amounts = [(0, 0)] * x.rank
    for number in range(len(sides) // 2):
        amounts[x.rank - 1 - number] = (sides[2 * number], sides[2 * number + 1])
    padded = [axis for axis, amount in enumerate(amounts) if amount != (0, 0)]
    if not padded:
        return x
    if x.rank == 3 and padded == [2]:
        return without(g, _padded(g, with_axis(g, x, 2), sides, mode, value), [2])
    if x.rank != 4 or padded[0] == 0 or (len(padded) > 2 and mode != "constant"):
        raise UnsupportedError(f"pads the axes {padded} of {x.rank}")
    # Height and width of the op can be any two axes; channels are padded with a constant only.
    channel = next(axis for axis in (1, 3, 2) if axis not in padded or len(padded) > 2)
    order = last(4, channel)
    (top, bottom), (left, right), channels = (amounts[axis] for axis in order[1:])
    op = Pad((top, bottom, left, right), PAD_MODES[mode], value, channels)
    return g.add(op, (g.arranged(x, order),), order)
