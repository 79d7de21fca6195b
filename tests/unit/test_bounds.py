"""The derived error bounds: float32 arithmetic in any usual order stays inside, wrong results do not.

The orders tried are those that kernels use: one accumulator from left to right, one per vector lane
and a tree at the end, NumPy's own pairwise sum; with separate and with fused multiply-add.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from cnngen.ir import Array, TensorType
from cnngen.ops import (
    FUNCTIONS,
    LRN,
    Activate,
    Activation,
    Add,
    BatchNorm,
    Bound,
    Conv2D,
    Conv2DTranspose,
    Dense,
    GlobalPool2D,
    Pool2D,
    Resize,
    Softmax,
    UpsampleBilinear,
)
from cnngen.ops.base import UNIT_ROUNDOFF
from cnngen.ops.resampling import Resampling

F32 = np.float32
Sum = Callable[[Array, Array, Array], Array]


def left_to_right(x: Array, w: Array, bias: Array) -> Array:
    """Bias first, then one product after the other, each rounded twice."""
    total = np.broadcast_to(bias, (len(x), w.shape[1])).astype(F32)
    for k in range(x.shape[1]):
        total = total + x[:, k, None] * w[k]
    return total


def fused(x: Array, w: Array, bias: Array) -> Array:
    """The same with fused multiply-add: the product is not rounded (float64 holds it exactly)."""
    total = np.broadcast_to(bias, (len(x), w.shape[1])).astype(F32)
    for k in range(x.shape[1]):
        total = (total.astype(np.float64) + x[:, k, None].astype(np.float64) * w[k]).astype(F32)
    return total


def lanes(x: Array, w: Array, bias: Array) -> Array:
    """Eight accumulators, added in a tree at the end, then the bias."""
    x = np.pad(x, ((0, 0), (0, -x.shape[1] % 8)))
    w = np.pad(w, ((0, -w.shape[0] % 8), (0, 0)))
    totals = np.zeros((8, len(x), w.shape[1]), F32)
    for k in range(x.shape[1]):
        totals[k % 8] += x[:, k, None] * w[k]
    for width in (4, 2, 1):
        totals[:width] += totals[width : 2 * width]
    return totals[0] + bias


def pairwise(x: Array, w: Array, bias: Array) -> Array:
    return (x[:, :, None] * w).sum(axis=1, dtype=F32) + bias


ORDERS: dict[str, Sum] = {order.__name__: order for order in (left_to_right, fused, lanes, pairwise)}
VALUES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape).astype(F32),
    "positive": lambda rng, shape: rng.uniform(0.5, 1.5, shape).astype(F32),
    "wide": lambda rng, shape: (rng.standard_normal(shape) * 2.0 ** rng.integers(-30, 30, shape)).astype(F32),
    "tiny": lambda rng, shape: (rng.standard_normal(shape) * 1e-30).astype(F32),
    "denormal": lambda rng, shape: (rng.standard_normal(shape) * 1e-22).astype(F32),
}


def dense(x: Array, w: Array, bias: Array) -> Bound:
    op = Dense(w.shape[1])
    return op.bound([x.astype(np.float64)], {"weight": w.astype(np.float64), "bias": bias.astype(np.float64)})


def excess(actual: Array, limit: Array, value: Array) -> float:
    """Largest error in units of the limit."""
    error = np.abs(actual.astype(np.float64) - value)
    return float(np.where(error == 0, 0.0, error / np.maximum(limit, 1e-300)).max())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("taps", [1, 2, 9, 75, 1000])
def test_sums_in_any_order_stay_within_the_limit(order: str, kind: str, taps: int) -> None:
    rng = np.random.default_rng(taps)
    x, w, bias = (VALUES[kind](rng, shape) for shape in ((5, taps), (taps, 7), (7,)))
    found = dense(x, w, bias)
    assert excess(ORDERS[order](x, w, bias), found.limit, found.value) <= 1


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["normal", "positive", "wide"])
def test_sums_of_many_terms_do_not_reach_the_alarm(order: str, kind: str) -> None:
    rng = np.random.default_rng(3)
    x, w, bias = (VALUES[kind](rng, shape) for shape in ((5, 1000), (1000, 7), (7,)))
    found = dense(x, w, bias)
    assert excess(ORDERS[order](x, w, bias), found.alarm, found.value) <= 1


def test_limit_is_reached_by_the_worst_order_of_the_worst_terms() -> None:
    """Terms of half a unit in the last place of the bias are lost one by one: gamma is not pessimism."""
    taps = 4000
    x, w, bias = np.ones((1, taps), F32), np.full((taps, 1), F32(2**-24)), np.ones(1, F32)
    found = dense(x, w, bias)
    assert 0.99 < excess(left_to_right(x, w, bias), found.limit, found.value) <= 1


@pytest.mark.parametrize("taps", [9, 75, 576])
def test_a_dropped_tap_is_far_above_the_limit(taps: int) -> None:
    rng = np.random.default_rng(0)
    x, w, bias = (VALUES["normal"](rng, shape) for shape in ((50, taps), (taps, 7), (7,)))
    found = dense(x, w, bias)
    short = np.array(w)
    short[taps // 2] = 0
    error = np.abs(left_to_right(x, short, bias) - found.value)
    assert (error > found.limit).mean() > 0.9


def test_a_dropped_bias_and_a_swapped_channel_are_above_the_limit() -> None:
    rng = np.random.default_rng(0)
    x, w, bias = (VALUES["normal"](rng, shape) for shape in ((50, 300), (300, 7), (7,)))
    found = dense(x, w, bias)
    for wrong in (left_to_right(x, w, np.zeros(7, F32)), left_to_right(x, w, bias)[:, ::-1]):
        assert (np.abs(wrong - found.value) > found.limit)[:, [0, 1, 2, 4, 5, 6]].mean() > 0.95


def test_the_bound_of_a_convolution_is_that_of_its_sums() -> None:
    """Against the sums written out: borders have a smaller magnitude, and so a smaller limit."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, 5, 4, 3))
    w = rng.standard_normal((3, 3, 3, 2))
    bias = rng.standard_normal(2)
    found = Conv2D(2, (3, 3), padding=(1, 1, 1, 1)).bound([x], {"weight": w, "bias": bias})
    padded = np.pad(np.abs(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
    roundings = 27 + 1
    gamma = roundings * UNIT_ROUNDOFF / (1 - roundings * UNIT_ROUNDOFF)
    for row, column in ((0, 0), (2, 2), (4, 3)):
        magnitude = np.einsum("abc,abco->o", padded[0, row : row + 3, column : column + 3], np.abs(w)) + np.abs(bias)
        assert np.allclose(found.limit[0, row, column], gamma * magnitude, rtol=1e-12, atol=0)


def test_a_residual_counts_as_one_more_term() -> None:
    rng = np.random.default_rng(1)
    x, w, bias = rng.standard_normal((1, 4, 4, 3)), rng.standard_normal((1, 1, 3, 3)), rng.standard_normal(3)
    op = Conv2D(3, (1, 1), residual=True)
    with_residual = op.bound([x, x], {"weight": w, "bias": bias})
    without = replace(op, residual=False).bound([x], {"weight": w, "bias": bias})
    assert np.allclose(with_residual.value, without.value + x)
    gamma = 5 * UNIT_ROUNDOFF / (1 - 5 * UNIT_ROUNDOFF)
    magnitude = np.abs(x) @ np.abs(w[0, 0]) + np.abs(bias) + np.abs(x)
    assert np.allclose(with_residual.limit, gamma * magnitude, rtol=1e-12)


@pytest.mark.parametrize("kind", ["normal", "positive", "wide"])
def test_a_transposed_convolution_scattered_in_float32_stays_within_the_limit(kind: str) -> None:
    """One tap after the other is added to the whole output, each rounded: the order of col2im."""
    rng = np.random.default_rng(2)
    op = Conv2DTranspose(4, (3, 4), (2, 1), (1, 0, 0, 2))
    x, w, bias = (VALUES[kind](rng, shape) for shape in ((1, 5, 6, 3), (3, 4, 3, 4), (4,)))
    weights = {"weight": w.astype(np.float64), "bias": bias.astype(np.float64)}
    found = op.bound([x.astype(np.float64)], weights)
    full = np.zeros((11, 9, 4), F32) + bias
    for a in range(3):
        for b in range(4):
            for c in range(3):
                full[a : a + 9 : 2, b : b + 6] += x[0, :, :, c, None] * w[a, b, c]
    assert excess(full[1:, :-2], found.limit[0], found.value[0]) <= 1


def test_the_bound_of_a_transposed_convolution_counts_the_taps_of_its_fullest_phase() -> None:
    """3x3 taps at stride 2: an element of the output is the sum of four products at most, for each channel."""
    op = Conv2DTranspose(2, (3, 3), (2, 2))
    assert op.taps([TensorType((1, 4, 4, 5))]) == 4 * 5
    x, w = np.ones((1, 4, 4, 5)), np.ones((3, 3, 5, 2))
    found = op.bound([x], {"weight": w, "bias": np.zeros(2)})
    gamma = 21 * UNIT_ROUNDOFF / (1 - 21 * UNIT_ROUNDOFF)
    assert np.allclose(found.limit, gamma * found.value, rtol=1e-12)
    assert found.value.max() == 20


@pytest.mark.parametrize(("terms", "kind"), [(2, "normal"), (3, "wide"), (7, "positive")])
def test_add_from_left_to_right_stays_within_the_limit(terms: int, kind: str) -> None:
    rng = np.random.default_rng(terms)
    xs = [VALUES[kind](rng, (4, 50)) for _ in range(terms)]
    found = Add().bound([x.astype(np.float64) for x in xs], {})
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    assert excess(total, found.limit, found.value) <= 1


@pytest.mark.parametrize("reciprocal", [False, True])
@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (5, 2)])
def test_average_pooling_by_division_or_reciprocal(kernel: tuple[int, int], reciprocal: bool) -> None:
    op = Pool2D("avg", kernel, (1, 1), padding=(1, 0, 0, 1))
    x = np.random.default_rng(0).standard_normal((1, 9, 8, 3)).astype(F32)
    found = op.bound([x.astype(np.float64)], {})
    output = op.infer([TensorType(x.shape)])
    counts = op.window_counts(output, x.shape).astype(F32)
    total = np.zeros(output.shape, F32)
    windows = op._windows(x, 0.0, output)
    for a in range(kernel[0]):
        for b in range(kernel[1]):
            total = total + windows[..., a, b]
    average = total * (F32(1) / counts) if reciprocal else total / counts
    assert excess(average, found.limit, found.value) <= 1


