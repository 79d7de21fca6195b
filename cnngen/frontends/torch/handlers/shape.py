"""Ops that move elements: views, permutations, concatenation, padding."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnngen.frontends.torch.lowering import IMAGE, Lowering, Tensor, UnsupportedError, Value, handles, last, natural
from cnngen.ops import Concat, Flatten, Pad, Reshape


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
    if axes[0] != 0:
        raise UnsupportedError("moves the batch", remedy="keep axis 0 first")
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
    at = dim if dim >= 0 else dim + x.rank + 1
    return reshaped(g, x, (*x.shape[:at], 1, *x.shape[at:]))


def without(g: Lowering, x: Tensor, axes: Sequence[int]) -> Tensor:
    """`x` without these axes, which have one element each."""
    return reshaped(g, x, [size for axis, size in enumerate(x.shape) if axis not in axes])


def reshaped(g: Lowering, x: Tensor, sizes: Sequence[int]) -> Tensor:
    """The elements of `x`, in PyTorch's order, with other sizes; -1 stands for what is left."""
    known = math.prod(size for size in sizes if size != -1)
    shape = tuple(math.prod(x.shape) // known if size == -1 else size for size in sizes)
    if shape == x.shape:
        return x
    if not shape or shape[0] != x.shape[0]:
        raise UnsupportedError(f"mixes the batch with other axes: {x.shape} to {shape}", remedy="keep axis 0 as it is")
    image = x.rank == 4
    if x.rank not in (2, 4) or len(shape) not in (2, 4):
        raise UnsupportedError(f"makes {shape} of {x.shape}", remedy="use tensors of 2 or 4 axes")
    name = g.image(x) if image else g.arranged(x, natural(2))
    if len(shape) == 2:
        return g.add(Flatten("chw"), (name,), natural(2))
    _, channels, height, width = shape
    return g.add(Reshape((height, width, channels), "chw"), (name,), IMAGE)


@handles("cat.default")
def cat(g: Lowering, tensors: Sequence[Value], dim: int) -> Tensor:
    parts = [part for part in tensors if not (isinstance(part, Tensor) and part.shape == (0,))]
    if not all(isinstance(part, Tensor) for part in parts):
        raise UnsupportedError("joins a constant to a tensor")
    axis = parts[0].axis(dim)
    if axis == 0:
        raise UnsupportedError("joins along the batch")
    if len(parts) == 1:
        joined: Tensor = parts[0]
        return joined
    rank = parts[0].rank
    order = parts[0].order if parts[0].order[-1] == axis else last(rank, axis)
    return g.add(Concat(), [g.arranged(part, order) for part in parts], order)


@handles("constant_pad_nd.default")
def constant_pad_nd(g: Lowering, x: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    return _padded(g, x, pad, "constant", float(value))


@handles("pad.default")
def pad(g: Lowering, x: Tensor, pad: Sequence[int], mode: str, value: float | None) -> Tensor:
    if mode == "circular":
        raise UnsupportedError("pads in a circle")
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
    if x.rank != 4 or padded[0] == 0 or len(padded) > 2:
        raise UnsupportedError(f"pads the axes {padded} of {x.rank}")
    if min(min(amount) for amount in amounts) < 0:
        raise UnsupportedError("crops, with negative padding")
    # Height and width of the op can be any two axes.
    channel = 1 if 1 not in padded else next(axis for axis in (3, 2) if axis not in padded)
    order = last(4, channel)
    (top, bottom), (left, right) = (amounts[axis] for axis in order[1:3])
    kind = "edge" if mode == "replicate" else "reflect" if mode == "reflect" else "constant"
    op = Pad((top, bottom, left, right), kind, value)  # type: ignore[arg-type]  # one of its modes
    return g.add(op, (g.arranged(x, order),), order)
