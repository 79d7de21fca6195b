"""Networks of many one-op branches, each an edge case; every branch is an output.

`other_ops` takes its branches from `tests.op_cases`: what has no network of its own is run there.
A branch reads a network input, so the op's own error bound holds for any correct implementation
of it, ONNX Runtime included.
"""

from __future__ import annotations

from collections.abc import Callable

from cnngen.ir import Graph
from cnngen.ops import (
    LRN,
    Activate,
    Activation,
    Add,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthToSpace,
    Div,
    Elementwise,
    Flatten,
    GlobalPool2D,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    Maximum,
    Minimum,
    Mul,
    Op,
    Pad,
    Pool2D,
    Power,
    PRelu,
    Resize,
    Softmax,
    SpaceToDepth,
    Sub,
    Upsample,
)
from cnngen.ops.conv2d import same_padding
from cnngen.ops.resampling import Resampling
from tests.graphs import Builder, Shape
from tests.op_cases import CASES

RELU = Activation("relu")
Padding = tuple[int, int, int, int]


def same(height: int, width: int, kernel: int, stride: int, *, dilation: int = 1, lower: bool = False) -> Padding:
    """SAME padding of one kernel size, stride and dilation on both axes."""
    top, bottom = same_padding(height, kernel, stride, dilation, lower)
    left, right = same_padding(width, kernel, stride, dilation, lower)
    return (top, bottom, left, right)


def conv_channels() -> Graph:
    """Odd numbers of channels on both sides: every vector tail, few-channel and planar kernels."""
    counts = (1, 3, 5, 17, 33)
    net = Builder({f"x{c}": (1, 6, 7, c) for c in counts}, name="conv_channels")
    outputs = [
        net.add(Conv2D(filters, (3, 3), padding=(1, 1, 1, 1)), f"x{channels}", name=f"c{channels}_o{filters}")
        for channels, filters in zip(counts, (17, 33, 1, 5, 3), strict=True)
    ]
    outputs += [
        net.add(Conv2D(filters, (1, 1), use_bias=False), f"x{channels}", name=f"pointwise_c{channels}_o{filters}")
        for channels, filters in ((33, 17), (17, 1), (5, 33), (1, 3))
    ]
    return net.graph(*outputs)


def conv_kernels() -> Graph:
    """Kernel sizes up to the whole input, strides beyond the kernel, paddings, dilations."""
    net = Builder((2, 11, 10, 4), name="conv_kernels")
    cases: dict[str, Conv2D] = {
        "k1_s2": Conv2D(9, (1, 1), (2, 2)),
        "k1_s3_stride_beyond_kernel": Conv2D(6, (1, 1), (3, 4)),
        "k2": Conv2D(8, (2, 2)),
        "k2_s3_stride_beyond_kernel": Conv2D(5, (2, 2), (3, 3), (1, 0, 0, 1)),
        "k3_same_s2": Conv2D(10, (3, 3), (2, 2), same(11, 10, 3, 2)),
        "k4_same_lower": Conv2D(8, (4, 4), padding=same(11, 10, 4, 1, lower=True)),
        "k5_asymmetric": Conv2D(7, (5, 5), padding=(0, 4, 3, 1)),
        "k7_s2": Conv2D(8, (7, 7), (2, 2), (3, 3, 3, 3), activation=RELU),
        "k1x5": Conv2D(6, (1, 5), padding=(0, 0, 2, 2)),
        "k3x1_s1x2": Conv2D(6, (3, 1), (1, 2)),
        "whole_input": Conv2D(12, (11, 10)),
        "whole_padded_input": Conv2D(3, (13, 12), padding=(1, 1, 1, 1)),
        "dilated_2x3": Conv2D(8, (3, 3), dilation=(2, 3)),
        "dilated_same": Conv2D(6, (3, 3), padding=same(11, 10, 3, 1, dilation=3), dilation=(3, 3)),
        "padding_beyond_kernel": Conv2D(4, (2, 2), padding=(3, 0, 0, 5)),
    }
    return net.graph(*(net.add(op, "x", name=name) for name, op in cases.items()))