@pytest.mark.parametrize("fused_sums", [False, True])
@pytest.mark.parametrize("scale", [(2, 2), (3, 5), (1, 7)])
def test_bilinear_interpolation_in_float32(scale: tuple[int, int], fused_sums: bool) -> None:
    """Rounded shares, then rows, then columns; against the formula in float64."""
    op = UpsampleBilinear(scale)
    x = np.random.default_rng(0).standard_normal((1, 6, 5, 3)).astype(F32)
    found = op.bound([x.astype(np.float64)], {})
    y = x
    for axis in (0, 1):
        position = (np.arange(y.shape[1 + axis] * scale[axis]) + 0.5) / scale[axis] - 0.5
        low = np.floor(position).astype(int)
        share = (position - low).astype(F32).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
        a, b = (np.take(y, np.clip(low + k, 0, y.shape[1 + axis] - 1), axis=1 + axis) for k in (0, 1))
        left = (F32(1) - share) * a
        exact = left.astype(np.float64) + share.astype(np.float64) * b
        y = exact.astype(F32) if fused_sums else left + share * b
    assert excess(y, found.limit, found.value) <= 1


RESIZED = {
    "linear": Resize((8, 4), Resampling("linear")),
    "rows": Resize((8, 5), Resampling("linear", "align_corners")),
    "cubic": Resize((9, 13), Resampling("cubic")),
    "antialias": Resize((2, 2), Resampling("cubic", antialias=True)),
}


