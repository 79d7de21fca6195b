"""Elementary functions: exponential, logarithm, powers, rounding; NaN and infinities are as in NumPy."""

from __future__ import annotations

import math

import numpy as np

from cnngen.ir import Array
from cnngen.ops.function import ERF_ROUNDINGS, EXP_ROUNDINGS, LOG_ROUNDINGS, Function, between_ends

LARGEST_PRODUCT = 16
"""Whole exponents up to here are products; beyond, and where they are not whole, a power is e^(exponent log |x|)."""
POWF_ROUNDINGS = 8
"""Relative error of CUDA's `powf` in units of u: 4 units in the last place (CUDA C++ Programming Guide, table of
mathematical functions)."""

_erf = np.frompyfunc(math.erf, 1, 1)  # NumPy has none; element by element, for the reference only


def erf(x: Array) -> Array:
    return np.asarray(_erf(np.asarray(x, np.float64)), np.float64)


def whole_exponent(exponent: float) -> int | None:
    """The exponent as a number of factors, where a power is computed as a product of so few; else None."""
    return int(exponent) if abs(exponent) <= LARGEST_PRODUCT and exponent == int(exponent) else None


def _log(x: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # -inf at zero, NaN below
        return np.asarray(np.log(x))


def _sqrt(x: Array) -> Array:
    with np.errstate(invalid="ignore"):  # NaN below zero
        return np.asarray(np.sqrt(x))


def _exp(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(x))


def _reciprocal(x: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(1 / x)


def power(x: Array, exponent: Array | float) -> Array:
    """``x^exponent``; NaN where x is negative and the exponent not whole."""
    with np.errstate(all="ignore"):
        return np.asarray(np.float_power(x, exponent))  # `power` takes a square root for 1/2, which differs at -inf


def power_roundings(x: Array, exponent: Array | float) -> Array:
    """Relative error in units of u of `v_pow`: ``e^(exponent log |x|)``.

    The exponent of e has the absolute error of the logarithm times the exponent, and the rounding of
    their product; the exponential turns that into a relative error and adds its own.
    """
    with np.errstate(all="ignore"):
        logarithm = np.where((x == 0) | ~np.isfinite(x), 0.0, np.abs(np.log(np.abs(x))))
        own = np.abs(exponent) * (2 * logarithm + LOG_ROUNDINGS) * (1 + 1e-3) + EXP_ROUNDINGS
    return np.asarray(np.maximum(own, POWF_ROUNDINGS))


def _power_inner(x: Array, exponent: float) -> Array:
    """What `power` has beyond one rounding, by the way it is computed.

    A product of n factors has n - 1 roundings, in whatever order; its reciprocal two more, and up to 4
    where the product is so small that it is denormal though its reciprocal is finite: 2^-150 / 2^-128.
    """
    whole = whole_exponent(exponent)
    if whole is not None:
        return np.full(np.shape(x), max(abs(whole) - 2, 0) + (5 if whole < 0 else 0), np.float64)
    if abs(exponent) == 0.5:
        return np.full(np.shape(x), 1.0)
    return power_roundings(x, exponent) - 1


def _log_inner(x: Array) -> Array:
    """The error of the logarithm relative to itself, beyond one rounding.

    Up to sqrt(2), where log x = p s (see LOG_ROUNDINGS), it has 4 roundings and what the polynomial
    lacks; elsewhere the bound of `v_log`.
    """
    logarithm = np.abs(_log(x))
    with np.errstate(divide="ignore"):
        return np.where(logarithm < 0.34, 3.25, LOG_ROUNDINGS / logarithm)


ELEMENTARY: dict[str, Function] = {
    "exp": Function(
        lambda x, a, b: _exp(x), roundings=EXP_ROUNDINGS, operations=4, moved=between_ends(lambda x, a, b: _exp(x))
    ),
    "log": Function(
        lambda x, a, b: _log(x),
        roundings=1,
        operations=6,
        inner=lambda x, a, b: _log_inner(x),
        moved=between_ends(lambda x, a, b: _log(x)),
    ),
    "sqrt": Function(lambda x, a, b: _sqrt(x), roundings=1, moved=between_ends(lambda x, a, b: _sqrt(x))),
    "reciprocal": Function(
        lambda x, a, b: _reciprocal(x),
        roundings=1,
        moved=between_ends(lambda x, a, b: _reciprocal(x), lambda a, b: (0.0,)),
    ),
    "pow": Function(
        lambda x, a, b: power(x, a),
        roundings=1,
        operations=12,
        inner=lambda x, a, b: _power_inner(x, a),
        moved=between_ends(lambda x, a, b: power(x, a), lambda a, b: (0.0,)),
        parameters=1,
    ),
    "square": Function(
        lambda x, a, b: np.square(x), roundings=1, moved=between_ends(lambda x, a, b: np.square(x), lambda a, b: (0.0,))
    ),
    "erf": Function(lambda x, a, b: erf(x), lambda a, b: 1.13, ERF_ROUNDINGS, operations=20),
    "abs": Function(lambda x, a, b: np.abs(x)),
    "neg": Function(lambda x, a, b: np.negative(x)),
    "floor": Function(lambda x, a, b: np.floor(x), moved=between_ends(lambda x, a, b: np.floor(x))),
    "ceil": Function(lambda x, a, b: np.ceil(x), moved=between_ends(lambda x, a, b: np.ceil(x))),
    "round": Function(lambda x, a, b: np.rint(x), moved=between_ends(lambda x, a, b: np.rint(x))),
    "sign": Function(lambda x, a, b: np.sign(x), moved=between_ends(lambda x, a, b: np.sign(x))),
}
"""`a` is the exponent of `pow`."""