def conv_groups() -> Graph:
    """Grouped and depthwise, with odd channels per group, multipliers, strides, dilations."""
    net = Builder({"x": (1, 7, 9, 12), "odd": (1, 7, 9, 21), "wide": (1, 5, 6, 17)}, name="conv_groups")
    cases: dict[str, tuple[str, Conv2D]] = {
        "groups2": ("x", Conv2D(10, (3, 3), groups=2)),
        "groups4": ("x", Conv2D(4, (2, 2), groups=4)),
        "groups3_of_7": ("odd", Conv2D(15, (3, 3), (2, 2), (1, 1, 1, 1), groups=3)),
        "groups7_pointwise": ("odd", Conv2D(14, (1, 1), groups=7, activation=RELU)),
        "depthwise": ("x", Conv2D(12, (3, 3), padding=(1, 1, 1, 1), groups=12)),
        "depthwise_17_s2": ("wide", Conv2D(17, (3, 3), (2, 2), (0, 1, 0, 1), groups=17, activation=RELU)),
        "depthwise_x2": ("wide", Conv2D(34, (3, 3), groups=17)),
        "depthwise_x3": ("x", Conv2D(36, (2, 2), padding=(1, 0, 1, 0), groups=12, use_bias=False)),
        "depthwise_dilated": ("odd", Conv2D(21, (3, 3), dilation=(2, 2), groups=21)),
        "depthwise_5x5": ("wide", Conv2D(17, (5, 5), padding=(2, 2, 2, 2), groups=17, activation=Activation("relu6"))),
    }
    return net.graph(*(net.add(op, source, name=name) for name, (source, op) in cases.items()))


def transposed() -> Graph:
    """Transposed convolutions: every tail, phases with equal, different and no taps, groups, into slice and halo."""
    net = Builder(
        {"x": (2, 4, 5, 5), "wide": (2, 3, 4, 19), "grey": (2, 6, 9, 1), "sum": (2, 6, 8, 9)}, name="transposed"
    )
    cases: dict[str, tuple[tuple[str, ...], Conv2DTranspose]] = {
        "doubled": (("wide",), Conv2DTranspose(33, (2, 2), (2, 2), activation=RELU)),
        "grey_doubled": (("grey",), Conv2DTranspose(3, (2, 2), (2, 2))),
        "k3_s2": (("x",), Conv2DTranspose(17, (3, 3), (2, 2), (1, 1, 1, 1), output_padding=(1, 0))),
        "k4_s2": (("wide",), Conv2DTranspose(1, (4, 4), (2, 2), (1, 1, 1, 1), use_bias=False)),
        "grey_k5x4_s1x3": (("grey",), Conv2DTranspose(8, (5, 4), (1, 3), (2, 0, 0, 1))),
        "stride_beyond_kernel": (("x",), Conv2DTranspose(9, (1, 2), (3, 3), output_padding=(2, 1), activation=RELU)),
        "gaps_without_bias": (("wide",), Conv2DTranspose(6, (3, 1), (2, 2), dilation=(2, 1), use_bias=False)),
        "dilated": (("x",), Conv2DTranspose(7, (3, 2), (2, 3), (1, 2, 3, 0), dilation=(3, 2))),
        "cropped_beyond_kernel": (("x",), Conv2DTranspose(4, (2, 2), (2, 1), (3, 0, 1, 2))),
        "depthwise": (("wide",), Conv2DTranspose(19, (3, 3), (2, 2), (1, 0, 0, 1), groups=19)),
        "multiplied": (("wide",), Conv2DTranspose(38, (2, 3), (2, 2), groups=19)),
        "residual_gaps": (("wide", "sum"), Conv2DTranspose(9, (2, 1), (2, 2), output_padding=(0, 1), residual=True)),
    }
    outputs = [net.add(op, *sources, name=name) for name, (sources, op) in cases.items()]
    half = net.add(Conv2DTranspose(6, (2, 2), (2, 2)), "x", name="half")
    other = net.add(Conv2DTranspose(5, (3, 3), (2, 2), (0, 1, 0, 1)), "x", name="other")
    joined = net.add(Concat(), half, other, name="joined")
    outputs.append(net.add(Conv2D(4, (3, 3), padding=(1, 1, 1, 1)), joined, name="convolved"))
    again = net.add(Conv2DTranspose(3, (3, 3), (2, 1), (1, 1, 1, 1)), half, name="again")
    return net.graph(*outputs, again)


