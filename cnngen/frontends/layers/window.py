"""Layers that slide a window over the image or sum over all of it: convolutions, pools, dense layers."""

from __future__ import annotations

from pydantic import Field

from cnngen import ops
from cnngen.errors import ShapeError
from cnngen.frontends.activations import ActivationField
from cnngen.frontends.fields import (
    Count,
    Padding,
    Pair,
    WholePair,
    resolve_cropping,
    resolve_padding,
)
from cnngen.frontends.layer import Layer, Options
from cnngen.ops.base import Types, require_rank


class Windowed(Layer):
    """Base of the layers that slide a window over the image."""

    stride: Pair = Field((1, 1), description="Step of the window: a number or [h, w]")
    padding: Padding = Field((0, 0, 0, 0), description="valid, same, same_lower, a number, [h, w] or [t, b, l, r]")
    dilation: Pair = Field((1, 1), description="Distance of the window's elements: a number or [h, w]")

    def _pads(self, inputs: Types, kernel: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int, int, int]:
        require_rank(inputs, 4, self.kind)
        _, height, width, _ = inputs[0].shape
        return resolve_padding(self.padding, (height, width), kernel, stride, self.dilation)


class Conv2D(Windowed, kind="conv2d"):
    """Two-dimensional convolution (cross-correlation) with zero padding.

    Each output channel is a sum over a window of all input channels, or of those of its group.
    Becomes `ops.Conv2D`. Weights: `weight`, and `bias` unless `bias: false`.
    """

    filters: Count = Field(description="Number of output channels")
    kernel: Pair = Field(description="Window: a number or [h, w]")
    groups: Count = Field(1, description="Input and output channels in so many separate groups")
    bias: bool = Field(True, description="Whether a bias is added to each output channel")
    activation: ActivationField = None

    def lower(self, inputs: Types, options: Options) -> ops.Conv2D:
        return ops.Conv2D(
            filters=self.filters,
            kernel=self.kernel,
            stride=self.stride,
            padding=self._pads(inputs, self.kernel, self.stride),
            dilation=self.dilation,
            groups=self.groups,
            use_bias=self.bias,
            activation=self.activation,
        )


class DepthwiseConv2D(Windowed, kind="depthwise_conv2d"):
    """Convolution of every channel by itself, with `multiplier` filters for each.

    Filter m of channel c gives output channel ``c * multiplier + m``. It is a convolution with as many
    groups as input channels. Becomes `ops.Conv2D`. Weights: `weight`, and `bias` unless `bias: false`.
    """

    kernel: Pair = Field(description="Window: a number or [h, w]")
    multiplier: Count = Field(1, description="Filters for each input channel")
    bias: bool = Field(True, description="Whether a bias is added to each output channel")
    activation: ActivationField = None

    def lower(self, inputs: Types, options: Options) -> ops.Conv2D:
        padding = self._pads(inputs, self.kernel, self.stride)
        channels = inputs[0].shape[3]
        return ops.Conv2D(
            filters=channels * self.multiplier,
            kernel=self.kernel,
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=channels,
            use_bias=self.bias,
            activation=self.activation,
        )


class Conv2DTranspose(Windowed, kind="conv2d_transpose"):
    """Transposed convolution, which enlarges the image: every input element adds its kernel to the output.

    Becomes `ops.Conv2DTranspose`. The output has ``(size - 1) * stride + dilation * (kernel - 1) + 1`` elements,
    less the `padding`, which is cropped, and `output_padding` more at the end; with `padding: same` it has
    ``size * stride``. Weights: `weight`, and `bias` unless `bias: false`.
    """

    filters: Count = Field(description="Number of output channels")
    kernel: Pair = Field(description="Window: a number or [h, w]")
    output_padding: WholePair = Field((0, 0), description="Rows and columns added at the end: a number or [h, w]")
    groups: Count = Field(1, description="Input and output channels in so many separate groups")
    bias: bool = Field(True, description="Whether a bias is added to each output channel")
    activation: ActivationField = None

    def lower(self, inputs: Types, options: Options) -> ops.Conv2DTranspose:
        padding, extra = resolve_cropping(self.padding, self.kernel, self.stride, self.dilation)
        if isinstance(self.padding, str) and self.padding != "valid":
            if any(self.output_padding):
                raise ShapeError(
                    f"padding {self.padding} makes the output as large as input times stride, whatever output_padding",
                    remedy="leave output_padding out, or write the padding as numbers",
                )
        else:
            extra = self.output_padding
        return ops.Conv2DTranspose(
            filters=self.filters,
            kernel=self.kernel,
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
            output_padding=extra,
            use_bias=self.bias,
            activation=self.activation,
        )


