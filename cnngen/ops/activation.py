"""Activation functions: alone as an op, or fused behind a convolution, dense layer or addition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cnngen.ir import Array, TensorType
from cnngen.ops.base import SMALLEST_NORMAL, UNIT_ROUNDOFF, Bound, Cost, Op, Types, Weights


@dataclass(frozen=True)
class Function:
    """How one activation function is computed and how it treats errors.

    `lipschitz` bounds its slope; `roundings` is the relative error of the float32 evaluation in units
    of u, `absolute` an absolute one (both for the generated code of `templates/c/simd/vector_math.h`).
    """

    evaluate: Callable[[Array, float, float], Array]
    lipschitz: Callable[[float, float], float] = lambda alpha, beta: 1.0
    roundings: int = 0
    absolute: Callable[[float, float], float] = lambda alpha, beta: 0.0
    operations: int = 1


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)))


FUNCTIONS: dict[str, Function] = {
    "relu": Function(lambda x, a, b: np.maximum(x, 0)),
    "relu6": Function(lambda x, a, b: np.minimum(np.maximum(x, 0), 6)),
    "clip": Function(lambda x, a, b: np.minimum(np.maximum(x, a), b)),
    "leaky_relu": Function(lambda x, a, b: np.where(x >= 0, x, a * x), lambda a, b: max(1.0, abs(a)), 1),
    "sigmoid": Function(lambda x, a, b: _sigmoid(x), lambda a, b: 0.25, 12, operations=4),
    "tanh": Function(lambda x, a, b: np.tanh(x), roundings=12, absolute=lambda a, b: 16 * UNIT_ROUNDOFF, operations=6),
    # Unfused, the product is rounded before beta cancels it: |alpha x| <= 1 + |beta| where nothing is clipped.
    "hard_sigmoid": Function(
        lambda x, a, b: np.clip(a * x + b, 0, 1), lambda a, b: abs(a), 2, lambda a, b: (1 + abs(b)) * UNIT_ROUNDOFF, 3
    ),
    "hard_swish": Function(
        lambda x, a, b: x * np.clip(x / 6 + 0.5, 0, 1), lambda a, b: 1.5, 6, lambda a, b: 8 * UNIT_ROUNDOFF, 4
    ),
    # The sigmoid is zero where e^-x overflows, below -88.72: there |silu| < 89 e^-88.72 < 2^-121.
    "silu": Function(lambda x, a, b: x * _sigmoid(x), lambda a, b: 1.1, 14, lambda a, b: 2.0**-121, operations=5),
}
"""Every activation function. `a` and `b` are the op's `alpha` and `beta`."""


@dataclass(frozen=True)
class Activation:
    """An activation function with its parameters.

    `clip` limits to [alpha, beta]; `leaky_relu` has slope alpha below zero; `hard_sigmoid` is
    clip(alpha x + beta, 0, 1). Both are rounded to float32 here, like every number of a network: the
    kernel and the reference then compute with the same ones.
    """

    function: str
    alpha: float = 0.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            object.__setattr__(self, name, float(np.float32(getattr(self, name))))

    def __str__(self) -> str:
        return self.function

    @property
    def rule(self) -> Function:
        return FUNCTIONS[self.function]

    def evaluate(self, x: Array) -> Array:
        return np.asarray(self.rule.evaluate(x, self.alpha, self.beta))

    def bound(self, before: Bound) -> Bound:
        """The bound behind the activation, given the bound in front of it."""
        rule, value = self.rule, self.evaluate(before.value)
        slope = rule.lipschitz(self.alpha, self.beta)
        own = rule.roundings * UNIT_ROUNDOFF * np.abs(value) + rule.absolute(self.alpha, self.beta)
        own = own + (rule.roundings > 0) * SMALLEST_NORMAL
        # The evaluation's error is relative to the value at the *perturbed* argument.
        spread = 1 + rule.roundings * UNIT_ROUNDOFF
        return Bound(value, spread * slope * before.limit + own, spread * slope * before.alarm + own)


def activated(bound: Bound, activation: Activation | None) -> Bound:
    """The bound behind an optional fused activation."""
    return bound if activation is None else activation.bound(bound)


@dataclass(frozen=True)
class Activate(Op):
    """An activation function applied to every element."""

    activation: Activation

    @property
    def kind(self) -> str:
        return self.activation.function

    def infer(self, inputs: Types) -> TensorType:
        return inputs[0]

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(other=self.activation.rule.operations * output.elements)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        return self.activation.evaluate(inputs[0])

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        return self.activation.bound(Bound.exact(inputs[0]))
