"""Ops that move elements: reshape and its kin, transpose, concat."""

from __future__ import annotations

import math

import numpy as np

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.node import NodeReader
from cnngen.frontends.onnx.values import Form, Shape, Tensor, Value, position
from cnngen.ops import Concat, Flatten, Op, Reshape, Transpose

POSITION = {0: 0, 1: 3, 2: 1, 3: 2}
"""Where ONNX's axes of an image are with its channels last."""
ORDER = (0, 2, 3, 1)


def reshaped(node: NodeReader, x: Tensor, shape: Shape, suffix: str = "") -> Tensor:
    """The elements of `x`, in ONNX's order, as a tensor of `shape`."""
    if shape == x.shape:
        return x
    if math.prod(shape) != math.prod(x.shape):
        raise ModelError(f"{node.kind} of {list(x.shape)} to {list(shape)}, which has another number of elements")
    if x.array is not None:
        return Tensor(shape, array=x.array.reshape(shape))
    if not (shape and x.shape and shape[0] == x.shape[0]):  # the batch changes, too
        name = node.add(Reshape(shape, whole=True), node.plain(x), suffix=suffix)
        return node.builder.tensor(name, shape, "plain")
    if len(shape) == 2 and x.rank > 1:
        # Passes permute the weights of dense layers behind it.
        form, name = node.same_form(x) if x.rank in (3, 4) else ("plain", node.plain(x))
        flat = Flatten("chw" if form == "last" else "hwc")
        return node.builder.tensor(node.add(flat, name, suffix=suffix), shape, "plain")
    images = x.rank in (3, 4) and "last" in x.forms
    if len(shape) == 4 and (images or (x.rank == 2 and "last" in x.forms)):
        _, channels, height, width = shape
        image = Reshape((height, width, channels), "chw")
        return node.builder.tensor(node.add(image, node.last(x), suffix=suffix), shape, "last")
    moved = Reshape(shape[1:], "chw") if images else Reshape(shape[1:])
    name = node.last(x) if images else node.plain(x)
    return node.builder.tensor(node.add(moved, name, suffix=suffix), shape, "plain")


