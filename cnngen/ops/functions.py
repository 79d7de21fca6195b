"""The activation functions: what each means, and how far its generated float32 code may be from that."""

from __future__ import annotations

import math

import numpy as np

from cnngen.ir import Array
from cnngen.ops.base import UNIT_ROUNDOFF
from cnngen.ops.elementary import ELEMENTARY
from cnngen.ops.function import (
    EXP_ROUNDINGS,
    EXPM1_ROUNDINGS,
    LOG1P_ROUNDINGS,
    TAIL_ROUNDINGS,
    Function,
    between_ends,
)


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)))


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))


SELU_ALPHA = 1.6732632423543772848170429916717
SELU_LAMBDA = 1.0507009873554804934193349852946
"""Klambauer et al., Self-Normalizing Neural Networks, 2017, equation 14; digits as in PyTorch and Keras."""


_erfc = np.frompyfunc(math.erfc, 1, 1)  # NumPy has none; element by element, for the reference only


def _gelu(x: Array) -> Array:
    """``x P(X < x)`` for a normal X: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016."""
    with np.errstate(invalid="ignore"):  # -inf times 0
        tail = np.asarray(_erfc(-math.sqrt(0.5) * np.asarray(x, np.float64)), np.float64)
        return np.asarray(0.5 * x * tail)


def _gelu_exponent(x: Array) -> Array:
    """``2 w`` in ``(1 + tanh w) / 2 = sigmoid(2 w)``: section 2 of the same."""
    return np.asarray(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))


def _gelu_tanh(x: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(x * _sigmoid(_gelu_exponent(x)))


def _gelu_tanh_inner(x: Array) -> Array:
    """The exponent has 5 roundings; sigmoid(t) has the condition number |t| sigmoid(-t)."""
    with np.errstate(over="ignore", invalid="ignore"):
        exponent = _gelu_exponent(x)
        return np.where(np.isinf(exponent), 0.0, 5 * np.abs(exponent) * _sigmoid(-exponent))


def _softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0, x))


def _mish(x: Array) -> Array:
    """Misra, Mish: A Self Regularized Non-Monotonic Activation Function, 2019."""
    with np.errstate(invalid="ignore"):
        return np.asarray(x * np.tanh(_softplus(x)))


def _celu(x: Array, alpha: float) -> Array:
    """Barron, Continuously Differentiable Exponential Linear Units, 2017."""
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def _softsign(x: Array) -> Array:
    with np.errstate(invalid="ignore"):  # an infinity over an infinity
        return np.asarray(x / (1 + np.abs(x)))


def _thresholded_relu(x: Array, alpha: float) -> Array:
    """Konda, Memisevic and Krueger, Zero-bias autoencoders and the benefits of co-adapting features, 2015."""
    return np.where(x <= alpha, 0.0, x)


def _swish(x: Array, beta: float) -> Array:
    """Ramachandran, Zoph and Le, Searching for Activation Functions, 2017."""
    with np.errstate(invalid="ignore"):
        return np.asarray(x * _sigmoid(beta * x))


def _swish_inner(x: Array, alpha: float) -> Array:
    """The product alpha x is rounded; sigmoid(t) has the condition number |t| sigmoid(-t)."""
    with np.errstate(over="ignore", invalid="ignore"):
        t = alpha * x
        return np.where(np.isinf(t), 0.0, np.abs(t) * _sigmoid(-t))


VANISHED = 2.0**-121
"""Where a factor in front of x is zero because e^x left the floats, below -88.72: |x e^x| < 89 e^-88.72."""

