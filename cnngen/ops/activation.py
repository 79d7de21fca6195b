"""Activation functions: alone as an op, or fused behind a convolution, dense layer or elementwise op."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnngen.ir import Array, TensorType
from cnngen.ops.base import (
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    Bound,
    Cost,
    Op,
    Types,
    Weights,
    parameters,
    require_channels,
)
from cnngen.ops.function import Function
from cnngen.ops.functions import FUNCTIONS


@dataclass(frozen=True)
class Activation:
    """An activation function, or another function of one variable, with its parameters.

    `clip` limits to [alpha, beta], which may be infinite; `leaky_relu` has slope alpha below zero; `elu`
    and `celu` go to -alpha there; `thresholded_relu` is x above alpha; `hard_sigmoid` is
    clip(alpha x + beta, 0, 1), `swish` x sigmoid(alpha x), `pow` x^alpha. Both are rounded to float32
    here, like every number of a network: the kernel and the reference then compute with the same ones.
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

    @property
    def parameters(self) -> tuple[float, ...]:
        """Those of alpha and beta that the function takes, in order."""
        return (self.alpha, self.beta)[: self.rule.parameters]

    def evaluate(self, x: Array) -> Array:
        return np.asarray(self.rule.evaluate(x, self.alpha, self.beta))

    def bound(self, before: Bound) -> Bound:
        """The bound behind the activation, given the bound in front of it."""
        rule, value = self.rule, self.evaluate(before.value)
        size = np.where(np.isfinite(value), np.abs(value), 0.0)  # infinities and NaN are exact
        own = rule.roundings * UNIT_ROUNDOFF * size + rule.absolute(self.alpha, self.beta)
        if rule.inner is not None:
            own = own + rule.inner(before.value, self.alpha, self.beta) * UNIT_ROUNDOFF * size
        own = own + (rule.roundings > 0) * SMALLEST_NORMAL
        # The evaluation's error is relative to the value at the *perturbed* argument.
        spread = 1 + rule.roundings * UNIT_ROUNDOFF
        limit, alarm = (
            rule.moves(before.value, error, self.alpha, self.beta) for error in (before.limit, before.alarm)
        )
        return Bound(value, spread * limit + own, spread * alarm + own)


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

    def keeps_batch(self, inputs: Types, constant: Sequence[bool]) -> bool:
        return bool(inputs[0].shape)

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(other=self.activation.rule.operations * output.elements)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        return self.activation.evaluate(inputs[0])

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        return self.activation.bound(Bound.exact(inputs[0]))


@dataclass(frozen=True)
class PRelu(Op):
    """``x`` where it is positive, ``alpha x`` elsewhere, with an `alpha` for each channel (last axis).

    Source: He et al., Delving Deep into Rectifiers, 2015, equation 1. Weights: `alpha` (channels).
    """

    def weight_shapes(self, inputs: Types) -> dict[str, tuple[int, ...]]:
        require_channels(inputs, "prelu")
        return {"alpha": (inputs[0].shape[-1],)}

    def infer(self, inputs: Types) -> TensorType:
        return inputs[0]

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(other=output.elements, params=parameters(self.weight_shapes(inputs)))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        (x,) = inputs
        with np.errstate(invalid="ignore"):  # an infinity times a slope of 0
            return np.where(x >= 0, x, weights["alpha"] * x)

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        value = self.evaluate(inputs, weights)
        # One product where x is negative, nothing elsewhere.
        return Bound.of_sum(value, np.where(inputs[0] < 0, np.abs(value), 0.0), 1)
