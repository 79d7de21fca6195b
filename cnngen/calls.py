"""What a call of a network takes: arrays are gathered, and refused where native code could not work on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnngen.errors import RunError
from cnngen.feed import Feed, bind
from cnngen.ir import Array, Input
from cnngen.tensors import as_array, is_torch

FLOAT32 = np.dtype(np.float32)


def gather(inputs: Sequence[Input], feed: Feed, *, batched: bool) -> tuple[list[Array], int, bool]:
    """Contiguous float32 arrays with a batch axis, the number of images, and whether it was added.

    Of a network that is not `batched`: arrays of exactly its shapes, as one image.
    """
    arrays, counts, single = [], set(), False
    for tensor, given in bind(inputs, feed):
        array = as_array(f"input {tensor.name}", given)
        check_dtype(f"input {tensor.name}", array)
        if not batched:
            check_whole(tensor, array.shape)
            arrays.append(np.require(array, requirements=["C", "A"]))
            continue
        if array.shape == tensor.type.shape[1:]:
            array, single = array[None], True
        check_image(tensor, array.shape)
        counts.add(len(array))
        arrays.append(np.require(array, requirements=["C", "A"]))
    if not batched:
        return arrays, 1, False
    if len(counts) != 1:
        raise RunError(f"the inputs have different batch sizes {sorted(counts)}")
    return arrays, counts.pop(), single


def check_arrays(
    inputs: Sequence[Input], outputs: Sequence[Input], xs: Sequence[Array], outs: Sequence[Array], *, batched: bool
) -> None:
    """Raise `RunError` unless `Network.run` can work on these arrays as they are."""
    for kind, tensors, arrays in (("input", inputs, xs), ("output", outputs, outs)):
        check_count(kind, tensors, arrays)
        for tensor, array in zip(tensors, arrays, strict=True):
            check_dtype(f"{kind} {tensor.name}", array)
            check_shape(kind, tensor, array.shape, batched=batched)
            if not (array.flags.c_contiguous and array.flags.aligned):
                raise RunError(
                    f"{kind} {tensor.name} is not contiguous and aligned in memory",
                    remedy="use numpy.ascontiguousarray, or net(x), which copies",
                )
            if kind == "output" and not array.flags.writeable:
                raise RunError(f"output {tensor.name} is read-only", remedy="give a writable array")
    for index, out in enumerate(outs):
        for other in (*xs, *outs[:index]):
            if np.may_share_memory(out, other):
                raise RunError("out overlaps an input or another output", remedy="give an array of its own")


def check_count(kind: str, tensors: Sequence[Input], arrays: Sequence[object]) -> None:
    """Raise `RunError` unless there is an array for each of `tensors`."""
    if len(tensors) != len(arrays):
        raise RunError(f"{len(arrays)} {kind}s were given, the network has {len(tensors)}")


def check_shape(kind: str, tensor: Input, shape: tuple[int, ...], *, batched: bool = True) -> None:
    """Raise `RunError` unless an array of `shape` is the compiled batch of `tensor`."""
    if shape != tensor.type.shape:
        raise RunError(
            f"{kind} {tensor.name} has shape {shape}, run takes {tensor.type.shape}",
            remedy="use net(x) for other batch sizes" if batched else None,
        )


def check_whole(tensor: Input, shape: tuple[int, ...]) -> None:
    """Raise `RunError` unless `shape` is that of the input `tensor` of a network that takes no other."""
    if shape != tensor.type.shape:
        raise RunError(
            f"input {tensor.name} has shape {shape}, the network takes exactly {tensor.type.shape}",
            remedy="its layers mix axis 0 with other axes: compile it for the shapes that it is to take",
        )


def check_image(tensor: Input, shape: tuple[int, ...]) -> None:
    """Raise `RunError` unless `shape` is that of some images of the input `tensor`."""
    image = tensor.type.shape[1:]
    if shape[1:] != image or len(shape) != len(image) + 1:
        expected = ", ".join(map(str, image))
        raise RunError(
            f"input {tensor.name} has shape {shape}, the network takes (batch, {expected})",
            remedy="check the layout (channels last or first) and the size of the image",
        )


def check_dtype(what: str, array: Array) -> None:
    """Raise `RunError` unless `array` holds float32 in this machine's byte order."""
    if array.dtype != FLOAT32 or not array.dtype.isnative:
        raise RunError(f"{what} has dtype {array.dtype.str}, not float32", remedy="use x.astype('float32')")


def one_or_list(xs: Sequence[Any]) -> Feed:
    """What `feed.bind` takes: the only argument itself, or all of them."""
    feed: Feed = xs[0] if len(xs) == 1 else list(xs)
    return feed


def values_of(feed: Feed) -> Sequence[Any]:
    """The arrays of a feed, in some order."""
    if isinstance(feed, Mapping):
        return list(feed.values())
    return feed if isinstance(feed, Sequence) else (feed,)


def has_torch(feed: Feed) -> bool:
    """Whether an input is a PyTorch tensor."""
    return not isinstance(feed, np.ndarray) and any(map(is_torch, values_of(feed)))
