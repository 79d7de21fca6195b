"""Ops that are copies between views, or start with a view of their input: which views. Shared between the backends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple, assert_never

from cnngen.ops import ChannelShuffle, DepthToSpace, Pad, SpaceToDepth
from cnngen.plan.memory import View


def copies(op: DepthToSpace | SpaceToDepth | ChannelShuffle, read: View, write: View) -> Iterator[tuple[View, View]]:
    """The copies, of views of one shape each, that `op` is made of."""
    match op:
        case DepthToSpace():
            channels, b = write.shape[3], op.block
            for i, j in itertools.product(range(b), repeat=2):
                number = i * b + j
                part = every_channel(read, number, b * b) if op.mode == "CRD" else None
                yield part or read.slice_channels(number * channels, channels), every_pixel(write, i, j, b)
        case SpaceToDepth():
            channels, b = read.shape[3], op.block
            for i, j in itertools.product(range(b), repeat=2):
                number = i * b + j
                part = every_channel(write, number, b * b) if op.mode == "CRD" else None
                yield every_pixel(read, i, j, b), part or write.slice_channels(number * channels, channels)
        case ChannelShuffle():
            channels = read.shape[3] // op.groups
            for group in range(op.groups):
                yield read.slice_channels(group * channels, channels), every_channel(write, group, op.groups)
        case _:
            assert_never(op)


def every_pixel(view: View, row: int, column: int, step: int) -> View:
    """Pixel (row, column) of each block of `step` x `step` pixels."""
    n, h, w, c = view.strides
    shape = (view.shape[0], view.shape[1] // step, view.shape[2] // step, view.shape[3])
    offset = view.offset + row * h + column * w
    return replace(view, offset=offset, shape=shape, strides=(n, h * step, w * step, c))


def every_channel(view: View, first: int, step: int) -> View:
    """Channels `first`, ``first + step`` and so on."""
    n, h, w, c = view.strides
    return replace(
        view,
        offset=view.offset + first * c,
        shape=(*view.shape[:3], view.shape[3] // step),
        strides=(n, h, w, c * step),
    )


class PaddedPart(NamedTuple):
    """Some channels of the output of a `Pad`: made of `read`, or only of its value where that is None."""

    read: View | None
    write: View


def padded_parts(op: Pad, read: View, write: View) -> Iterator[PaddedPart]:
    """The input less what `op` crops, around which `op.borders` go, and the channels that it adds."""
    top, bottom, left, right = op.crops
    first, last = (max(-count, 0) for count in op.channels)
    _, h, w, c = read.strides
    _, height, width, channels = read.shape
    inner = replace(
        read,
        offset=read.offset + top * h + left * w + first * c,
        shape=(read.shape[0], height - top - bottom, width - left - right, channels - first - last),
    )
    before, behind = (max(count, 0) for count in op.channels)
    yield PaddedPart(inner, write.slice_channels(before, inner.shape[3]))
    if before:
        yield PaddedPart(None, write.slice_channels(0, before))
    if behind:
        yield PaddedPart(None, write.slice_channels(before + inner.shape[3], behind))