def pools() -> Graph:
    """Maximum and average, ceil_mode, padding, dilation, global; channels that fill no vector."""
    net = Builder({"x": (2, 9, 10, 5), "wide": (2, 7, 7, 19)}, name="pools")
    cases: dict[str, tuple[str, Op]] = {
        "max": ("x", Pool2D("max", (2, 2), (2, 2))),
        "max_overlapping": ("wide", Pool2D("max", (3, 3), (2, 2))),
        "max_ceil": ("x", Pool2D("max", (3, 3), (2, 2), ceil_mode=True)),
        "max_ceil_padded": ("wide", Pool2D("max", (2, 2), (2, 2), (1, 1, 1, 1), ceil_mode=True)),
        "max_asymmetric": ("x", Pool2D("max", (3, 4), (1, 2), (2, 0, 1, 3))),
        "max_dilated": ("x", Pool2D("max", (2, 3), (1, 1), (1, 1, 0, 0), dilation=(3, 2))),
        "max_stride_beyond_kernel": ("wide", Pool2D("max", (1, 2), (3, 3))),
        "max_whole": ("wide", Pool2D("max", (7, 7), (1, 1))),
        "avg": ("x", Pool2D("avg", (2, 2), (2, 2))),
        "avg_3x3_padded": ("wide", Pool2D("avg", (3, 3), (2, 2), (1, 1, 1, 1))),
        "avg_counting_padding": ("wide", Pool2D("avg", (3, 3), (2, 2), (1, 1, 1, 1), count_include_pad=True)),
        "avg_ceil": ("x", Pool2D("avg", (2, 3), (2, 2), ceil_mode=True)),
        "avg_asymmetric": ("x", Pool2D("avg", (3, 3), (1, 1), (2, 0, 0, 1))),
        "global_max": ("x", GlobalPool2D("max")),
        "global_avg": ("wide", GlobalPool2D("avg")),
    }
    return net.graph(*(net.add(op, source, name=name) for name, (source, op) in cases.items()))


def upsampling() -> Graph:
    """Factors that differ, channels that fill no vector, one pixel, into a slice and into a halo."""
    net = Builder({"x": (2, 3, 4, 5), "wide": (2, 2, 3, 33), "pixel": (2, 1, 1, 19)}, name="upsampling")
    out = [
        net.add(Upsample(scale), source, name=f"{source}_{scale[0]}x{scale[1]}")
        for source, scale in [
            ("x", (2, 2)),
            ("x", (1, 3)),
            ("x", (4, 1)),
            ("wide", (2, 2)),
            ("wide", (3, 5)),
            ("pixel", (7, 6)),
        ]
    ]
    narrow = net.add(Conv2D(4, (1, 1)), "x", name="narrow")
    half = net.add(Upsample((2, 3)), narrow, name="half")
    rest = net.add(Upsample((2, 3)), "x", name="rest")
    out.append(net.add(Concat(), half, rest, name="joined"))
    inner = net.add(Upsample((3, 2)), "x", name="inner")
    out.append(net.add(Conv2D(6, (3, 3), padding=(1, 2, 0, 1)), inner, name="convolved"))
    return net.graph(*out)


