"""Inputs and weights on which float32 arithmetic makes no rounding error at all.

Integers times a power of two: as long as ``sum |x||w| + |b| + |r|``, in units of that power, stays
below 2^24, every product and every partial sum is a float32 number, whatever the order of the sum,
with or without fused multiply-add. A kernel must then equal the reference bit for bit, and a tap,
a tail or an offset that is wrong cannot hide behind a tolerance. The power of two is chosen so that
sums are a few units large: activations that saturate, such as relu6, still see their whole range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import assert_never

import numpy as np

from cnngen.ir import Array, Graph, Node, TensorType
from cnngen.ops import (
    LRN,
    Activate,
    Activation,
    Add,
    ArgReduce,
    BatchNorm,
    Bound,
    Constant,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Div,
    Elementwise,
    GlobalPool2D,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    MatMul,
    Maximum,
    Minimum,
    Movement,
    Mul,
    Op,
    Pool2D,
    Power,
    PRelu,
    Reduce,
    Resize,
    Softmax,
    StatisticsNorm,
    Sub,
    UpsampleBilinear,
)
from cnngen.report.verify_report import Exactness

Activated = Conv2D | Conv2DTranspose | Dense | Elementwise | BatchNorm | StatisticsNorm
"""Ops that end with an activation function, if they have one."""
INTEGER_RANGE = 2**24
"""Integers up to here are float32 numbers."""
LARGEST = 15
"""Magnitude of inputs and weights where the number of taps allows it."""
SPREAD = 2.0
"""Standard deviation of the sums, in units of the activation functions."""


@dataclass(frozen=True, eq=False)
class IntegerCase:
    """Inputs and weights for one node, and how exactly a kernel must reproduce the reference."""

    inputs: tuple[Array, ...]
    weights: dict[str, Array]
    exactness: Exactness
    reason: str

    def bound(self, node: Node) -> Bound:
        """The reference on these inputs, with what a correct kernel may be off."""
        twin = replace(node, weights=self.weights)
        weights = {role: np.asarray(array, np.float64) for role, array in twin.weights.items()}
        inputs = [np.asarray(x, np.float64) for x in self.inputs]
        if self.exactness == "bound":
            return twin.op.bound(inputs, weights)
        if self.exactness == "exact":
            return Bound.exact(twin.op.evaluate(inputs, weights))
        activation = activation_of(node)
        assert activation is not None
        linear = twin.op if isinstance(twin.op, Activate) else without_activation(twin.op)
        before = inputs[0] if isinstance(linear, Activate) else linear.evaluate(inputs, weights)
        return activation.bound(Bound.exact(before))


def integer_cases(graph: Graph, seed: int) -> dict[str, IntegerCase]:
    """A case for every node. Each depends on `seed` and the node's position only."""
    return {
        node.name: _with_repeats(node, _case(node, graph.input_types(node), np.random.default_rng([seed, position])))
        for position, node in enumerate(graph.nodes)
    }


