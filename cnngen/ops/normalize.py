"""Batch normalisation (inference) and local response normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnngen.ir import Array, TensorType
from cnngen.ops.activation import Activation, activated
from cnngen.ops.base import UNIT_ROUNDOFF, Bound, Cost, Op, Types, Weights, parameters, require_channels, require_rank
from cnngen.ops.function import EXP_ROUNDINGS, LOG_ROUNDINGS


@dataclass(frozen=True)
class BatchNorm(Op):
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` for each channel (last axis).

    Source: Ioffe and Szegedy, Batch Normalization, 2015, algorithm 2. Weights of shape (channels):
    `gamma`, `beta`, `mean`, `variance`. Folded into a convolution in front of it where there is one;
    else computed as ``scale x + shift`` with scale and shift rounded to float32 at compile time, then the activation.
    """

    epsilon: float = 1e-5
    activation: Activation | None = None

    @property
    def kind(self) -> str:
        return "batch_norm"

    def weight_shapes(self, inputs: Types) -> dict[str, tuple[int, ...]]:
        require_channels(inputs, "batch_norm")
        channels = (inputs[0].shape[-1],)
        return {"gamma": channels, "beta": channels, "mean": channels, "variance": channels}

    def infer(self, inputs: Types) -> TensorType:
        return inputs[0]

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        activation = self.activation.rule.operations if self.activation else 0
        return Cost(other=(2 + activation) * output.elements, params=parameters(self.weight_shapes(inputs)))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        scale, shift = self.affine(weights)
        value = np.asarray(inputs[0] * scale + shift)
        return self.activation.evaluate(value) if self.activation else value

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        scale, shift = self.affine(weights)
        # Two roundings of the folded constants, one of the product, one of the sum.
        magnitude = np.abs(inputs[0]) * np.abs(scale) + np.abs(shift)
        return activated(Bound.of_sum(inputs[0] * scale + shift, magnitude, 4), self.activation)

    def affine(self, weights: Weights) -> tuple[Array, Array]:
        """Scale and shift of each channel, in float64."""
        w = {role: np.asarray(array, np.float64) for role, array in weights.items()}
        scale = w["gamma"] / np.sqrt(w["variance"] + self.epsilon)
        return scale, w["beta"] - w["mean"] * scale


@dataclass(frozen=True)
class LRN(Op):
    """Local response normalisation across channels: ``y = x / (bias + alpha/size sum x^2)^beta``.

    The sum runs over `size` channels around the own one, cut at the ends, the extra one of an even
    size above. Source: Krizhevsky et al., 2012, section 3.3, with alpha divided by size as in
    Caffe, ONNX and PyTorch.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def infer(self, inputs: Types) -> TensorType:
        require_rank(inputs, 4, "lrn")
        return inputs[0]

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(other=output.elements * (2 * self.size + 20))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        return np.asarray(inputs[0] * self.base(inputs[0]) ** -self.beta)

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        value = self.evaluate(inputs, weights)
        # base: size + 3 roundings of positive terms. base^-beta as exp(-beta log base): the exponent's absolute
        # error is that of log times beta, and two roundings of the exponent itself; then exp and a product.
        # (With square roots instead it is less.)
        log_base = np.abs(np.log(self.base(inputs[0])))
        exponent = abs(self.beta) * (3 * log_base + LOG_ROUNDINGS)
        roundings = abs(self.beta) * (self.size + 3) + exponent + EXP_ROUNDINGS + 1
        limit = roundings * UNIT_ROUNDOFF * np.abs(value) * (1 + 1e-3)
        return Bound(value, limit, limit)

    def base(self, x: Array) -> Array:
        """What is raised to the power of beta: ``bias + alpha/size sum x^2`` for every element of `x`."""
        before = (self.size - 1) // 2
        after = self.size - 1 - before
        channels = x.shape[-1]
        total = np.zeros_like(x)
        for channel in range(channels):
            low, high = max(channel - before, 0), min(channel + after, channels - 1)
            total[..., channel] = np.square(x[..., low : high + 1]).sum(axis=-1)
        return self.bias + self.alpha / self.size * total
