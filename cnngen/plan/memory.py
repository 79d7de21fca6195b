"""Where every tensor lies: halos, aliases, slices, liveness and arena offsets.

Shared between the backends. All sizes and offsets are in floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cnngen.errors import PlanError
from cnngen.ir import Array, TensorType

ALIGNMENT = 16
"""Floats: buffers start on a cache line of 64 bytes."""

Space = Literal["input", "output", "arena", "weights"]
"""The caller's arrays, working memory, and the packed parameters, where constants lie."""
Halo = tuple[int, int, int, int]
"""Zero pixels around an image: top, bottom, left, right."""
NO_HALO: Halo = (0, 0, 0, 0)


@dataclass(frozen=True)
class View:
    """A tensor in memory, always of rank 4: element (n, h, w, c) is at ``offset + n s0 + h s1 + w s2 + c s3``.

    What a tensor of another rank is as an image, `as_image` says. `index` numbers the input, output or arena buffer.
    """

    space: Space
    index: int
    offset: int
    shape: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]

    @staticmethod
    def packed(space: Space, index: int, tensor: TensorType, halo: Halo = NO_HALO, spare: int = 0) -> View:
        """The tensor stored densely, surrounded by `halo`, with so many `spare` floats behind each pixel."""
        shape = as_image(tensor)
        pixel = shape[3] + spare
        row = (shape[2] + halo[2] + halo[3]) * pixel
        image = (shape[1] + halo[0] + halo[1]) * row
        return View(space, index, halo[0] * row + halo[2] * pixel, shape, (image, row, pixel, 1))

    @staticmethod
    def rows_of_planes(space: Space, index: int, tensor: TensorType, halo: Halo = NO_HALO) -> View:
        """The image stored densely, row by row, in each row channel after channel; a `halo` is above and below only."""
        if halo[2] or halo[3]:
            raise PlanError(f"planes with {halo[2]} and {halo[3]} pixels beside each row")
        n, height, width, channels = as_image(tensor)
        row, rows = width * channels, height + halo[0] + halo[1]
        return View(space, index, halo[0] * row, (n, height, width, channels), (rows * row, row, 1, width))

    @property
    def dense(self) -> bool:
        """Whether the elements lie one behind the other without gaps, in order."""
        _, height, width, channels = self.shape
        natural = (height * width * channels, width * channels, channels, 1)
        return all(s == t or n == 1 for s, t, n in zip(self.strides, natural, self.shape, strict=True))

    def slice_channels(self, first: int, count: int) -> View:
        """`count` channels from `first` on."""
        return replace(self, offset=self.offset + first * self.strides[3], shape=(*self.shape[:3], count))

    def of(self, memory: Array, base: int = 0) -> Array:
        """The tensor as a NumPy view of shape (n, h, w, c) into one-dimensional `memory`."""
        window = memory[base + self.offset :]
        extent = 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if extent > window.size:
            raise PlanError(f"view {self} leaves its buffer of {memory.size} floats")
        import numpy as np

        return np.lib.stride_tricks.as_strided(window, self.shape, [memory.itemsize * s for s in self.strides])


@dataclass(frozen=True)
class Buffer:
    """A piece of the arena that is in use from step `first` to step `last`, both included."""

    index: int
    size: int
    first: int
    last: int
    offset: int = -1
    halo: Halo = NO_HALO
    shape: tuple[int, int, int, int] = (1, 1, 1, 1)

    @property
    def has_halo(self) -> bool:
        return any(self.halo)


@dataclass(frozen=True)
class Arena:
    """Buffers with their offsets; `lower_bound` is the most that is live at any step."""

    buffers: tuple[Buffer, ...]
    size: int
    lower_bound: int


