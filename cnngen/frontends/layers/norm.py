"""Normalisations and softmax."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cnngen import ops
from cnngen.frontends.activations import ActivationField
from cnngen.frontends.fields import (
    Count,
)
from cnngen.frontends.layer import Layer, Options
from cnngen.ops.base import Types


class BatchNorm(Layer, kind="batch_norm"):
    """Batch normalisation at inference: scale and shift of each channel. Becomes `ops.BatchNorm`.

    ``gamma (x - mean) / sqrt(variance + epsilon) + beta``, with the mean and variance that training collected.
    Weights: `gamma`, `beta`, `mean`, `variance`.
    """

    epsilon: float = Field(1e-5, ge=0, description="Added to the variance")
    activation: ActivationField = None

    def lower(self, inputs: Types, options: Options) -> ops.BatchNorm:
        return ops.BatchNorm(self.epsilon, self.activation)


class StatisticsNorm(Layer):
    """Base of the normalisations by the input's own mean and variance."""

    epsilon: float = Field(1e-5, ge=0, description="Added to the variance")
    scale: bool = Field(True, description="Whether the result is multiplied by gamma")
    center: bool = Field(True, description="Whether beta is added to it")
    activation: ActivationField = None


class InstanceNorm(StatisticsNorm, kind="instance_norm"):
    """Each channel of each image less its mean, over its deviation, times gamma plus beta.

    ``gamma (x - mean) / sqrt(variance + epsilon) + beta``, mean and variance over height and width (Ulyanov, Vedaldi
    and Lempitsky, 2016). Becomes `ops.InstanceNorm`. Weights: `gamma` unless `scale: false`, `beta` unless
    `center: false`.
    """

    def lower(self, inputs: Types, options: Options) -> ops.InstanceNorm:
        return ops.InstanceNorm(self.epsilon, self.scale, self.center, self.activation)


class GroupNorm(StatisticsNorm, kind="group_norm"):
    """Groups of neighbouring channels of each image less their mean, over their deviation, times gamma plus beta.

    ``gamma (x - mean) / sqrt(variance + epsilon) + beta``, mean and variance over height, width and the channels of a
    group (Wu and He, 2018); gamma and beta have a value for each channel. Becomes `ops.GroupNorm`. Weights: `gamma`
    unless `scale: false`, `beta` unless `center: false`.
    """

    groups: Count = Field(description="Number of groups, which divides the channels")

    def lower(self, inputs: Types, options: Options) -> ops.GroupNorm:
        return ops.GroupNorm(self.epsilon, self.scale, self.center, self.activation, self.groups)


class LayerNorm(StatisticsNorm, kind="layer_norm"):
    """The channels of each pixel, or the whole image, less their mean, over their deviation, times gamma plus beta.

    ``gamma (x - mean) / sqrt(variance + epsilon) + beta`` (Ba, Kiros and Hinton, 2016). Over the channels gamma and
    beta have a value for each of them, over the image one for each of its elements. Becomes `ops.LayerNorm`.
    Weights: `gamma` unless `scale: false`, `beta` unless `center: false`.
    """

    axes: Literal["channels", "image"] = Field("channels", description="channels, or image: height, width and channels")

    def lower(self, inputs: Types, options: Options) -> ops.LayerNorm:
        return ops.LayerNorm(self.epsilon, self.scale, self.center, self.activation, self.axes)


class LRN(Layer, kind="lrn"):
    """Local response normalisation: each element divided by a power of those in neighbouring channels.

    ``x / (bias + alpha / size * sum x^2)^beta`` over `size` channels. Alpha is divided by the size, as in
    Caffe, ONNX and PyTorch; the paper (Krizhevsky et al., 2012) does not divide. Becomes `ops.LRN`.
    """

    size: Count = Field(5, description="Number of channels in the sum, the own one included")
    alpha: float = Field(1e-4, ge=0, description="Factor of the sum of squares, which is divided by the size first")
    beta: float = Field(0.75, description="Exponent")
    bias: float = Field(1.0, gt=0, description="Added to the sum, so that nothing is divided by zero; the paper's k")

    def lower(self, inputs: Types, options: Options) -> ops.LRN:
        return ops.LRN(self.size, self.alpha, self.beta, self.bias)


class Softmax(Layer, kind="softmax"):
    """Probabilities from scores: ``exp(x) / sum exp(x)`` over the channels. Becomes `ops.Softmax`."""

    def lower(self, inputs: Types, options: Options) -> ops.Softmax:
        return ops.Softmax()


class LogSoftmax(Layer, kind="log_softmax"):
    """Logarithms of probabilities: ``x - log sum exp(x)`` over the channels. Becomes `ops.LogSoftmax`."""

    def lower(self, inputs: Types, options: Options) -> ops.LogSoftmax:
        return ops.LogSoftmax()