class Pool(Windowed):
    """Base of pooling over windows."""

    kernel: Pair = Field(description="Window: a number or [h, w]")
    stride: Pair | None = Field(None, description="Step of the window, by default the kernel")  # type: ignore[assignment]  # optional here
    ceil_mode: bool = Field(False, description="Round the output size up; a window in the end padding is dropped")

    def _pool(self, reduction: ops.PoolReduction, inputs: Types, count_include_pad: bool, order: int = 2) -> ops.Pool2D:
        stride = self.stride or self.kernel
        return ops.Pool2D(
            reduction=reduction,
            kernel=self.kernel,
            stride=stride,
            padding=self._pads(inputs, self.kernel, stride),
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
            count_include_pad=count_include_pad,
            order=order,
        )


class MaxPool(Pool, kind="max_pool"):
    """Maximum over a window; padding never wins. Becomes `ops.Pool2D`."""

    def lower(self, inputs: Types, options: Options) -> ops.Pool2D:
        return self._pool("max", inputs, False)


class AvgPool(Pool, kind="avg_pool"):
    """Average over a window; padding counts if `count_include_pad` says so. Becomes `ops.Pool2D`."""

    count_include_pad: bool = Field(False, description="Whether padding counts in the divisor")

    def lower(self, inputs: Types, options: Options) -> ops.Pool2D:
        return self._pool("avg", inputs, self.count_include_pad)


class LpPool(Pool, kind="lp_pool"):
    """Lp norm of a window: ``(sum |x|^p)^(1/p)``; padding adds nothing. Becomes `ops.Pool2D`."""

    p: int = Field(2, ge=1, le=16, description="Exponent of the norm")

    def lower(self, inputs: Types, options: Options) -> ops.Pool2D:
        return self._pool("lp", inputs, False, self.p)


class GlobalLpPool(Layer, kind="global_lp_pool"):
    """Lp norm of each channel, ``(sum |x|^p)^(1/p)``; the output is 1 x 1 x channels. Becomes `ops.GlobalPool2D`."""

    p: int = Field(2, ge=1, le=16, description="Exponent of the norm")

    def lower(self, inputs: Types, options: Options) -> ops.GlobalPool2D:
        return ops.GlobalPool2D("lp", self.p)


class GlobalAvgPool(Layer, kind="global_avg_pool"):
    """Average over height and width; the output is 1 x 1 x channels. Becomes `ops.GlobalPool2D`."""

    def lower(self, inputs: Types, options: Options) -> ops.GlobalPool2D:
        return ops.GlobalPool2D("avg")


class GlobalMaxPool(Layer, kind="global_max_pool"):
    """Maximum over height and width; the output is 1 x 1 x channels. Becomes `ops.GlobalPool2D`."""

    def lower(self, inputs: Types, options: Options) -> ops.GlobalPool2D:
        return ops.GlobalPool2D("max")


class Dense(Layer, kind="dense"):
    """Fully connected layer on a flat input: every output is a weighted sum of all inputs. Becomes `ops.Dense`.

    Weights: `weight`, and `bias` unless `bias: false`.
    """

    units: Count = Field(description="Number of outputs")
    bias: bool = Field(True, description="Whether a bias is added to each output")
    activation: ActivationField = None

    def lower(self, inputs: Types, options: Options) -> ops.Dense:
        return ops.Dense(self.units, self.bias, self.activation)