def as_image(tensor: TensorType) -> tuple[int, int, int, int]:
    """The shape as (n, h, w, c) of a tensor of any rank: its last axis is the channels, its first one the batch.

    A vector (rank 2) is one pixel, a row of vectors (rank 3) an image of height 1. Axes in the middle that are one
    too many are taken together as the height. A tensor of rank 0 or 1 is one pixel without a batch. All but ranks 2
    and 4 are dense in memory, so that their elements have this order whatever their axes are.
    """
    if len(tensor.shape) < 2:
        return (1, 1, 1, tensor.elements)
    batch, *middle, channels = tensor.shape
    if len(middle) < 2:
        return (batch, 1, math.prod(middle), channels)
    return (batch, math.prod(middle[:-1]), middle[-1], channels)


def strides_of(view: View, tensor: TensorType) -> tuple[int, ...]:
    """The step in memory along each axis of `tensor`, which lies at `view`."""
    if len(tensor.shape) == 4:
        return view.strides
    if len(tensor.shape) == 2:
        return (view.strides[0], view.strides[3])
    return dense_strides(tensor.shape)


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The step along each axis where elements lie side by side in order."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def assign_offsets(buffers: Sequence[Buffer]) -> Arena:
    """Give every buffer an offset so that buffers in use at the same time do not overlap.

    One after the other, each at the lowest offset where it fits: the largest first, or, where that is not the least
    possible, those first that are in use when most is, or for the longest time, whichever needs the least (Pisarchyk
    and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020, "greedy by size" and "by breadth").
    """
    steps = max((b.last for b in buffers), default=-1) + 1
    live = [0] * steps
    for buffer in buffers:
        for step in range(buffer.first, buffer.last + 1):
            live[step] += aligned(buffer.size)
    lower_bound = max(live, default=0)
    orders: list[Callable[[Buffer], tuple[int, ...]]] = [
        lambda b: (-b.size, b.index),
        lambda b: (-max(live[b.first : b.last + 1]), -b.size, b.index),
        lambda b: (b.first - b.last, -b.size, b.index),
    ]
    best: tuple[int, list[Buffer]] | None = None
    for order in orders:
        placed = _placed(sorted(buffers, key=order), steps)
        size = max((b.offset + aligned(b.size) for b in placed), default=0)
        if best is None or size < best[0]:
            best = size, placed
        if size == lower_bound:
            break
    assert best is not None
    return verify_arena(Arena(tuple(sorted(best[1], key=lambda b: b.index)), best[0], lower_bound))


def _placed(buffers: Sequence[Buffer], steps: int) -> list[Buffer]:
    """Each buffer, in this order, at the lowest offset where it fits between those before it."""
    placed: list[Buffer] = []
    # What is placed already, by the steps at which it is in use: a network of thousands of layers has thousands of
    # buffers, of which a few meet.
    at: list[list[Buffer]] = [[] for _ in range(steps)]
    for buffer in buffers:
        met = {b.index: b for live in at[buffer.first : buffer.last + 1] for b in live}
        offset = 0
        for other in sorted(met.values(), key=lambda b: b.offset):
            if offset + aligned(buffer.size) <= other.offset:
                break
            offset = max(offset, other.offset + aligned(other.size))
        placed.append(replace(buffer, offset=offset))
        for live in at[buffer.first : buffer.last + 1]:
            live.append(placed[-1])
    return placed


def verify_arena(arena: Arena) -> Arena:
    """Return `arena` if no two buffers in use at the same time share memory."""
    live: list[Buffer] = []
    for buffer in sorted(arena.buffers, key=lambda b: b.first):
        if buffer.offset < 0 or buffer.offset % ALIGNMENT or buffer.offset + buffer.size > arena.size:
            raise PlanError(f"buffer {buffer} lies outside the arena or is not aligned")
        live = [other for other in live if other.last >= buffer.first]
        for other in live:
            if buffer.offset < other.offset + other.size and other.offset < buffer.offset + buffer.size:
                raise PlanError(f"buffers {other} and {buffer} overlap")
        live.append(buffer)
    return arena


def aligned(size: int) -> int:
    """`size` floats, rounded up to whole cache lines."""
    return -(-size // ALIGNMENT) * ALIGNMENT
