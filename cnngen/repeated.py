"""Calls that are repeated on the same arrays: what was checked and looked up for the first ones is kept."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from cnngen.backends.cpu.loader import FFI
from cnngen.ir import Array


class Pair(NamedTuple):
    """An input and an output that were checked, and where they lie.

    Neither is kept alive. Nor can the memory of one that lives move: NumPy refuses to resize an array that has
    a weak reference.
    """

    x: Callable[[], Any]
    out: Callable[[], Any]
    source: Any
    target: Any


def _none() -> None:
    return None


NO_PAIR = Pair(_none, _none, None, None)
"""Equal to no arrays."""


def pair(x: Array, out: Array) -> Pair:
    """`x` and `out`, which have been checked."""
    pointers = (FFI.cast("void *", FFI.from_buffer(array)) for array in (x, out))
    return Pair(weakref.ref(x), weakref.ref(out), *pointers)