FUNCTIONS: dict[str, Function] = {
    "relu": Function(lambda x, a, b: np.maximum(x, 0)),
    "relu6": Function(lambda x, a, b: np.minimum(np.maximum(x, 0), 6)),
    "clip": Function(lambda x, a, b: np.minimum(np.maximum(x, a), b), parameters=2),
    "leaky_relu": Function(lambda x, a, b: np.where(x >= 0, x, a * x), lambda a, b: max(1.0, abs(a)), 1, parameters=1),
    # At the threshold the value jumps.
    "thresholded_relu": Function(
        lambda x, a, b: _thresholded_relu(x, a),
        moved=between_ends(lambda x, a, b: _thresholded_relu(x, a), lambda a, b: (a, float(np.nextafter(a, math.inf)))),
        parameters=1,
    ),
    "elu": Function(
        lambda x, a, b: _elu(x, a),
        lambda a, b: max(1.0, abs(a)),
        EXPM1_ROUNDINGS + 1,
        operations=5,
        parameters=1,
    ),
    # The quotient x / alpha enters e^t - 1 with the condition number t e^t / (e^t - 1) <= 1; where it is denormal it is
    # off by up to half a denormal.
    "celu": Function(
        lambda x, a, b: _celu(x, a),
        lambda a, b: 1.0,
        EXPM1_ROUNDINGS + 2,
        lambda a, b: abs(a) * 2.0**-149,
        operations=6,
        parameters=1,
    ),
    # The constants are rounded, too.
    "selu": Function(
        lambda x, a, b: SELU_LAMBDA * _elu(x, SELU_ALPHA),
        lambda a, b: SELU_LAMBDA * SELU_ALPHA,
        EXPM1_ROUNDINGS + 2,
        operations=6,
    ),
    "sigmoid": Function(lambda x, a, b: _sigmoid(x), lambda a, b: 0.25, 12, operations=4),
    # t / (2 + t): the relative error of t = e^-2|x| - 1 enters with a factor of 2 / (2 + t) <= 2 where |x| is large,
    # but the terms of t that are rounded, those of e^-2|x|, are smaller by more than that.
    "tanh": Function(lambda x, a, b: np.tanh(x), roundings=EXPM1_ROUNDINGS + 3, operations=6),
    # Unfused, the product is rounded before beta cancels it: |alpha x| <= 1 + |beta| where nothing is clipped.
    "hard_sigmoid": Function(
        lambda x, a, b: np.clip(a * x + b, 0, 1),
        lambda a, b: abs(a),
        2,
        lambda a, b: (1 + abs(b)) * UNIT_ROUNDOFF,
        3,
        parameters=2,
    ),
    "hard_swish": Function(
        lambda x, a, b: x * np.clip(x / 6 + 0.5, 0, 1), lambda a, b: 1.5, 6, lambda a, b: 8 * UNIT_ROUNDOFF, 4
    ),
    "silu": Function(lambda x, a, b: x * _sigmoid(x), lambda a, b: 1.1, 14, lambda a, b: VANISHED, operations=5),
    # As silu, whose argument is not rounded. Where e^t vanishes, |x e^t| = |t e^t| / |alpha|.
    "swish": Function(
        lambda x, a, b: _swish(x, a),
        lambda a, b: 1.1,
        14,
        lambda a, b: VANISHED / abs(a) if a else 0.0,
        6,
        lambda x, a, b: _swish_inner(x, a),
        parameters=1,
    ),
    "softsign": Function(lambda x, a, b: _softsign(x), roundings=2, operations=3),
    # The tail, its complement, the product.
    "gelu": Function(lambda x, a, b: _gelu(x), lambda a, b: 1.13, TAIL_ROUNDINGS + 2, operations=20),
    # An exponential, a sum and a quotient.
    "gelu_tanh": Function(
        lambda x, a, b: _gelu_tanh(x),
        lambda a, b: 1.13,
        6,
        lambda a, b: VANISHED,
        8,
        lambda x, a, b: _gelu_tanh_inner(x),
    ),
    # m = e (e + 2) has twice the error of e and two roundings where e is large, but enters as m / (m + 2): with
    # the condition number 2 / (m + 2). Where e is small, m = 2 e has the error of e and two roundings. Both are
    # below 6, then come a sum, a quotient and a product.
    "mish": Function(lambda x, a, b: _mish(x), lambda a, b: 1.09, 9, operations=8),
    # The error of e^-|x| enters ln(1 + t) with a condition number below 1; then there is the sum.
    "softplus": Function(lambda x, a, b: _softplus(x), roundings=EXP_ROUNDINGS + LOG1P_ROUNDINGS + 1, operations=7),
    **ELEMENTARY,
}
"""Every function. `a` and `b` are the op's `alpha` and `beta`."""
