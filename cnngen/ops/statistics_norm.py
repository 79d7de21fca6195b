"""Normalisation by the mean and the variance of the input itself: instance, group and layer normalisation.

The mean and variance are computed in two passes, and both are corrected by the mean deviation from
the first mean, which takes its rounding error out again (Chan, Golub and LeVeque, Algorithms for
Computing the Sample Variance, 1983, equation 1.7). The bound follows: see `StatisticsNorm.bound`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.activation import Activation, activated
from cnngen.ops.base import (
    POINTWISE,
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    Bound,
    Cost,
    Everything,
    Field,
    Op,
    Types,
    Weights,
    parameters,
    require_rank,
)

SCALING_ROUNDINGS = 12
"""Of an element on its way from the statistics to the result: the difference from the mean, epsilon, the root, its
reciprocal, the product with gamma, the shift (3), the product and the sum; some twice without fused multiply-add."""


class Sets(NamedTuple):
    """A tensor in the shape in which sets of elements that share a mean lie along `axes`."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]


@dataclass(frozen=True)
class StatisticsNorm(Op):
    """``gamma (x - mean) / sqrt(variance + epsilon) + beta``, then the activation.

    Mean and variance (the mean of the squared deviations) are those of a set of elements, which the
    subclass says. Weights: `gamma` with `scale`, `beta` with `center`.
    """

    epsilon: float = 1e-5
    scale: bool = True
    center: bool = True
    activation: Activation | None = None

    @abstractmethod
    def sets(self, shape: tuple[int, ...]) -> Sets:
        """Which elements share a mean."""

    def affine_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of gamma and beta: one for each channel."""
        return shape[-1:]

    def weight_shapes(self, inputs: Types) -> dict[str, tuple[int, ...]]:
        shape = self.affine_shape(inputs[0].shape)
        return {role: shape for role, present in (("gamma", self.scale), ("beta", self.center)) if present}

    def infer(self, inputs: Types) -> TensorType:
        return inputs[0]

    def field(self, inputs: Types) -> Field:
        return Everything()

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        activation = self.activation.rule.operations if self.activation else 0
        other = (5 + self.scale + self.center + activation) * output.elements
        return Cost(other=other, params=parameters(self.weight_shapes(inputs)))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):  # a variance of zero without epsilon
            value = self._normalised(inputs[0], weights)
        return self.activation.evaluate(value) if self.activation else value

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        """In units of u, for a sum of n terms in any order: k = n + 2 roundings.

        The first mean is off by d <= k mean|x|. Differences x - m from it have the mean m' - m, whose
        computed value c is off by e <= k mean|x - m|; x - m - c is then off by e and three roundings of
        its terms. The variance mean (x - m)^2 - c^2 is off by (k + 4) (variance + d^2) + 2 d e + e^2.
        """
        (x,) = inputs
        count, gamma, beta = self._terms(x.shape, weights)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value = self._normalised(x, weights)
            roundings = count + 2
            usual = min(float(roundings), math.sqrt(roundings) + 2) * UNIT_ROUNDOFF
            sound = roundings * UNIT_ROUNDOFF / (1 - roundings * UNIT_ROUNDOFF)
            limit, alarm = (self._error(x, gamma, beta, unit) for unit in (sound, usual))
            return activated(Bound(value, limit, alarm), self.activation)

    def _normalised(self, x: Array, weights: Weights) -> Array:
        _, gamma, beta = self._terms(x.shape, weights)
        shape, axes = self.sets(x.shape)
        grouped = x.reshape(shape)
        centred = grouped - grouped.mean(axis=axes, keepdims=True)
        variance = np.square(centred).mean(axis=axes, keepdims=True)
        return np.asarray((centred / np.sqrt(variance + self.epsilon)).reshape(x.shape) * gamma + beta)

    def _error(self, x: Array, gamma: Array, beta: Array, unit: float) -> Array:
        """The error bound where a sum has the relative error `unit`."""
        shape, axes = self.sets(x.shape)
        grouped = x.reshape(shape)

        def mean(values: Array) -> Array:
            return np.asarray(values.mean(axis=axes, keepdims=True))

        deviation = np.abs(grouped - mean(grouped))
        first = unit * mean(np.abs(grouped))
        correction = unit * (mean(deviation) + first)
        variance = mean(np.square(deviation))
        off = (unit + 4 * UNIT_ROUNDOFF) * (variance + first**2) + 2 * first * correction + correction**2
        off = off + SMALLEST_NORMAL  # of denormal squares
        whole = variance + self.epsilon
        # 1 / sqrt(whole - off) against 1 / sqrt(whole)
        root = np.sqrt(whole / np.maximum(whole - off, 0.0)) - 1
        own = SCALING_ROUNDINGS * UNIT_ROUNDOFF
        error = (1 + root) * (deviation * (root + own) + correction + own * first) / np.sqrt(whole)
        error = np.where(np.isnan(error), np.inf, error).reshape(x.shape)
        return np.asarray(error * np.abs(gamma) + own * np.abs(beta) + SMALLEST_NORMAL)

    def _terms(self, shape: tuple[int, ...], weights: Weights) -> tuple[int, Array, Array]:
        """The size of a set, gamma and beta."""
        sets = self.sets(shape)
        count = math.prod(sets.shape[axis] for axis in sets.axes)
        return count, np.asarray(weights.get("gamma", 1.0)), np.asarray(weights.get("beta", 0.0))


@dataclass(frozen=True)
class InstanceNorm(StatisticsNorm):
    """Each channel of each image by itself (Ulyanov, Vedaldi and Lempitsky, Instance Normalization, 2016)."""

    @property
    def kind(self) -> str:
        return "instance_norm"

    def infer(self, inputs: Types) -> TensorType:
        require_rank(inputs, 4, self.kind)
        return inputs[0]

    def sets(self, shape: tuple[int, ...]) -> Sets:
        return Sets(shape, tuple(range(1, len(shape) - 1)))


@dataclass(frozen=True)
class GroupNorm(StatisticsNorm):
    """`groups` of neighbouring channels of each image together (Wu and He, Group Normalization, 2018)."""

    groups: int = 32

    @property
    def kind(self) -> str:
        return "group_norm"

    def infer(self, inputs: Types) -> TensorType:
        channels = inputs[0].shape[-1]
        if channels % self.groups:
            raise ShapeError(
                f"{self.groups} groups do not divide the {channels} channels of the input",
                remedy=f"use a divisor of {channels}",
            )
        return inputs[0]

    def field(self, inputs: Types) -> Field:
        return Everything() if len(inputs[0].shape) > 2 or inputs[0].shape[-1] > self.groups else POINTWISE

    def sets(self, shape: tuple[int, ...]) -> Sets:
        grouped = (*shape[:-1], self.groups, shape[-1] // self.groups)
        return Sets(grouped, (*range(1, len(shape) - 1), len(shape)))


@dataclass(frozen=True)
class LayerNorm(StatisticsNorm):
    """All of an image together, or the channels of each pixel (Ba, Kiros and Hinton, Layer Normalization, 2016).

    Over the whole image gamma and beta have its shape, one for each element.
    """

    axes: Literal["channels", "image"] = "channels"

    @property
    def kind(self) -> str:
        return "layer_norm"

    def field(self, inputs: Types) -> Field:
        return POINTWISE if self.axes == "channels" and len(inputs[0].shape) > 2 else Everything()

    def affine_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[-1:] if self.axes == "channels" else shape[1:]

    def sets(self, shape: tuple[int, ...]) -> Sets:
        return Sets(shape, (len(shape) - 1,) if self.axes == "channels" else tuple(range(1, len(shape))))
