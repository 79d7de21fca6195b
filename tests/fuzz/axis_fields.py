"""What the layers along axes are drawn with, valid by construction: the batch stays the first axis.

No result has fewer than two axes, so that it keeps its batch whatever reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, get_args

from hypothesis import strategies as st

from cnngen import ops
from cnngen.frontends.axes import AXIS_NAMES
from cnngen.ir import TensorType
from tests.fuzz.choices import MAX_ELEMENTS, Draw, Fields, one_in, optional, pick

MAX_FACTORS = 32
"""Of a product: of numbers up to 2 it stays far from an overflow."""
MAX_AXES = 6
"""Of a tensor, the batch included."""


def divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def inner_axes(x: TensorType) -> list[int]:
    """All but the batch, the last one first."""
    return [*reversed(range(1, len(x.shape)))]


def written(draw: Draw, x: TensorType, axis: int) -> int | str:
    """An axis as one may write it: its number from either end, or its name."""
    names = AXIS_NAMES.get(len(x.shape), ())
    return pick(draw, axis, axis - len(x.shape), *([names[axis]] if names else []))  # type: ignore[no-any-return]


def number_of(x: TensorType, axis: int | str) -> int:
    """The number of an axis that was `written`."""
    return AXIS_NAMES[len(x.shape)].index(axis) if isinstance(axis, str) else axis % len(x.shape)


def some(draw: Draw, values: Sequence[int], most: int) -> list[int]:
    """One to `most` of the values, in any order."""
    return draw(st.lists(st.sampled_from(values), min_size=1, max_size=min(most, len(values)), unique=True))


def one_or_list(draw: Draw, values: list[Any]) -> Any:
    """A list as one may write it: that of one value also as this value."""
    return values[0] if len(values) == 1 and not one_in(draw, 3) else values


def transpose(draw: Draw, x: TensorType) -> Fields:
    order = draw(st.permutations(range(1, len(x.shape))))
    return {"axes": [0, *(written(draw, x, axis) for axis in order)]}


def slice_(draw: Draw, x: TensorType) -> Fields:
    axes = some(draw, inner_axes(x), 2)
    starts, ends, steps = [], [], []
    for axis in axes:
        size = x.shape[axis]
        step = pick(draw, 1, 1, 2, -1, 3, -2)
        start = draw(st.integers(0, size - 1))
        if step > 0:
            end = draw(st.integers(start + 1, size))
            ends.append(pick(draw, end, *((None, size + 3) if end == size else (end - size,))))
        else:
            end = draw(st.integers(-1, start - 1))
            ends.append(pick(draw, *((None, -size - 1) if end < 0 else (end, end - size))))
        outer = (0, None, -size - 2) if step > 0 else (size - 1, None, size + 2)
        first = start == outer[0]
        starts.append(pick(draw, start, start - size, *(outer if first else ())))
        steps.append(step)
    fields: Fields = {
        "axes": one_or_list(draw, [written(draw, x, axis) for axis in axes]),
        "starts": one_or_list(draw, starts),
        "ends": one_or_list(draw, ends),
    }
    if any(step != 1 for step in steps) or one_in(draw, 4):
        fields["steps"] = one_or_list(draw, steps)
    return fields


def split(draw: Draw, x: TensorType) -> Fields:
    axis = pick(draw, *inner_axes(x))
    size = x.shape[axis]
    fields: Fields = {} if axis == len(x.shape) - 1 and one_in(draw, 2) else {"axis": written(draw, x, axis)}
    if draw(st.booleans()):
        fits = [parts for parts in (2, 3, 1, 4) if parts <= size and -(-size // -(-size // parts)) == parts]
        return {**fields, "parts": pick(draw, *fits)}
    cuts = sorted(draw(st.sets(st.integers(1, size - 1), max_size=3))) if size > 1 else []
    return {**fields, "sizes": [b - a for a, b in zip([0, *cuts], [*cuts, size], strict=True)]}


def expand(draw: Draw, x: TensorType) -> Fields:
    room = MAX_ELEMENTS // math.prod(x.shape[1:])
    sizes: list[int] = []
    for size in x.shape[:0:-1][: draw(st.integers(1, len(x.shape) - 1))]:
        repeated = [count for count in (2, 3) if size == 1 and count <= room]
        sizes.append(pick(draw, *repeated, 1, size))
        room //= sizes[-1] if repeated else 1
    whole = len(sizes) == len(x.shape) - 1
    return {"shape": [*([1] if whole and one_in(draw, 3) else []), *reversed(sizes)]}


def squeeze(draw: Draw, x: TensorType) -> Fields:
    ones = [axis for axis in inner_axes(x) if x.shape[axis] == 1]
    if len(ones) < len(x.shape) - 1 and one_in(draw, 3):
        return {}
    return {"axes": one_or_list(draw, [written(draw, x, axis) for axis in some(draw, ones, len(x.shape) - 2)])}


def unsqueeze(draw: Draw, x: TensorType) -> Fields:
    count = draw(st.integers(1, min(2, MAX_AXES - len(x.shape))))
    rank = len(x.shape) + count
    axes = draw(st.lists(st.integers(1, rank - 1), min_size=count, max_size=count, unique=True))
    return {"axes": one_or_list(draw, [pick(draw, axis, axis - rank) for axis in axes])}


def constant(draw: Draw, x: TensorType) -> Fields:
    """A shape that `x` can be added to: of some of its last axes, each size that of `x` or 1, or 2 to repeat `x`.

    Never two sizes beside an image: that of the batch would make it a vector, which is not added to images.
    """
    room = MAX_ELEMENTS // math.prod(x.shape[1:])
    sizes: list[int] = []
    ranks = [rank for rank in range(len(x.shape)) if (rank, len(x.shape)) != (2, 4)]
    for size in x.shape[:0:-1][: pick(draw, *ranks)]:
        sizes.append(pick(draw, size, 1, *([2] if size == 1 and room > 1 else [])))
        room //= 2 if size < sizes[-1] else 1
    return {"shape": sizes[::-1]}


def reduction(draw: Draw, x: TensorType, kind: str) -> Fields:
    fields: Fields = {}
    axes = inner_axes(x)
    if kind == "reduce_prod":
        axes = [pick(draw, *(axis for axis in axes if x.shape[axis] <= MAX_FACTORS))]
        fields["axes"] = one_or_list(draw, [written(draw, x, axes[0])])
    elif one_in(draw, 2):
        axes = some(draw, axes, len(axes))
        fields["axes"] = one_or_list(draw, [written(draw, x, axis) for axis in axes])
    return _kept(draw, x, fields, len(axes))


def arg_reduction(draw: Draw, x: TensorType) -> Fields:
    fields: Fields = {}
    optional(draw, fields, "axis", lambda: written(draw, x, pick(draw, *inner_axes(x))))
    optional(draw, fields, "select_last", lambda: draw(st.booleans()))
    return _kept(draw, x, fields, 1)


def _kept(draw: Draw, x: TensorType, fields: Fields, count: int) -> Fields:
    """Whether the axes stay: they have to where the batch would be left alone."""
    if len(x.shape) - count < 2:
        return {**fields, "keep_dims": True}
    optional(draw, fields, "keep_dims", lambda: draw(st.booleans()))
    return fields


def concat(draw: Draw, x: TensorType) -> Fields:
    fields: Fields = {}
    optional(draw, fields, "axis", lambda: written(draw, x, pick(draw, *inner_axes(x))))
    return fields


def matmul(draw: Draw, x: TensorType) -> Fields:
    return {}


AXIS_FIELDS: dict[str, Callable[[Draw, TensorType], Fields]] = {
    "concat": concat,
    "transpose": transpose,
    "slice": slice_,
    "split": split,
    "expand": expand,
    "squeeze": squeeze,
    "unsqueeze": unsqueeze,
    "constant": constant,
    **{
        kind: (lambda draw, x, kind=kind: reduction(draw, x, kind))
        for kind in (f"reduce_{function}" for function in get_args(ops.Reduction))
    },
    "arg_max": arg_reduction,
    "arg_min": arg_reduction,
    "matmul": matmul,
}


def takes(kind: str, x: TensorType) -> bool:
    """Whether such a layer can be drawn for `x`."""
    match kind:
        case "squeeze":
            return len(x.shape) > 2 and 1 in x.shape[1:]
        case "unsqueeze":
            return len(x.shape) < MAX_AXES
        case "reduce_prod":
            return min(x.shape[1:]) <= MAX_FACTORS
    return True
