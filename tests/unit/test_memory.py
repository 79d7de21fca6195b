"""Views, and offsets in the arena: buffers that live at the same time never share memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnngen.errors import PlanError
from cnngen.ir import TensorType
from cnngen.plan.memory import ALIGNMENT, Arena, Buffer, View, as_image, assign_offsets, verify_arena

SHAPES = st.tuples(*[st.integers(1, 5)] * 4)
HALOS = st.tuples(*[st.integers(0, 3)] * 4)


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Buffer]:
    """Buffers of all sizes, each in use from one step to a later one."""
    spans = st.tuples(st.integers(1, 400), st.integers(0, 12), st.integers(0, 6))
    return [
        Buffer(index, size, first, first + length)
        for index, (size, first, length) in enumerate(draw(st.lists(spans, max_size=14)))
    ]


@given(lifetimes())
@settings(max_examples=300, deadline=None)
def test_no_float_belongs_to_two_live_buffers(buffers: list[Buffer]) -> None:
    arena = assign_offsets(buffers)
    assert [replace(b, offset=-1) for b in arena.buffers] == sorted(buffers, key=lambda b: b.index)
    for step in range(20):
        owner = np.full(arena.size, -1)
        for buffer in arena.buffers:
            if buffer.first <= step <= buffer.last:
                place = slice(buffer.offset, buffer.offset + buffer.size)
                assert np.all(owner[place] == -1), f"step {step}"
                assert owner[place].size == buffer.size, "inside the arena"
                owner[place] = buffer.index
        assert np.sum(owner >= 0) <= arena.lower_bound <= arena.size
    assert all(buffer.offset % ALIGNMENT == 0 for buffer in arena.buffers)


@given(lifetimes())
@settings(max_examples=100, deadline=None)
def test_the_arena_is_not_larger_than_all_buffers_together(buffers: list[Buffer]) -> None:
    arena = assign_offsets(buffers)
    assert arena.size <= sum(-(-b.size // ALIGNMENT) * ALIGNMENT for b in buffers)
    assert arena.size % ALIGNMENT == 0


def test_buffers_that_never_meet_share_memory() -> None:
    chain = [Buffer(i, 100 + i, i, i + 1) for i in range(10)]
    arena = assign_offsets(chain)
    assert arena.size == arena.lower_bound == 2 * 112
    assert assign_offsets([]) == Arena((), 0, 0)


@pytest.mark.parametrize(
    ("sizes", "least"),
    [([(3, 0, 1), (2, 1, 4), (4, 4, 4), (2, 0, 3)], 7), ([(4, 1, 2), (6, 3, 5), (6, 2, 3), (5, 0, 2)], 15)],
    ids=["the longest first", "the broadest step first"],
)
def test_another_order_is_tried_where_the_largest_first_leave_holes(
    sizes: list[tuple[int, int, int]], least: int
) -> None:
    arena = assign_offsets([Buffer(i, size * ALIGNMENT, *live) for i, (size, *live) in enumerate(sizes)])
    assert arena.size == arena.lower_bound == least * ALIGNMENT


def test_a_gap_between_two_live_buffers_is_used() -> None:
    arena = assign_offsets([Buffer(0, 64, 0, 9), Buffer(1, 32, 0, 2), Buffer(2, 48, 0, 9), Buffer(3, 16, 4, 9)])
    assert arena.size == arena.lower_bound == 64 + 48 + 32


@pytest.mark.parametrize(
    "buffers",
    [
        (Buffer(0, 32, 0, 2, 0), Buffer(1, 32, 2, 3, 16)),
        (Buffer(0, 32, 0, 2, 0), Buffer(1, 16, 1, 1, 16)),
        (Buffer(0, 32, 0, 2, 48),),
        (Buffer(0, 16, 0, 2, 8),),
        (Buffer(0, 16, 0, 2),),
    ],
    ids=["overlap", "inside another", "beyond the end", "not aligned", "no offset"],
)
def test_verify_arena_refuses(buffers: tuple[Buffer, ...]) -> None:
    with pytest.raises(PlanError):
        verify_arena(Arena(buffers, 64, 0))


def test_verify_arena_takes_neighbours_and_successors() -> None:
    arena = Arena((Buffer(0, 32, 0, 2, 0), Buffer(1, 32, 2, 3, 32), Buffer(2, 32, 3, 4, 0)), 64, 64)
    assert verify_arena(arena) is arena


@given(SHAPES, HALOS, st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_a_packed_view_is_the_tensor_inside_its_halo(
    shape: tuple[int, int, int, int], halo: tuple[int, int, int, int], base: int
) -> None:
    n, h, w, c = shape
    top, bottom, left, right = halo
    padded = np.arange(n * (h + top + bottom) * (w + left + right) * c, dtype=np.float32)
    memory = np.concatenate([np.full(base, np.nan, np.float32), padded])
    image = padded.reshape(n, h + top + bottom, w + left + right, c)
    view = View.packed("arena", 0, TensorType(shape), halo)
    assert np.array_equal(view.of(memory, base), image[:, top : top + h, left : left + w])
    assert view.dense == (view.of(memory, base).flags.c_contiguous)


@given(SHAPES, st.data())
@settings(max_examples=100, deadline=None)
def test_a_slice_of_channels_is_the_slice_of_the_array(shape: tuple[int, int, int, int], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, shape[3] - 1))
    count = data.draw(st.integers(1, shape[3] - first))
    memory = np.arange(np.prod(shape), dtype=np.float32)
    view = View.packed("arena", 0, TensorType(shape)).slice_channels(first, count)
    expected = memory.reshape(shape)[..., first : first + count]
    assert np.array_equal(view.of(memory), expected)
    assert view.dense == expected.flags.c_contiguous
    inner = view.slice_channels(count - 1, 1)
    assert np.array_equal(inner.of(memory), expected[..., -1:])


def test_writing_through_a_view_changes_the_memory() -> None:
    memory = np.zeros(24, np.float32)
    View.packed("arena", 0, TensorType((1, 2, 3, 4))).slice_channels(1, 2).of(memory)[...] = 1
    assert np.array_equal(memory, np.tile([0, 1, 1, 0], 6))


def test_a_view_refuses_memory_that_is_too_small() -> None:
    view = View.packed("arena", 0, TensorType((2, 3, 4, 5)))
    assert view.of(np.zeros(120, np.float32)).shape == (2, 3, 4, 5)
    for memory, base in ((np.zeros(119, np.float32), 0), (np.zeros(120, np.float32), 1)):
        with pytest.raises(PlanError, match="leaves its buffer"):
            view.of(memory, base)


def test_tensors_as_images() -> None:
    assert as_image(TensorType((2, 3, 4, 5))) == (2, 3, 4, 5)
    assert as_image(TensorType((2, 7))) == (2, 1, 1, 7)
    assert as_image(TensorType((2, 3, 4))) == (2, 1, 3, 4)
    assert as_image(TensorType((2, 3, 4, 5, 6))) == (2, 12, 5, 6)
    assert as_image(TensorType((2,))) == (1, 1, 1, 2)
    assert as_image(TensorType(())) == (1, 1, 1, 1)
