"""What a function of one variable answers: its value, its slope, and the roundings of its generated float32 code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cnngen.ir import Array

EXP_ROUNDINGS = 4
EXPM1_ROUNDINGS = 3
LOG1P_ROUNDINGS = 6
TAIL_ROUNDINGS = 10
ERF_ROUNDINGS = 8
"""Relative errors in units of u of `v_exp`, `v_expm1`, `v_log1p`, `v_normal_tail` and `v_erf` of vector_math.h, for
results in the normal range."""
LOG_ROUNDINGS = 2
"""Absolute error of `v_log`, the generated logarithm: below ``(|log x| + LOG_ROUNDINGS) u``.

It is e ln 2 + p s with |p s| <= ln(2) / 2: p s has 4 roundings, its sum with the low part of e ln 2 one
more, together below 1.9 u; the last sum has one of the result.
"""

Moved = Callable[[Array, Array, float, float], Array]


@dataclass(frozen=True)
class Function:
    """How one function is computed and how it treats errors.

    `lipschitz` bounds its slope; `roundings` is the relative error of the float32 evaluation in units
    of u, `absolute` an absolute one (both for the generated code of `templates/c/simd/vector_math.h`).
    `inner` is further relative error in units of u that depends on x: that of a rounded argument of an
    inner function times the condition number with which it enters. A function without a bounded slope
    has `moved`: how far its value may move where the argument moves by so much (see `between_ends`).
    Of alpha and beta it takes the first `parameters`.
    """

    evaluate: Callable[[Array, float, float], Array]
    lipschitz: Callable[[float, float], float] = lambda alpha, beta: 1.0
    roundings: int = 0
    absolute: Callable[[float, float], float] = lambda alpha, beta: 0.0
    operations: int = 1
    inner: Callable[[Array, float, float], Array] | None = None
    moved: Moved | None = None
    parameters: int = 0

    def moves(self, x: Array, error: Array, alpha: float, beta: float) -> Array:
        """How far the value may be from that at `x` for an argument that is at most `error` from `x`."""
        if self.moved is None:
            return np.asarray(self.lipschitz(alpha, beta) * error)
        return self.moved(x, error, alpha, beta)


def between_ends(
    evaluate: Callable[[Array, float, float], Array],
    turns: Callable[[float, float], tuple[float, ...]] = lambda alpha, beta: (),
) -> Moved:
    """`moved` of a function that is monotone between its `turns`: the farthest of what it is at the ends and there."""

    def moved(x: Array, error: Array, alpha: float, beta: float) -> Array:
        low, high = x - error, x + error
        with np.errstate(all="ignore"):
            value, largest = evaluate(x, alpha, beta), np.zeros(np.shape(x))
            for point in (low, high, *(np.clip(turn, low, high) for turn in turns(alpha, beta))):
                there = evaluate(np.asarray(point), alpha, beta)
                distance = np.where(there == value, 0.0, np.abs(there - value))
                largest = np.maximum(largest, np.where(np.isnan(distance), np.inf, distance))  # not defined: anything
        return np.where(error == 0, 0.0, largest)

    return moved
