"""The layers of the spec language: one class each, with its fields and the op that it becomes.

To add a layer, write one class here: ``class MyLayer(Layer, kind="my_layer")`` with its fields and
`lower`. The parser, the messages, the JSON Schema and the documentation pick it up.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field, create_model

from cnngen import ops
from cnngen.errors import ShapeError
from cnngen.frontends.activations import ACTIVATIONS, ActivationField, Function
from cnngen.frontends.axes import AXIS_HELP, Axis, axis_number
from cnngen.frontends.elementary import ELEMENTARY
from cnngen.frontends.fields import (
    AnyPair,
    AnySides,
    Count,
    Padding,
    Pair,
    Region,
    Scale,
    Sides,
    Sizes,
    WholePair,
    resolve_cropping,
    resolve_padding,
)
from cnngen.frontends.layer import LAYERS, Common, Layer, Options
from cnngen.ops.base import Types, require_rank
from cnngen.ops.resampling import AspectRatio, Coordinates, Resampling, ResizeMode, Rounding, resolve_size


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


class Elementwise(Layer):
    """Base of the arithmetic on several inputs, broadcast as in NumPy: sizes are equal, or 1 along an axis."""

    arity = None
    op: ClassVar[type[ops.Elementwise]]
    activation: ActivationField = None

    def lower(self, inputs: Types, options: Options) -> ops.Op:
        # Aligned from the last axis, the batch of a vector would meet the width of an image: nobody means that.
        if {len(tensor.shape) for tensor in inputs} == {2, 4} and len({tensor.shape[0] for tensor in inputs}) == 1:
            raise ShapeError(
                f"{self.kind} takes tensors of one rank, not {' and '.join(map(str, inputs))}",
                remedy="leave the flatten out, or reshape the flat one to an image of one pixel",
            )
        op = self.op(self.activation)
        assert isinstance(op, ops.Op)
        return op


class Add(Elementwise, kind="add"):
    """Sum of the `inputs`, broadcast against each other. Becomes `ops.Add`."""

    op = ops.Add


class Sub(Elementwise, kind="sub"):
    """The first of two `inputs` less the second, broadcast against each other. Becomes `ops.Sub`."""

    op = ops.Sub


class Mul(Elementwise, kind="mul"):
    """Product of the `inputs`, broadcast against each other. Becomes `ops.Mul`."""

    op = ops.Mul


class Div(Elementwise, kind="div"):
    """The first of two `inputs` over the second, broadcast against each other. Becomes `ops.Div`."""

    op = ops.Div


class Power(Elementwise, kind="power"):
    """The first of two `inputs` to the power of the second, broadcast against each other. Becomes `ops.Power`."""

    op = ops.Power


class Maximum(Elementwise, kind="maximum"):
    """The largest of the `inputs`, broadcast against each other. Becomes `ops.Maximum`."""

    op = ops.Maximum


class Minimum(Elementwise, kind="minimum"):
    """The smallest of the `inputs`, broadcast against each other. Becomes `ops.Minimum`."""

    op = ops.Minimum


class Concat(Layer, kind="concat"):
    """The `inputs` one behind the other along the channels, or along another axis. Becomes `ops.Concat`."""

    arity = None
    axis: Axis = Field(-1, description=f"Axis along which they are joined: {AXIS_HELP}; by default the last")

    def lower(self, inputs: Types, options: Options) -> ops.Concat:
        return ops.Concat.along(axis_number(self.axis, inputs[0], self.kind), inputs[0])


class Upsample(Layer, kind="upsample"):
    """Every pixel as a block of equal ones (nearest neighbour), or of interpolated ones (bilinear).

    Becomes `ops.Upsample` or `ops.UpsampleBilinear`.
    """

    scale: Pair = Field(description="Rows and columns made of one: a number or [h, w]")
    mode: Literal["nearest", "bilinear"] = Field("nearest", description="nearest or bilinear")

    def lower(self, inputs: Types, options: Options) -> ops.Upsample | ops.UpsampleBilinear:
        return ops.Upsample(self.scale) if self.mode == "nearest" else ops.UpsampleBilinear(self.scale)


class Resize(Layer, kind="resize"):
    """The image in another size: each pixel the nearest one, or interpolated, as ONNX Resize.

    One of `size` and `scale` is enough; with both, positions are computed with the scale. At whole factors it is the
    `upsample` that does the same. Becomes `ops.Resize`, `ops.Upsample`, `ops.UpsampleBilinear`, or `ops.Identity`
    where nothing changes.
    """

    size: Pair | None = Field(None, description="Rows and columns of the result: a number or [h, w]")
    scale: Scale | None = Field(None, description="Result over input, rounded down: a number or [h, w]")
    mode: ResizeMode = Field("nearest", description="nearest, linear or cubic")
    coordinates: Coordinates = Field("half_pixel", description="Where pixel i of the result lies in the input")
    rounding: Rounding = Field("round_prefer_floor", description="With mode nearest: which of two pixels")
    cubic_coeff_a: float = Field(-0.75, description="With mode cubic: the parameter of Keys' kernel")
    exclude_outside: bool = Field(False, description="Whether pixels beyond the border weigh nothing")
    antialias: bool = Field(False, description="Whether linear and cubic kernels widen as the image shrinks")
    keep_aspect_ratio: AspectRatio = Field("stretch", description="With size: stretch, not_larger or not_smaller")
    roi: Region | None = Field(
        None, description="For tf_crop_and_resize: [top, left, bottom, right], parts of the image"
    )
    extrapolation_value: float = Field(0.0, description="For tf_crop_and_resize: what lies outside the image")

    def lower(self, inputs: Types, options: Options) -> ops.Op:
        require_rank(inputs, 4, self.kind)
        self._verify_fields()
        _, height, width, _ = inputs[0].shape
        if self.size is not None and self.scale is not None:
            size, scale = self.size, self.scale
        else:
            size, scale = resolve_size(
                (height, width), target=self.size, scale=self.scale, policy=self.keep_aspect_ratio
            )
        how = Resampling(
            self.mode, self.coordinates, self.rounding, self.exclude_outside, self.antialias, self.cubic_coeff_a
        )
        stretched = self.scale is None and self.keep_aspect_ratio == "stretch"
        region = self.roi or (0.0, 0.0, 1.0, 1.0)
        op = ops.Resize(size, how, None if stretched else scale, region, self.extrapolation_value)
        return ops.resized(op, inputs[0])

    def _verify_fields(self) -> None:
        """Raise `ShapeError` where fields contradict each other."""
        if self.size is None and self.scale is None:
            raise ShapeError("has neither size nor scale", remedy="give one of them")
        if self.keep_aspect_ratio != "stretch" and (self.size is None or self.scale is not None):
            raise ShapeError(
                f"keep_aspect_ratio {self.keep_aspect_ratio} needs a size and no scale",
                remedy="give a size alone, or leave it out",
            )
        if self.antialias and self.mode == "nearest":
            raise ShapeError("mode nearest has no antialias", remedy="use mode: linear or cubic, or leave it out")
        if (self.roi is None) == (self.coordinates == "tf_crop_and_resize"):
            raise ShapeError(
                "coordinates tf_crop_and_resize need a roi, and others have none",
                remedy="write roi: [top, left, bottom, right] in parts of the image, or leave it out",
            )


class DepthToSpace(Layer, kind="depth_to_space"):
    """Every pixel as a block of pixels, with its channels dealt out among them. Becomes `ops.DepthToSpace`."""

    block: Count = Field(description="Rows and columns of a block")
    mode: Literal["DCR", "CRD"] = Field("DCR", description="DCR (as TensorFlow) or CRD (as PyTorch's PixelShuffle)")

    def lower(self, inputs: Types, options: Options) -> ops.DepthToSpace:
        return ops.DepthToSpace(self.block, self.mode)


class SpaceToDepth(Layer, kind="space_to_depth"):
    """Every block of pixels as one pixel with as many times more channels. Becomes `ops.SpaceToDepth`."""

    block: Count = Field(description="Rows and columns of a block")
    mode: Literal["DCR", "CRD"] = Field("DCR", description="DCR (as TensorFlow) or CRD (as PyTorch's PixelUnshuffle)")

    def lower(self, inputs: Types, options: Options) -> ops.SpaceToDepth:
        return ops.SpaceToDepth(self.block, self.mode)


class ChannelShuffle(Layer, kind="channel_shuffle"):
    """The channels of all groups in turn, so that the next grouped layer mixes them. Becomes `ops.ChannelShuffle`."""

    groups: Count = Field(description="Number of groups, which divides the channels")

    def lower(self, inputs: Types, options: Options) -> ops.ChannelShuffle:
        return ops.ChannelShuffle(self.groups)


class Pad(Layer, kind="pad"):
    """Rows, columns and channels around the image: a constant, the image mirrored, its border, or the image again.

    Negative numbers crop it. Becomes `ops.Pad`.
    """

    padding: AnySides = Field((0, 0, 0, 0), description="A number, [h, w] or [t, b, l, r]; negative ones crop")
    mode: Literal["constant", "reflect", "edge", "wrap"] = Field(
        "constant", description="constant, reflect, edge or wrap"
    )
    value: float = Field(0.0, description="What they hold with mode constant")
    channels: AnyPair = Field((0, 0), description="Channels added in front and behind: a number or two")

    def lower(self, inputs: Types, options: Options) -> ops.Pad:
        return ops.Pad(self.padding, self.mode, self.value, self.channels)


class Crop(Layer, kind="crop"):
    """The image without some of its border. Becomes `ops.Pad` with negative numbers."""

    crop: Sides = Field(description="Rows and columns to cut off: a number, [h, w] or [t, b, l, r]")

    def lower(self, inputs: Types, options: Options) -> ops.Pad:
        top, bottom, left, right = self.crop
        return ops.Pad((-top, -bottom, -left, -right))


class Flatten(Layer, kind="flatten"):
    """An image as one vector. Becomes `ops.Flatten`.

    The elements are numbered as in the framework that trained the weights: `hwc` for Keras, `chw`
    for PyTorch; `order` overrides that.
    """

    order: Literal["hwc", "chw"] | None = Field(None, description="hwc or chw; by default that of the weights format")

    def lower(self, inputs: Types, options: Options) -> ops.Flatten:
        return ops.Flatten(self.order or options.flatten_order)


class Reshape(Layer, kind="reshape"):
    """The same elements as a tensor of another shape. Becomes `ops.Reshape`, or `ops.Flatten` of a vector.

    `shape` is [h, w, c], or [c, h, w] in a `chw` spec, [features], or any other number of sizes; -1 stands for what is
    left. The elements of images are numbered as for `flatten`, those of other tensors as they lie. With `batch: false`
    the shape is the whole tensor's, and everything is numbered as it lies.
    """

    shape: Sizes = Field(description="Sizes of an image in the spec's layout, [features], or others; one may be -1")
    order: Literal["hwc", "chw"] | None = Field(None, description="hwc or chw; by default that of the weights format")
    batch: bool = Field(True, description="Whether the batch stays in front of `shape`; false: it is among the sizes")

    def lower(self, inputs: Types, options: Options) -> ops.Reshape | ops.Flatten:
        order, sizes = self.order or options.flatten_order, list(self.shape)
        elements = math.prod(inputs[0].shape[1:] if self.batch else inputs[0].shape)
        if -1 in sizes:
            rest = -math.prod(sizes)
            if elements % rest:
                raise ShapeError(
                    f"the other sizes, {rest} elements together, do not divide the {elements} of the input",
                    remedy="choose sizes that divide it",
                )
            sizes[sizes.index(-1)] = elements // rest
        if not self.batch:
            return ops.Reshape.to(tuple(sizes), inputs[0])
        if len(sizes) == 1:
            if sizes[0] != elements:
                raise ShapeError(f"{sizes[0]} features, the input has {elements}", remedy=f"write {elements} or -1")
            return ops.Flatten(order)
        if len(sizes) == 3 and options.layout == "chw":
            sizes = [sizes[1], sizes[2], sizes[0]]
        return ops.Reshape(tuple(sizes), order)


class Softmax(Layer, kind="softmax"):
    """Probabilities from scores: ``exp(x) / sum exp(x)`` over the channels. Becomes `ops.Softmax`."""

    def lower(self, inputs: Types, options: Options) -> ops.Softmax:
        return ops.Softmax()


class LogSoftmax(Layer, kind="log_softmax"):
    """Logarithms of probabilities: ``x - log sum exp(x)`` over the channels. Becomes `ops.LogSoftmax`."""

    def lower(self, inputs: Types, options: Options) -> ops.LogSoftmax:
        return ops.LogSoftmax()


class Dropout(Layer, kind="dropout"):
    """Does nothing at inference; `rate` is only for the reader. Becomes `ops.Identity`."""

    rate: float = Field(0.5, ge=0, lt=1, description="Share of elements dropped in training")

    def lower(self, inputs: Types, options: Options) -> ops.Identity:
        return ops.Identity()


class PRelu(Layer, kind="prelu"):
    """``x`` where it is positive, ``alpha x`` elsewhere, with an `alpha` for each channel. Becomes `ops.PRelu`.

    Weights: `alpha`.
    """

    def lower(self, inputs: Types, options: Options) -> ops.PRelu:
        return ops.PRelu()


class ActivationLayer(Layer):
    """Base of the functions of one variable as layers of their own. Becomes `ops.Activate`."""

    def lower(self, inputs: Types, options: Options) -> ops.Activate:
        assert isinstance(self, Function)
        return ops.Activate(self.activation())


for _function in (*ACTIVATIONS.values(), *ELEMENTARY.values()):
    create_model(
        _function.__name__,
        __base__=(_function, ActivationLayer),
        __module__=__name__,
        __doc__=f"{_function.__doc__} Becomes `ops.Activate`.",
        __cls_kwargs__={"kind": _function.kind},
    )

import cnngen.frontends.axis_layers  # noqa: E402, F401  # its layers come behind those above

__all__ = ["LAYERS", "Common", "Layer", "Options"]