@handles("Flatten")
def flatten(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    axis = node.whole("axis", 1)
    axis = axis if axis == x.rank else node.axis(axis, x.rank)
    return reshaped(node, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@handles("Reshape")
def reshape(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    sizes = list(node.sizes(1))
    if not node.whole("allowzero", 0):
        if any(size == 0 and axis >= x.rank for axis, size in enumerate(sizes)):
            raise ModelError(f"Reshape to {sizes} keeps an axis that its input {list(x.shape)} does not have")
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    if sizes.count(-1) > 1 or any(size < -1 for size in sizes):
        raise ModelError(f"Reshape to {sizes[:8]}", remedy="at most one size may be -1")
    if -1 in sizes:
        rest = -math.prod(sizes)
        if not rest or math.prod(x.shape) % rest:
            raise ModelError(f"Reshape of {list(x.shape)} to {sizes}, whose other sizes do not divide it")
        sizes[sizes.index(-1)] = math.prod(x.shape) // rest
    return reshaped(node, x, tuple(sizes))


@handles("Squeeze")
def squeeze(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    axes = axes_of(node)
    chosen = (
        [a for a, size in enumerate(x.shape) if size == 1] if axes is None else [node.axis(a, x.rank) for a in axes]
    )
    if any(x.shape[axis] != 1 for axis in chosen):
        raise ModelError(f"Squeeze of axes {chosen} of {list(x.shape)}, which are not all 1")
    return reshaped(node, x, tuple(size for axis, size in enumerate(x.shape) if axis not in chosen))


@handles("Unsqueeze")
def unsqueeze(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    axes = axes_of(node) or ()
    rank = x.rank + len(axes)
    chosen = {node.axis(axis, rank) for axis in axes}
    if len(chosen) != len(axes):
        raise ModelError(f"Unsqueeze names an axis twice: {list(axes)}")
    sizes = iter(x.shape)
    return reshaped(node, x, tuple(1 if axis in chosen else next(sizes) for axis in range(rank)))


def axes_of(node: NodeReader, since: int = 13, index: int = 1) -> tuple[int, ...] | None:
    """The axes that a node names: an attribute before opset `since`, an input from there on."""
    if node.version < since:
        return node.wholes("axes")
    return node.sizes(index) if node.has(index) else None


@handles("Transpose")
def transpose(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    perm = node.wholes("perm") or tuple(reversed(range(x.rank)))
    if sorted(perm) != list(range(x.rank)):
        raise ModelError(f"perm {list(perm)} is no order of the {x.rank} axes of its input")
    shape = tuple(x.shape[axis] for axis in perm)
    if perm == tuple(range(x.rank)):
        return x
    if x.rank == 4:
        return _transposed_image(node, x, perm, shape)
    return node.builder.tensor(node.add(Transpose(perm), node.plain(x)), shape, "plain")


def _transposed_image(node: NodeReader, x: Tensor, perm: tuple[int, ...], shape: Shape) -> Tensor:
    """Nothing is moved where the result lies in memory already, in one form or the other."""
    if not x.forms:
        node.plain(x)
    choices: list[tuple[Form, Form, tuple[int, ...]]] = []
    for source in sorted(x.forms):
        by_axis = tuple(POSITION[axis] if source == "last" else axis for axis in perm)
        choices.append((source, "plain", by_axis))
        choices.append((source, "last", tuple(by_axis[axis] for axis in ORDER)))
    for source, target, axes in choices:
        if axes == (0, 1, 2, 3):
            return node.builder.tensor(x.forms[source], shape, target)
    source, target, axes = choices[0]
    return node.builder.tensor(node.add(Transpose(axes), x.forms[source]), shape, target)


def along_last(node: NodeReader, x: Tensor, axis: int, op: Op) -> Tensor:
    """What `op`, which works along the last axis and keeps the shape, does along `axis`."""
    if axis == 1 and x.rank != 2:
        return node.builder.tensor(node.add(op, node.last(x)), x.shape, "last")
    if axis == x.rank - 1:
        return node.builder.tensor(node.add(op, node.plain(x)), x.shape, "plain")
    order = (*(other for other in range(x.rank) if other != axis), axis)
    back = tuple(order.index(other) for other in range(x.rank))
    name = node.add(Transpose(order), node.plain(x), suffix="/moved")
    name = node.add(Transpose(back), node.add(op, name, suffix="/last"))
    return node.builder.tensor(name, x.shape, "plain")


@handles("Concat")
def concat(node: NodeReader) -> Tensor:
    values: list[Value] = [value for value in node.inputs if value is not None]
    tensors = [value if isinstance(value, Tensor) else node.constant_tensor(value) for value in values]
    rank = tensors[0].rank
    axis = node.axis(node.whole("axis", 1), rank)
    rests = {(*tensor.shape[:axis], *tensor.shape[axis + 1 :]) for tensor in tensors}
    if len(rests) > 1:
        shapes = " and ".join(str(list(tensor.shape)) for tensor in tensors[:4])
        raise ModelError(f"Concat along axis {axis} of tensors that do not fit each other: {shapes}")
    if len(tensors) == 1:
        return tensors[0]
    shape = (*tensors[0].shape[:axis], sum(tensor.shape[axis] for tensor in tensors), *tensors[0].shape[axis + 1 :])
    form: Form = "last" if rank < 3 or any("last" in tensor.forms for tensor in tensors) else "plain"
    names = [node.builder.form(tensor, form) for tensor in tensors]
    op = Concat.along(position(axis, rank, form), node.builder.types[names[0]])
    return node.builder.tensor(node.add(op, *names), shape, form)


@handles("Shape")
def shape_of(node: NodeReader) -> Value:
    x = node.tensor(0)
    return np.array(x.shape[_cut(node.whole("start", 0), x.rank) : _cut(node.whole("end", x.rank), x.rank)], np.int64)


@handles("Size")
def size_of(node: NodeReader) -> Value:
    return np.array(math.prod(node.tensor(0).shape), np.int64)


def _cut(position: int, rank: int) -> int:
    """An end of a range of axes, as ONNX clamps it."""
    return min(max(position + rank if position < 0 else position, 0), rank)