def resizing() -> Graph:
    """Tables of one to many taps, one pixel, crops and blocks: into slices and halos, from slices and halos."""
    net = Builder({"x": (2, 5, 6, 5), "wide": (2, 4, 6, 36), "pixel": (2, 1, 1, 19)}, name="resizing")
    linear, cubic = Resampling("linear"), Resampling("cubic")
    cases: dict[str, tuple[str, Op]] = {
        "nearest": ("x", Resize((7, 4))),
        "linear": ("wide", Resize((7, 4), linear)),
        "linear_rows": ("x", Resize((3, 6), linear)),
        "linear_columns": ("wide", Resize((4, 9), linear)),
        "cubic": ("x", Resize((7, 9), cubic)),
        "cubic_of_a_pixel": ("pixel", Resize((3, 2), cubic)),
        "antialias": ("wide", Resize((3, 2), Resampling("linear", antialias=True))),
        "region": ("x", Resize((4, 4), Resampling("linear", "tf_crop_and_resize"), None, (-0.5, 0.25, 0.75, 1.0), 2.0)),
        "nothing_but_the_value": (
            "pixel", Resize((3, 2), Resampling("linear", "tf_crop_and_resize"), None, (1.5, 0.0, 2.0, 1.0), 2.0)
        ),
        "depth_to_space": ("wide", DepthToSpace(2)),
        "depth_to_space_crd": ("wide", DepthToSpace(3, "CRD")),
        "space_to_depth": ("wide", SpaceToDepth(2)),
        "space_to_depth_crd": ("wide", SpaceToDepth(2, "CRD")),
        "shuffled": ("wide", ChannelShuffle(4)),
        "wrapped": ("x", Pad((1, 2, 7, 0), "wrap")),
        "cropped": ("wide", Pad((-1, -1, 0, -2))),
        "more_channels": ("x", Pad((0, 1, -1, 0), value=1.5, channels=(3, 14))),
        "other_channels": ("wide", Pad((0, 0, 0, 0), channels=(-3, 2))),
    }  # fmt: skip
    out = [net.add(op, source, name=name) for name, (source, op) in cases.items()]
    narrow = net.add(Conv2D(8, (1, 1)), "x", name="narrow")
    parts = [
        net.add(op, source)
        for op, source in (
            (Resize((4, 6), linear), narrow),
            (Resize((4, 6)), "x"),
            (DepthToSpace(2), net.add(Pad((0, -3, 0, -3)), narrow)),
            (ChannelShuffle(2), net.add(Pad((-1, 0, 1, -1)), narrow)),
        )
    ]
    joined = net.add(Concat(), *parts, name="joined")
    out.append(joined)
    for name in (*parts, joined):
        out.append(net.add(Conv2D(4, (3, 3), padding=(1, 2, 0, 1)), name, name=f"{name}_convolved"))
    out.append(net.add(Resize((9, 3), linear), joined, name="resized_again"))
    out.append(net.add(SpaceToDepth(2), parts[0], name="deep"))
    out.append(net.add(ChannelShuffle(4), parts[0], name="shuffled_again"))
    out.append(net.add(Pad((2, -1, 1, 0), channels=(1, -2)), parts[0], name="padded_again"))
    return net.graph(*out)


def vectors_and_pointwise() -> Graph:
    """Dense layers, softmax, normalisations, additions, concatenation of unequal producers, one-pixel images."""
    net = Builder(
        {"x": (2, 4, 5, 7), "y": (2, 4, 5, 7), "pixel": (2, 1, 1, 19), "one": (2, 1, 1, 1), "v": (2, 37)},
        name="vectors_and_pointwise",
    )
    out = [net.add(Dense(units), "v", name=f"dense_{units}") for units in (1, 3, 10, 33)]
    out.append(net.add(Dense(17, use_bias=False, activation=RELU), "v", name="dense_relu"))
    out.append(net.add(Softmax(), "v", name="softmax_37"))
    out.append(net.add(Softmax(), "x", name="softmax_over_channels"))
    out.append(net.add(LogSoftmax(), "v", name="log_softmax_37"))
    out.append(net.add(LogSoftmax(), "x", name="log_softmax_over_channels"))
    out += [net.add(LRN(size, alpha=0.5, bias=2.0), "x", name=f"lrn_{size}") for size in (1, 3, 4, 5, 9)]
    out.append(net.add(BatchNorm(), "x", name="batch_norm"))
    out.append(net.add(BatchNorm(1e-3), "v", name="batch_norm_of_a_vector"))
    out.append(net.add(Add(), "x", "y", name="add"))
    out.append(net.add(Add(RELU), "x", "y", "x", name="add_three_relu"))
    out.append(net.add(Add(), "x", "x", name="doubled"))
    out.append(net.add(Concat(), "x", "y", "x", name="concat_inputs"))
    narrow = net.add(Conv2D(3, (3, 3), padding=(1, 1, 1, 1)), "x", name="narrow")
    pooled = net.add(Pool2D("max", (3, 3), (1, 1), (1, 1, 1, 1)), "y", name="pooled")
    wide = net.add(Conv2D(9, (1, 1)), "y", name="wide")
    out += [net.add(Concat(), narrow, pooled, wide, name="concat_unequal"), wide]
    out.append(net.add(Conv2D(5, (1, 1)), "pixel", name="one_pixel_conv"))
    out.append(net.add(Conv2D(3, (3, 3), padding=(1, 1, 1, 1)), "one", name="one_pixel_one_channel"))
    out.append(net.add(Pool2D("max", (3, 3), (2, 2), (1, 1, 1, 1)), "pixel", name="one_pixel_pool"))
    out.append(net.add(Flatten(), "x", name="flatten_hwc"))
    out.append(net.add(Flatten("chw"), "x", name="flatten_chw"))
    linear = net.add(Conv2D(7, (3, 3), padding=(1, 1, 1, 1)), "y", name="linear")
    total = net.add(Add(), linear, "x", name="residual_sum")
    out.append(net.add(Activate(RELU), total, name="residual"))
    return net.graph(*out)


