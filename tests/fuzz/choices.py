"""The choices that every draw is made of. Simple values come first, because Hypothesis shrinks towards the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Draw = st.DrawFn
Fields = dict[str, Any]

CHANNELS = (1, 3, 2, 5, 8, 4, 7, 9, 16, 17, 15, 12, 31, 33, 24, 32)
"""Below, at and above every number of vector lanes."""
MAX_ELEMENTS = 3000
"""Of one image of one tensor."""
MAX_MACS = 100_000
MAX_KERNEL = 5
"""Beside kernels as large as the input."""


def one_in(draw: Draw, count: int) -> bool:
    """True once in so many times; shrinks to False."""
    return draw(st.integers(0, count - 1)) == count - 1


def pick(draw: Draw, *values: Any) -> Any:
    return draw(st.sampled_from(values))


def optional(draw: Draw, fields: Fields, name: str, draw_value: Callable[[], Any], *, odds: int = 2) -> None:
    """Give the field `name` once in `odds` times; otherwise the default stands."""
    if one_in(draw, odds):
        fields[name] = draw_value()