@pytest.mark.parametrize("fused_sums", [False, True])
@pytest.mark.parametrize("name", RESIZED)
def test_resizing_in_float32(name: str, fused_sums: bool) -> None:
    """Rounded weights, then columns of rows; against the sums in float64."""
    op = RESIZED[name]
    x = np.random.default_rng(0).standard_normal((1, 6, 5, 3)).astype(F32)
    found = op.bound([x.astype(np.float64)], {})
    y = x
    for axis, table in enumerate(op.tables(x.shape)):
        total = np.zeros(1, F32)
        for tap in range(table.taps):
            weight = np.array(table.weights)[:, tap].astype(F32).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
            part = np.take(y, np.array(table.indices)[:, tap], axis=1 + axis)
            exact = weight.astype(np.float64) * part + total
            total = exact.astype(F32) if fused_sums else weight * part + total
        y = total
    assert excess(y, found.limit, found.value) <= 1


def test_global_average_of_a_large_image() -> None:
    x = VALUES["positive"](np.random.default_rng(0), (1, 56, 56, 2))
    found = GlobalPool2D("avg").bound([x.astype(np.float64)], {})
    total = np.zeros((1, 1, 1, 2), F32)
    for pixel in x.reshape(-1, 2):
        total = total + pixel
    assert excess(total * F32(1 / 3136), found.limit, found.value) <= 1