def broadcasting() -> Graph:
    """Operands that lack any axes, on either side; channels that fill no vector; slices, halos; one pixel."""
    net = Builder(
        {
            "x": (2, 4, 5, 19), "gate": (2, 1, 1, 19), "mask": (2, 4, 5, 1), "row": (2, 1, 5, 19),
            "column": (2, 4, 1, 1), "number": (2, 1, 1, 1), "wide": (2, 3, 2, 133),
            "wide_gate": (2, 1, 1, 133), "v": (2, 37), "w": (2, 1),
        },
        name="broadcasting",
    )  # fmt: skip
    cases: dict[str, tuple[Elementwise, tuple[str, ...]]] = {
        "gated": (Mul(), ("x", "gate")),
        "gate_first": (Sub(), ("gate", "x")),
        "masked": (Mul(RELU), ("mask", "x")),
        "by_row": (Div(), ("x", "row")),
        "by_column": (Maximum(), ("x", "column")),
        "by_number": (Minimum(), ("number", "x", "gate")),
        "outer": (Add(), ("row", "column")),
        "outer_of_one_channel": (Mul(), ("mask", "column")),
        "four": (Add(RELU), ("x", "row", "mask", "number")),
        "long": (Mul(Activation("relu6")), ("wide", "wide_gate")),
        "long_first": (Div(), ("wide_gate", "wide")),
        "features": (Sub(), ("v", "w")),
        "features_first": (Div(), ("w", "v")),
        "whole": (Maximum(), ("x", "x")),
    }
    out = [net.add(op, *inputs, name=name) for name, (op, inputs) in cases.items()]
    out.append(net.add(PRelu(), "wide", name="prelu"))
    out.append(net.add(PRelu(), "v", name="prelu_of_a_vector"))
    inner = net.add(Mul(), "x", "gate", name="inner")
    out.append(net.add(Conv2D(6, (3, 3), padding=(1, 2, 0, 1)), inner, name="convolved"))
    part = net.add(Sub(), "x", "row", name="part")
    slopes = net.add(PRelu(), "x", name="slopes")
    out.append(net.add(Concat(), "mask", part, slopes, name="joined"))
    linear = net.add(Conv2D(19, (1, 1)), "x", name="linear")
    out.append(net.add(Add(), linear, "gate", name="no_residual"))
    return net.graph(*out)


FUNCTIONS = (
    Activation("relu"),
    Activation("relu6"),
    Activation("clip", -0.5, 0.75),
    Activation("leaky_relu", 0.1),
    Activation("sigmoid"),
    Activation("tanh"),
    Activation("hard_sigmoid", 0.2, 0.5),
    Activation("hard_swish"),
    Activation("silu"),
    Activation("elu", 1.0),
    Activation("selu"),
    Activation("gelu"),
    Activation("gelu_tanh"),
    Activation("mish"),
    Activation("softplus"),
    Activation("celu", 0.6),
    Activation("softsign"),
    Activation("thresholded_relu", 0.3),
    Activation("swish", 1.702),
)
"""Every activation function."""