def integer_twin(graph: Graph, cases: dict[str, IntegerCase]) -> Graph:
    """`graph` with the weights of `cases`."""
    nodes = [replace(node, weights=MappingProxyType(cases[node.name].weights)) for node in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


def _with_repeats(node: Node, case: IntegerCase) -> IntegerCase:
    """`case` with one array for each tensor, where the node reads a tensor twice."""
    by_name = dict(zip(reversed(node.inputs), reversed(case.inputs), strict=True))
    return replace(case, inputs=tuple(by_name[name] for name in node.inputs))


def activation_of(node: Node) -> Activation | None:
    """The activation function that the node ends with."""
    op = node.op
    return op.activation if isinstance(op, Activated | Activate) else None


def _case(node: Node, types: Sequence[TensorType], rng: np.random.Generator) -> IntegerCase:
    op = node.op
    match op:
        case Conv2D():
            taps = math.prod(op.weight_shapes(types)["weight"][:3])
            return _sum_of_products(node, types, taps, rng)
        case Conv2DTranspose():
            return _sum_of_products(node, types, max(op.taps(types), 1), rng)
        case Dense():
            return _sum_of_products(node, types, types[0].shape[1], rng)
        case Add() | Sub() | Maximum() | Minimum():
            inputs = tuple(_integers(t.shape, max(2, 8 // len(types)), rng) for t in types)
            return _activated(node, inputs, {}, "integers")
        case Mul():
            # In quarters: the product of all of them stays below 2^24 of its units.
            largest = min(LARGEST, int(INTEGER_RANGE ** (1 / len(types))))
            inputs = tuple(_integers(t.shape, largest, rng) / np.float32(4) for t in types)
            return _activated(node, inputs, {}, f"factors of at most {largest} quarters")
        case Div():
            powers = rng.choice([-1, 1], types[1].shape) * np.exp2(rng.integers(-3, 4, types[1].shape))
            inputs = (_integers(types[0].shape, 99, rng), np.asarray(powers, np.float32))
            return _activated(node, inputs, {}, "integers divided by powers of two")
        case Power():
            exponents = rng.integers(-2, 4, types[1].shape).astype(np.float32)
            return IntegerCase((_integers(types[0].shape, 9, rng), exponents), {}, "bound", "exponentials")
        case PRelu():
            slopes = rng.choice([-1, 1], types[0].shape[-1]) * np.exp2(rng.integers(-3, 2, types[0].shape[-1]))
            weights = {"alpha": np.asarray(slopes, np.float32)}
            inputs = (_integers(types[0].shape, 9999, rng),)
            return IntegerCase(inputs, weights, "exact", "integers times powers of two")
        case Activate():
            return _activated(node, (_integers(types[0].shape, 128, rng) / np.float32(16),), {}, "sixteenths")
        case Pool2D(reduction="avg") | GlobalPool2D(reduction="avg"):
            inputs = (_integers(types[0].shape, 99, rng),)
            counts = _divisors(op, types[0])
            if all(count & (count - 1) == 0 for count in counts):
                return IntegerCase(inputs, {}, "exact", "integers divided by a power of two")
            return IntegerCase(inputs, {}, "bound", f"divides by {max(counts)}, no power of two")
        case ArgReduce() | Reduce(function="max" | "min"):
            return IntegerCase((_integers(types[0].shape, LARGEST, rng),), {}, "exact", "compares")
        case Reduce():
            return _reduction(op, types[0], rng)
        case MatMul():
            largest = max(min(LARGEST, math.isqrt(INTEGER_RANGE // types[0].shape[-1])), 1)
            exactness: Exactness = "exact" if largest**2 * types[0].shape[-1] <= INTEGER_RANGE else "bound"
            inputs = tuple(_integers(t.shape, largest, rng) for t in types)
            return IntegerCase(inputs, {}, exactness, f"{types[0].shape[-1]} products of at most {largest}x{largest}")
        case Constant():
            return IntegerCase((), {"value": _integers(op.shape, LARGEST, rng)}, "exact", "copies")
        case Pool2D(reduction="lp") | GlobalPool2D(reduction="lp"):
            return IntegerCase((_integers(types[0].shape, LARGEST, rng),), {}, "bound", "a root of a sum")
        case Pool2D() | GlobalPool2D() | Movement():
            return IntegerCase(tuple(_integers(t.shape, 9999, rng) for t in types), {}, "exact", "copies or compares")
        case UpsampleBilinear():
            inputs = (_integers(types[0].shape, LARGEST, rng),)
            if all(scale & (scale - 1) == 0 and scale <= 64 for scale in op.scale):
                return IntegerCase(inputs, {}, "exact", "integers times fractions of a power of two")
            return IntegerCase(inputs, {}, "bound", "interpolates at fractions that float32 rounds")
        case Resize():
            inputs = (_integers(types[0].shape, LARGEST, rng),)
            if _exact_weights(op, types[0]):
                return IntegerCase(inputs, {}, "exact", "integers times fractions of a power of two")
            return IntegerCase(inputs, {}, "bound", "interpolates with weights that float32 rounds")
        case BatchNorm():
            return IntegerCase(
                (_integers(types[0].shape, LARGEST, rng),), dict(node.weights), "bound", "rounds scale and shift"
            )
        case InstanceNorm() | GroupNorm() | LayerNorm():
            inputs = (_integers(types[0].shape, LARGEST, rng),)
            return IntegerCase(inputs, dict(node.weights), "bound", "divides by a deviation")
        case LRN():
            return IntegerCase((_integers(types[0].shape, LARGEST, rng),), {}, "bound", "a power of a sum")
        case Softmax() | LogSoftmax():
            return IntegerCase((_integers(types[0].shape, 8, rng),), {}, "bound", "exponentials")
        case _:
            assert_never(op)


def _reduction(op: Reduce, x: TensorType, rng: np.random.Generator) -> IntegerCase:
    """Integers whose sums, or those of their squares, stay below 2^24; powers of two for products."""
    count = max(math.prod(x.shape[axis] for axis in op.axes), 1)
    match op.function:
        case "prod":
            powers = rng.choice([-1, 1], x.shape) * np.exp2(rng.integers(-1, 2, x.shape) * (count <= 100))
            return IntegerCase((np.asarray(powers, np.float32),), {}, "exact", "powers of two")
        case "sum" | "l1" | "sum_square" | "mean":
            power = 2 if op.function == "sum_square" else 1
            largest = max(min(99, int((INTEGER_RANGE // count) ** (1 / power))), 1)
            exact = largest**power * count <= INTEGER_RANGE and (op.function != "mean" or count & (count - 1) == 0)
            inputs = (_integers(x.shape, largest, rng),)
            return IntegerCase(inputs, {}, "exact" if exact else "bound", f"sums of {count} integers of {largest}")
    return IntegerCase((_integers(x.shape, LARGEST, rng),), {}, "bound", "a root or a logarithm")


def _sum_of_products(node: Node, types: Sequence[TensorType], taps: int, rng: np.random.Generator) -> IntegerCase:
    """Integer inputs, and weights, bias and residual that are multiples of one power of two."""
    largest = min(LARGEST, math.isqrt(INTEGER_RANGE // (2 * taps)))
    shapes = node.op.weight_shapes(types)
    if largest < 1:
        inputs = tuple(_integers(t.shape, 1, rng) for t in types)
        weights = {role: _integers(shape, 1, rng) for role, shape in shapes.items()}
        return IntegerCase(inputs, weights, "bound", f"{taps} taps: their sum may leave the exact integers")
    # Uniform on -m..m has variance m (m + 1) / 3.
    spread = math.sqrt(taps) * largest * (largest + 1) / 3
    unit = np.float32(2.0 ** -max(round(math.log2(spread / SPREAD)), 0))
    # Products take at most half of the exact integers, bias and residual a quarter each. A residual that
    # is the input itself is far below its quarter: largest / unit is of the order of sqrt(taps).
    offset = max(min(round(SPREAD / float(unit)), INTEGER_RANGE // 4), 1)
    residuals = [_integers(t.shape, offset, rng) * unit for t in types[1:]]
    inputs = (_integers(types[0].shape, largest, rng), *residuals)
    weights = {"weight": _integers(shapes["weight"], largest, rng) * unit}
    if "bias" in shapes:
        weights["bias"] = _integers(shapes["bias"], offset, rng) * unit
    return _activated(node, inputs, weights, f"{taps} taps of at most {largest}x{largest}")


def _activated(node: Node, inputs: tuple[Array, ...], weights: dict[str, Array], reason: str) -> IntegerCase:
    """The case of an op that is exact on these inputs, as far as its activation lets it be."""
    activation = activation_of(node)
    if activation is None or _exact_on_integers(activation):
        return IntegerCase(inputs, weights, "exact", reason)
    return IntegerCase(inputs, weights, "activation", f"{activation} rounds")


def _exact_on_integers(activation: Activation) -> bool:
    match activation.function:
        case "relu" | "relu6" | "thresholded_relu" | "abs" | "neg" | "floor" | "ceil" | "round" | "sign":
            return True
        case "clip":
            return all(float(np.float32(limit)) == limit for limit in (activation.alpha, activation.beta))
        case "leaky_relu":
            # A product with a power of two only moves the exponent.
            return activation.alpha == 0 or abs(math.frexp(activation.alpha)[0]) == 0.5
    return False


def without_activation(op: Op) -> Op:
    """`op` in front of its activation function."""
    assert isinstance(op, Activated)
    return replace(op, activation=None)


def _exact_weights(op: Resize, x: TensorType) -> bool:
    """Whether all weighted sums of integers up to `LARGEST`, in units of the smallest fraction, are float32 numbers."""
    units = float(LARGEST)
    for table in op.tables(x.shape):
        weights = np.array(table.weights)
        fraction = next((2.0**power for power in range(24) if not np.any(weights * 2.0**power % 1)), math.inf)
        units *= fraction * np.abs(weights).sum(axis=1).max()
    return bool(units < INTEGER_RANGE)


def _divisors(op: Pool2D | GlobalPool2D, x: TensorType) -> list[int]:
    if isinstance(op, GlobalPool2D):
        return [x.shape[1] * x.shape[2]]
    counts = op.window_counts(op.infer([x]), x.shape)
    return sorted({int(count) for count in counts.ravel()})


def _integers(shape: tuple[int, ...], largest: int, rng: np.random.Generator) -> Array:
    """Uniform integers from -largest to largest as float32."""
    return rng.integers(-largest, largest, shape, endpoint=True, dtype=np.int32).astype(np.float32)