def test_batch_norm_as_scale_and_shift_in_float32() -> None:
    rng = np.random.default_rng(0)
    weights = {
        "gamma": rng.standard_normal(16),
        "beta": rng.standard_normal(16),
        "mean": 30 * rng.standard_normal(16),
        "variance": rng.uniform(0.1, 3, 16),
    }
    x = (30 * rng.standard_normal((1, 40, 40, 16))).astype(F32)
    op = BatchNorm()
    found = op.bound([x.astype(np.float64)], weights)
    scale, shift = (array.astype(F32) for array in op.affine(weights))
    assert excess(x * scale + shift, found.limit, found.value) <= 1
    contracted = (x.astype(np.float64) * scale + shift).astype(F32)
    assert excess(contracted, found.limit, found.value) <= 1


def test_lrn_and_softmax_with_the_float32_library() -> None:
    rng = np.random.default_rng(0)
    x = (10 * rng.standard_normal((2, 6, 6, 20))).astype(F32)
    lrn = LRN(alpha=1e-2)
    found = lrn.bound([x.astype(np.float64)], {})
    assert excess(x * np.power(lrn.base(x).astype(F32), F32(-0.75)), found.limit, found.value) <= 1
    found = Softmax().bound([x.astype(np.float64)], {})
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    assert excess(exponentials / exponentials.sum(axis=-1, keepdims=True), found.limit, found.value) <= 1


PARAMETERS = {
    "clip": (-0.3, 1.7),
    "leaky_relu": (0.1,),
    "thresholded_relu": (0.4,),
    "hard_sigmoid": (0.2, 0.5),
    "elu": (1.3,),
    "celu": (0.7,),
    "swish": (1.7,),
    "pow": (2.7,),
}
POSITIVE = ("log", "sqrt", "reciprocal", "pow")
"""Functions that are not defined, or without bound, at zero or below."""


def domain(function: str, x: Array) -> Array:
    """Those of `x` for which the function is defined."""
    return x[x > 0] if function in POSITIVE else x


