"""What a direct convolution keeps in which cache: rows of a unit of work, passes of its reduction.

The register tile of a unit (some rows, a block of channels) reads the weights of that block once for every few
pixels. They come from L1 where they are few: a long reduction is cut into passes over all pixels of the unit. A unit
has enough pixels to make fetching the weights of a pass cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnngen.backends.cpu.kernels import Loop

PANEL_BYTES = 18 << 10
"""Weights of one pass: with the pixels of a tile they stay in L1."""
UNIT_PIXELS = 96
"""Pixels of a unit of work: each weight that comes from L2 or beyond serves as many."""
FETCHED_BYTES = 1 << 18
"""A result larger than this is no longer in L2 when it is written again."""
SUMS_BYTES = 1 << 16
"""Of a unit, which lie on the stack between two passes."""
LEAST_TAPS = 32
"""A tile with fewer steps has no time to wait for what it asked for."""


def cut(loops: Sequence[Loop], step_floats: int) -> tuple[tuple[Loop, ...], tuple[Loop, ...]]:
    """The passes of a reduction, and the loops of one pass, with `step_floats` weights in every step."""
    limit = max(PANEL_BYTES // (4 * step_floats), 1)
    passes: list[Loop] = []
    rest = list(loops)
    while len(rest) > 1 and _taps(rest) > limit:
        passes.append(rest.pop(0))
    first = rest[0]
    if _taps(rest) > limit:
        pieces = next(n for n in range(-(-first.count // limit), first.count + 1) if first.count % n == 0)
        if first.count // pieces >= limit // 4:
            passes.append(Loop(pieces, first.count // pieces * first.step, f"{first.index}_part"))
            rest[0] = replace(first, count=first.count // pieces)
    return tuple(loop for loop in passes if loop.count > 1), tuple(rest)


def _taps(loops: Sequence[Loop]) -> int:
    taps = 1
    for loop in loops:
        taps *= loop.count
    return taps


def rows_of_unit(rows: int, pixels: int) -> int:
    """Rows of so many pixels that a unit of work computes together."""
    most = max(min(UNIT_PIXELS // pixels, rows), 1)
    return -(-rows // -(-rows // most))


def apart(floats: int) -> int:
    """At least `floats`, on whole cache lines, no multiple of 1 KiB: such rows share few cache sets."""
    lines = -(-floats // 16) * 16
    return lines + 16 if lines % 256 == 0 else lines