def norms() -> Graph:
    """Sets of every form: channels that fill no vector, one pixel, wide groups; far from zero; into slice and halo."""
    net = Builder(
        {"x": (2, 5, 6, 12), "odd": (2, 3, 4, 21), "wide": (2, 2, 3, 131), "pixel": (2, 1, 1, 38), "v": (2, 37)},
        name="norms",
    )
    cases: dict[str, tuple[str, Op]] = {
        "instance": ("odd", InstanceNorm()),
        "instance_wide": ("wide", InstanceNorm(center=False, activation=RELU)),
        "instance_pixel": ("pixel", InstanceNorm()),
        "group": ("x", GroupNorm(groups=3)),
        "group_odd": ("odd", GroupNorm(groups=7, activation=Activation("silu"))),
        "group_many": ("wide", GroupNorm(scale=False, groups=131)),
        "group_one": ("wide", GroupNorm(groups=1)),
        "group_pixel": ("pixel", GroupNorm(groups=2)),
        "channels": ("x", LayerNorm()),
        "channels_odd": ("odd", LayerNorm(activation=Activation("gelu"))),
        "channels_wide": ("wide", LayerNorm(scale=False)),
        "image": ("odd", LayerNorm(axes="image")),
        "image_wide": ("wide", LayerNorm(axes="image", activation=RELU)),
        "image_pixel": ("pixel", LayerNorm(axes="image")),
        "features": ("v", LayerNorm()),
        "batch": ("odd", BatchNorm(activation=RELU)),
    }
    out = [net.add(op, source, name=name) for name, (source, op) in cases.items()]
    inner = net.add(GroupNorm(groups=4), "x", name="inner")
    out.append(net.add(Conv2D(4, (3, 3), padding=(1, 2, 0, 1)), inner, name="convolved"))
    half = net.add(InstanceNorm(), "x", name="half")
    rest = net.add(LayerNorm(), inner, name="rest")
    out.append(net.add(Concat(), half, rest, name="joined"))
    return net.graph(*out)


ELEMENTARY = (
    *(Activation(function) for function in ("exp", "log", "sqrt", "reciprocal", "square", "erf")),
    *(Activation(function) for function in ("abs", "neg", "floor", "ceil", "round", "sign")),
    *(Activation("pow", exponent) for exponent in (3.0, -2.0, 0.5, -0.5, 1.7, 21.0)),
)
"""Every elementary function, the power in all the ways it is computed."""


def activations() -> Graph:
    """Every activation function alone, and fused behind a convolution."""
    net = Builder({"x": (1, 3, 5, 7)}, name="activations")
    alone = [net.add(Activate(activation), "x", name=f"{activation}_alone") for activation in FUNCTIONS]
    fused = [
        net.add(Conv2D(5, (1, 1), activation=activation), "x", name=f"{activation}_fused") for activation in FUNCTIONS
    ]
    for function in ELEMENTARY:
        suffix = f"_{function.alpha:g}" if function.function == "pow" else ""
        alone.append(net.add(Activate(function), "x", name=f"{function}_alone{suffix}"))
        fused.append(net.add(Mul(function), "x", "x", name=f"{function}_fused{suffix}"))
    alone.append(net.add(Power(), "x", "x", name="pow_alone_of_itself"))
    return net.graph(*alone, *fused)


BATCH = 2


def other_ops() -> Graph:
    """The cases of every op that no network above holds, so that a new op is run from the first day."""
    tried = {type(node.op) for build in EDGES for node in build().nodes}
    cases = {name: case for name, case in CASES.items() if type(case.op) not in tried}
    inputs: dict[str, Shape] = {}
    reads = {}
    for name, case in cases.items():
        reads[name] = [f"{name}_x{position}" for position in range(len(case.shapes))]
        inputs |= {
            x: (BATCH, *shape[1:]) if len(shape) > 1 else shape
            for x, shape in zip(reads[name], case.shapes, strict=True)
        }
    net = Builder(inputs, name="other_ops")
    return net.graph(*(net.add(case.op, *reads[name], name=name) for name, case in cases.items()))


EDGES = (
    conv_channels,
    conv_kernels,
    conv_groups,
    transposed,
    pools,
    upsampling,
    resizing,
    vectors_and_pointwise,
    broadcasting,
    norms,
    activations,
)
NETWORKS: dict[str, Callable[[], Graph]] = {build.__name__: build for build in (*EDGES, other_ops)}