def by_float32(activation: Activation, x: Array) -> Array:
    """The function as float32 code computes it: every intermediate result is rounded."""
    a, b = F32(activation.alpha), F32(activation.beta)
    one = F32(1)
    match activation.function:
        case "sigmoid":
            return one / (one + np.exp(-x))
        case "silu":
            return x * (one / (one + np.exp(-x)))
        case "gelu":
            return x * special.ndtr(x.astype(np.float64)).astype(F32)
        case "gelu_tanh":
            w = x * (F32(1.5957691) + F32(0.07135482) * x * x)
            return x / (one + np.exp(-w))
        case "mish":
            e = np.exp(np.minimum(x, F32(20)))
            return x * (e * (e + F32(2)) / (e * (e + F32(2)) + F32(2)))
        case "softplus":
            return np.maximum(x, F32(0)) + np.log1p(np.exp(-np.abs(x)))
        case "softsign":
            return x / (one + np.abs(x))
        case "swish":
            return x * (one / (one + np.exp(-(a * x))))
        case "celu":
            return np.where(x < 0, a * np.expm1(np.minimum(x, F32(0)) / a), x)
        case "pow":
            return np.exp(a * np.log(x))
        case "hard_swish":
            return x * np.clip(x + F32(3), F32(0), F32(6)) * F32(1 / 6)
        case "hard_sigmoid":
            return np.clip(a * x + b, F32(0), one)
        case _:
            return np.asarray(activation.rule.evaluate(x, activation.alpha, activation.beta))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_activation_in_float32_stays_within_the_limit(function: str) -> None:
    activation = Activation(function, *PARAMETERS.get(function, ()))
    x = np.concatenate([np.linspace(-12, 12, 20001), np.linspace(-3.01, -2.9, 2001), [0.0, -0.0, 80, -80]]).astype(F32)
    x = domain(function, x)
    found = Activate(activation).bound([x.astype(np.float64)], {})
    with np.errstate(over="ignore"):
        assert excess(by_float32(activation, x), found.limit, found.value) <= 1


@pytest.mark.parametrize("function", FUNCTIONS)
def test_activation_carries_the_error_of_its_argument(function: str) -> None:
    """The value of the function anywhere within the argument's bound stays within the result's bound."""
    activation = Activation(function, *PARAMETERS.get(function, ()))
    x = domain(function, np.linspace(-8, 8, 4001) + 1e-3)
    before = Bound(x, np.full(x.shape, 1e-3), np.full(x.shape, 1e-4))
    after = activation.bound(before)
    for step in np.linspace(-1e-3, 1e-3, 9):
        assert (np.abs(activation.evaluate(x + step) - after.value) <= after.limit * (1 + 1e-12)).all()


@pytest.mark.parametrize("function", ["relu", "relu6", "clip", "thresholded_relu", "abs", "neg", "floor", "sign"])
def test_comparing_activations_allow_no_error_of_their_own(function: str) -> None:
    activation = Activation(function, *PARAMETERS.get(function, ()))
    x = np.linspace(-9, 9, 1001)
    found = Activate(activation).bound([x], {})
    assert not found.limit.any()
    assert not found.alarm.any()


@pytest.mark.parametrize("function", ["floor", "thresholded_relu", "sign", "reciprocal", "log"])
def test_a_jump_within_the_error_of_the_argument_is_allowed(function: str) -> None:
    """On one side of the jump nothing is wrong; where the error reaches across, the whole jump is allowed."""
    activation = Activation(function, *PARAMETERS.get(function, ()))
    edge = activation.alpha or 0.0
    x = np.array([edge + 1e-4, edge + 1e-2])
    found = activation.bound(Bound(x, np.full(2, 1e-3), np.full(2, 1e-3)))
    below = activation.evaluate(np.array([edge - 1e-4, edge + 1e-2 - 1e-3]))
    with np.errstate(invalid="ignore"):
        assert np.all((np.abs(below - found.value) <= found.limit) | np.isinf(found.limit))
    assert found.limit[0] > found.limit[1]
    assert np.isfinite(found.limit[1])
