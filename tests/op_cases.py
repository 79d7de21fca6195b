"""Every op in the forms that matter, with inputs and weights: what independent implementations are asked.

`CASES` maps a readable name to an op and the shapes of its inputs. `test_every_op_has_a_case` in
tests/unit/test_reference_ops.py fails for an op that is not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnngen.ir import Array, Graph, Node, TensorType
from cnngen.ops import (
    LRN,
    Activate,
    Activation,
    Add,
    ArgReduce,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Constant,
    Conv2D,
    Conv2DTranspose,
    Cut,
    Dense,
    DepthToSpace,
    Div,
    Expand,
    Flatten,
    GlobalPool2D,
    GroupNorm,
    Identity,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    MatMul,
    Maximum,
    Minimum,
    Mul,
    Op,
    Pad,
    Pool2D,
    Power,
    PRelu,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    SpaceToDepth,
    Sub,
    Transpose,
    Upsample,
    UpsampleBilinear,
)
from cnngen.ops.reduce import REDUCTIONS
from cnngen.ops.resampling import Resampling
from tests.graphs import SAME3, Builder, Shape

RELU = Activation("relu")
ACTIVATIONS = (
    Activation("relu"),
    Activation("relu6"),
    Activation("clip", -0.5, 1.25),
    Activation("leaky_relu", 0.125),
    Activation("sigmoid"),
    Activation("tanh"),
    Activation("hard_sigmoid", 0.25, 0.5),
    Activation("hard_swish"),
    Activation("silu"),
    Activation("elu", 0.5),
    Activation("selu"),
    Activation("gelu"),
    Activation("gelu_tanh"),
    Activation("mish"),
    Activation("softplus"),
    Activation("celu", 0.75),
    Activation("softsign"),
    Activation("thresholded_relu", 0.5),
    Activation("swish", 1.75),
)
"""Parameters are exact in float32, so that every implementation computes with the same ones."""


ELEMENTARY = (
    *(Activation(function) for function in ("exp", "log", "sqrt", "reciprocal", "square", "erf")),
    *(Activation(function) for function in ("abs", "neg", "floor", "ceil", "round", "sign")),
)
POWERS = (3.0, -2.0, 0.5, -0.5, 1.75, 21.0, 0.0)
"""Exponents of which each is computed in a way of its own."""
IMAGE = (2, 9, 8, 4)


@dataclass(frozen=True)
class Case:
    op: Op
    shapes: tuple[Shape, ...]


def _image(op: Op, shape: Shape = IMAGE, inputs: int = 1) -> Case:
    return Case(op, (shape,) * inputs)


RESIZED: dict[str, tuple[Resize, Shape]] = {
    "nearest": (Resize((13, 5)), IMAGE),
    "nearest_ceil": (Resize((4, 11), Resampling(coordinates="asymmetric", rounding="ceil")), IMAGE),
    "nearest_prefer_ceil": (Resize((6, 12), Resampling(rounding="round_prefer_ceil")), (2, 4, 8, 17)),
    "nearest_floor_corners": (Resize((5, 15), Resampling(coordinates="align_corners", rounding="floor")), IMAGE),
    "linear": (Resize((13, 5), Resampling("linear")), IMAGE),
    "linear_scales": (Resize((5, 12), Resampling("linear"), (0.625, 1.5)), IMAGE),
    "linear_corners": (Resize((17, 3), Resampling("linear", "align_corners")), (2, 9, 5, 19)),
    "linear_asymmetric": (Resize((12, 12), Resampling("linear", "asymmetric")), IMAGE),
    "linear_symmetric": (Resize((4, 9), Resampling("linear", "half_pixel_symmetric"), (0.5, 1.2)), IMAGE),
    "linear_to_one": (Resize((1, 1), Resampling("linear", "pytorch_half_pixel")), IMAGE),
    "linear_rows": (Resize((7, 8), Resampling("linear")), (2, 9, 8, 33)),
    "linear_columns": (Resize((9, 7), Resampling("linear")), (2, 9, 8, 33)),
    "linear_of_one": (Resize((3, 4), Resampling("linear")), (2, 1, 1, 19)),
    "linear_antialias": (Resize((3, 4), Resampling("linear", antialias=True)), IMAGE),
    "cubic": (Resize((13, 5), Resampling("cubic")), IMAGE),
    "cubic_corners": (Resize((5, 17), Resampling("cubic", "align_corners")), (2, 9, 5, 19)),
    "cubic_outside": (Resize((12, 20), Resampling("cubic", exclude_outside=True, cubic_coeff_a=-0.5)), (2, 4, 5, 3)),
    "cubic_antialias": (Resize((4, 5), Resampling("cubic", antialias=True)), IMAGE),
    "cubic_antialias_outside": (
        Resize((5, 3), Resampling("cubic", exclude_outside=True, antialias=True, cubic_coeff_a=-0.5)), IMAGE
    ),
    "region": (
        Resize((5, 7), Resampling("linear", "tf_crop_and_resize"), region=(0.25, 0.125, 0.75, 0.875)), IMAGE,
    ),
    "region_beyond": (
        Resize((6, 6), Resampling("linear", "tf_crop_and_resize"), None, (-0.5, 0.25, 0.75, 1.5), 2.5), (2, 5, 9, 17),
    ),
    "region_flipped": (
        Resize((17, 5), Resampling("nearest", "tf_crop_and_resize", "floor"), None, (1, 1.25, 0, 0.25), -1.0), IMAGE,
    ),
}  # fmt: skip


CASES: dict[str, Case] = {
    "conv_1x1": _image(Conv2D(5, (1, 1))),
    "conv_3x3_same": _image(Conv2D(5, (3, 3), padding=SAME3)),
    "conv_no_bias": _image(Conv2D(3, (2, 3), use_bias=False)),
    "conv_strides": _image(Conv2D(3, (3, 3), (2, 3))),
    "conv_stride_beyond_kernel": _image(Conv2D(3, (1, 2), (3, 3))),
    "conv_asymmetric_padding": _image(Conv2D(3, (3, 4), (2, 1), (0, 1, 2, 1))),
    "conv_padding_beyond_kernel": _image(Conv2D(2, (1, 1), padding=(2, 0, 1, 3))),
    "conv_dilation": _image(Conv2D(3, (3, 2), dilation=(2, 3), padding=(2, 2, 1, 1))),
    "conv_groups": _image(Conv2D(6, (3, 3), groups=2, padding=SAME3)),
    "conv_depthwise": _image(Conv2D(4, (3, 3), groups=4, padding=SAME3)),
    "conv_depthwise_multiplier": _image(Conv2D(8, (3, 3), (2, 2), groups=4)),
    "conv_whole_image": _image(Conv2D(3, (9, 8))),
    "conv_activation": _image(Conv2D(3, (3, 3), activation=RELU)),
    "conv_residual": Case(Conv2D(4, (3, 3), padding=SAME3, residual=True, activation=RELU), ((2, 9, 8, 4),) * 2),
    "transposed": _image(Conv2DTranspose(5, (2, 2), (2, 2))),
    "transposed_overlapping": _image(Conv2DTranspose(3, (3, 4), (2, 2), SAME3, use_bias=False)),
    "transposed_stride_1": _image(Conv2DTranspose(3, (3, 2))),
    "transposed_output_padding": _image(Conv2DTranspose(3, (3, 3), (2, 3), SAME3, output_padding=(1, 2))),
    "transposed_asymmetric": _image(Conv2DTranspose(3, (4, 3), (3, 2), (0, 2, 1, 0))),
    "transposed_dilation": _image(Conv2DTranspose(3, (3, 2), (2, 3), (1, 2, 3, 0), dilation=(3, 2))),
    # Stride and dilation have a factor in common: a row of the output that no tap reaches.
    "transposed_dilation_with_gaps": _image(Conv2DTranspose(3, (3, 3), (2, 4), dilation=(2, 2), activation=RELU)),
    "transposed_stride_beyond_kernel": _image(Conv2DTranspose(3, (1, 2), (3, 3), output_padding=(2, 1))),
    "transposed_padding_beyond_kernel": _image(Conv2DTranspose(2, (2, 2), (2, 1), (3, 0, 1, 2))),
    "transposed_groups": _image(Conv2DTranspose(6, (3, 3), (2, 2), groups=2)),
    "transposed_depthwise": _image(Conv2DTranspose(4, (3, 3), (2, 2), (1, 0, 0, 1), groups=4)),
    "transposed_depthwise_multiplier": _image(Conv2DTranspose(8, (2, 2), (2, 2), groups=4)),
    "transposed_residual": Case(
        Conv2DTranspose(3, (1, 2), (2, 2), output_padding=(1, 0), residual=True, activation=RELU),
        ((2, 4, 3, 5), (2, 8, 6, 3)),
    ),
    "max_pool": _image(Pool2D("max", (2, 2), (2, 2))),
    "max_pool_overlapping": _image(Pool2D("max", (3, 3), (2, 2), SAME3)),
    "max_pool_asymmetric": _image(Pool2D("max", (3, 2), (1, 2), (0, 2, 1, 0))),
    "max_pool_dilation": _image(Pool2D("max", (2, 3), (1, 1), (1, 1, 2, 2), dilation=(2, 2))),
    "max_pool_ceil": _image(Pool2D("max", (2, 3), (2, 2), ceil_mode=True)),
    "max_pool_ceil_drops_a_window": _image(Pool2D("max", (2, 2), (3, 3), (1, 1, 1, 1), ceil_mode=True)),
    "avg_pool": _image(Pool2D("avg", (3, 2), (2, 2))),
    "avg_pool_padding": _image(Pool2D("avg", (3, 3), (2, 2), SAME3)),
    "avg_pool_padding_counted": _image(Pool2D("avg", (3, 3), (2, 2), SAME3, count_include_pad=True)),
    "avg_pool_asymmetric": _image(Pool2D("avg", (3, 3), (2, 2), (0, 1, 2, 0))),
    "avg_pool_ceil": _image(Pool2D("avg", (2, 3), (2, 2), ceil_mode=True)),
    "avg_pool_ceil_counted": _image(
        Pool2D("avg", (3, 3), (3, 2), (1, 0, 1, 0), ceil_mode=True, count_include_pad=True), (2, 10, 9, 3)
    ),
    "avg_pool_dilation": _image(Pool2D("avg", (2, 2), (1, 2), dilation=(3, 2))),
    "lp_pool": _image(Pool2D("lp", (3, 2), (2, 2))),
    "lp_pool_padding": _image(Pool2D("lp", (3, 3), (2, 2), SAME3, order=3)),
    "lp_pool_of_magnitudes": _image(Pool2D("lp", (2, 3), (1, 1), (0, 1, 2, 0), order=1), (2, 5, 6, 19)),
    "lp_pool_ceil": _image(Pool2D("lp", (2, 3), (2, 2), ceil_mode=True, order=5)),
    "lp_pool_dilation": _image(Pool2D("lp", (2, 2), (1, 2), dilation=(3, 2))),
    "global_lp_pool": _image(GlobalPool2D("lp")),
    "global_lp_pool_of_four": _image(GlobalPool2D("lp", 4), (2, 3, 5, 9)),
    "global_avg_pool": _image(GlobalPool2D("avg")),
    "global_max_pool": _image(GlobalPool2D("max")),
    "dense": Case(Dense(6), ((3, 10),)),
    "dense_no_bias": Case(Dense(1, use_bias=False), ((1, 7),)),
    "dense_activation": Case(Dense(6, activation=RELU), ((3, 10),)),
    **{activation.function: _image(Activate(activation)) for activation in ACTIVATIONS},
    **{activation.function: _image(Activate(activation)) for activation in ELEMENTARY},
    **{f"pow_{exponent:g}": _image(Activate(Activation("pow", exponent))) for exponent in POWERS},
    "clip_above": _image(Activate(Activation("clip", -np.inf, 0.75))),
    "clip_below": _image(Activate(Activation("clip", -0.25, np.inf))),
    "prelu": _image(PRelu()),
    "prelu_of_features": Case(PRelu(), ((3, 10),)),
    "prelu_of_rows": Case(PRelu(), ((2, 5, 7),)),
    "activation_of_features": Case(Activate(Activation("tanh")), ((3, 10),)),
    "batch_norm": _image(BatchNorm()),
    "batch_norm_epsilon": _image(BatchNorm(epsilon=0.125)),
    "batch_norm_of_features": Case(BatchNorm(), ((3, 10),)),
    "batch_norm_of_rows": Case(BatchNorm(), ((2, 5, 7),)),
    "batch_norm_of_rank_5": Case(BatchNorm(), ((2, 3, 2, 4, 5),)),
    "instance_norm": _image(InstanceNorm()),
    "instance_norm_plain": _image(InstanceNorm(0.25, scale=False, center=False), (2, 5, 3, 19)),
    "instance_norm_pixel": _image(InstanceNorm(scale=False), (2, 1, 1, 5)),
    "group_norm": _image(GroupNorm(groups=2)),
    "group_norm_of_three": _image(GroupNorm(1e-3, center=False, groups=5), (2, 4, 3, 15)),
    "group_norm_one": _image(GroupNorm(groups=1), (3, 3, 5, 7)),
    "group_norm_each": _image(GroupNorm(groups=9), (2, 3, 4, 9)),
    "group_norm_wide": _image(GroupNorm(groups=2), (2, 3, 2, 70)),
    "group_norm_pixel": _image(GroupNorm(groups=3), (2, 1, 1, 21)),
    "group_norm_of_features": Case(GroupNorm(scale=False, groups=2), ((3, 10),)),
    "group_norm_of_rows": Case(GroupNorm(groups=3), ((2, 4, 6),)),
    "group_norm_of_rank_5": Case(GroupNorm(groups=2), ((2, 3, 2, 4, 6),)),
    "layer_norm": _image(LayerNorm()),
    "layer_norm_wide": _image(LayerNorm(1e-3, center=False), (2, 2, 3, 37)),
    "layer_norm_one_channel": _image(LayerNorm(), (2, 3, 2, 1)),
    "layer_norm_of_features": Case(LayerNorm(), ((3, 10),)),
    "layer_norm_swish": _image(LayerNorm(activation=Activation("swish", 1.75))),
    "group_norm_swish": _image(GroupNorm(groups=2, activation=Activation("swish", 1.75))),
    "layer_norm_of_rows": Case(LayerNorm(), ((2, 5, 7),)),
    "layer_norm_of_rank_5": Case(LayerNorm(), ((2, 3, 2, 4, 5),)),
    "layer_norm_plain": Case(LayerNorm(scale=False, center=False), ((3, 48),)),
    "layer_norm_image": _image(LayerNorm(axes="image")),
    "layer_norm_image_of_rows": Case(LayerNorm(axes="image"), ((2, 5, 7),)),
    "layer_norm_image_of_rank_5": Case(LayerNorm(axes="image"), ((2, 3, 2, 4, 5),)),
    "layer_norm_image_wide": _image(LayerNorm(0.5, scale=False, axes="image"), (2, 3, 2, 67)),
    "layer_norm_image_scale": _image(LayerNorm(center=False, axes="image"), (1, 2, 7, 5)),
    "layer_norm_image_pixel": _image(LayerNorm(axes="image"), (2, 1, 1, 18)),
    "lrn": _image(LRN(), (2, 4, 3, 12)),
    # As many images as channels: the loop over channels in ONNX's reference runs over the batch size.
    "lrn_even": _image(LRN(4, 0.5, 0.75, 2.0), (7, 3, 2, 7)),
    "lrn_wider_than_channels": _image(LRN(9, 0.25, 0.5, 1.0)),
    "add": _image(Add(), inputs=2),
    "add_three": _image(Add(activation=RELU), inputs=3),
    "add_channels": Case(Add(), (IMAGE, (2, 1, 1, 4))),
    "add_all_ways": Case(Add(RELU), ((2, 9, 1, 4), (2, 1, 8, 1), IMAGE, (2, 1, 1, 1))),
    "add_features": Case(Add(), ((3, 10), (3, 1))),
    "sub": _image(Sub(), inputs=2),
    "sub_rows": Case(Sub(RELU), ((2, 9, 1, 1), IMAGE)),
    "mul": _image(Mul(), inputs=2),
    "mul_gate": Case(Mul(), (IMAGE, (2, 1, 1, 4))),
    "mul_mask": Case(Mul(), ((2, 9, 8, 1), IMAGE)),
    "mul_three": Case(Mul(Activation("relu6")), (IMAGE, (2, 1, 8, 4), (2, 9, 8, 1))),
    "mul_features": Case(Mul(), ((3, 1), (3, 10))),
    "div": _image(Div(), inputs=2),
    "div_channels": Case(Div(Activation("tanh")), (IMAGE, (2, 1, 1, 4))),
    "div_of_one": Case(Div(), ((2, 1, 1, 1), IMAGE)),
    "power": _image(Power(), inputs=2),
    "power_channels": Case(Power(RELU), (IMAGE, (2, 1, 1, 4))),
    "maximum": _image(Maximum(), inputs=2),
    "maximum_columns": Case(Maximum(), (IMAGE, (2, 1, 8, 1), IMAGE)),
    "minimum": _image(Minimum(), inputs=2),
    "minimum_pixel": Case(Minimum(RELU), ((2, 1, 1, 4), IMAGE)),
    "concat": Case(Concat(), ((2, 3, 4, 5), (2, 3, 4, 1), (2, 3, 4, 2))),
    "concat_rows": Case(Concat(1), ((2, 3, 4, 5), (2, 2, 4, 5))),
    "concat_of_rank_3": Case(Concat(1), ((2, 3, 4), (2, 1, 4), (2, 3, 4))),
    "concat_features": Case(Concat(), ((2, 5), (2, 3))),
    "flatten_hwc": _image(Flatten("hwc")),
    "flatten_chw": _image(Flatten("chw")),
    "flatten_features": Case(Flatten("chw"), ((2, 5),)),
    "transpose_to_hwc": _image(Transpose((0, 2, 3, 1))),
    "transpose_to_chw": _image(Transpose((0, 3, 1, 2))),
    "upsample": _image(Upsample((2, 2))),
    "upsample_rows_and_columns": _image(Upsample((3, 2))),
    "upsample_nothing": _image(Upsample((1, 1))),
    "upsample_bilinear": _image(UpsampleBilinear((2, 2))),
    "upsample_bilinear_odd": _image(UpsampleBilinear((3, 5))),
    "upsample_bilinear_rows": _image(UpsampleBilinear((4, 1))),
    "upsample_bilinear_pixel": _image(UpsampleBilinear((2, 3)), (2, 1, 1, 19)),
    "upsample_bilinear_wide": _image(UpsampleBilinear((1, 2)), (2, 3, 4, 33)),
    **{f"resize_{name}": Case(op, (shape,)) for name, (op, shape) in RESIZED.items()},
    "depth_to_space": _image(DepthToSpace(2)),
    "depth_to_space_crd": _image(DepthToSpace(2, "CRD"), (2, 3, 4, 20)),
    "depth_to_space_wide": _image(DepthToSpace(3), (2, 2, 3, 153)),
    "space_to_depth": _image(SpaceToDepth(2), (2, 6, 4, 3)),
    "space_to_depth_crd": _image(SpaceToDepth(2, "CRD"), (2, 6, 4, 17)),
    "space_to_depth_pixel": _image(SpaceToDepth(3), (2, 3, 3, 19)),
    "channel_shuffle": _image(ChannelShuffle(2)),
    "channel_shuffle_odd": _image(ChannelShuffle(3), (2, 3, 4, 51)),
    "pad_crop": _image(Pad((-1, -2, 0, -3))),
    "pad_crop_and_pad": _image(Pad((-2, 3, 1, -1), value=0.5)),
    "pad_crop_and_reflect": _image(Pad((-2, 3, 2, -1), "reflect")),
    "pad_crop_and_edge": _image(Pad((1, -4, -3, 2), "edge"), (2, 6, 7, 17)),
    "pad_wrap": _image(Pad((2, 1, 0, 3), "wrap")),
    "pad_wrap_twice": _image(Pad((5, 0, 7, 8), "wrap"), (2, 2, 3, 9)),
    "pad_crop_and_wrap": _image(Pad((-1, 2, 3, -2), "wrap")),
    "pad_channels": _image(Pad((0, 0, 0, 0), channels=(2, 1))),
    "pad_channels_value": _image(Pad((1, 0, 0, -2), value=-1.5, channels=(0, 5)), (2, 3, 4, 17)),
    "pad_channels_cropped": _image(Pad((0, 0, 0, 0), channels=(-3, 2)), (2, 3, 4, 17)),
    "pad_zero": _image(Pad((1, 0, 2, 3))),
    "pad_value": _image(Pad((2, 1, 0, 1), value=-0.5), (2, 3, 4, 17)),
    "pad_reflect": _image(Pad((2, 1, 0, 3), "reflect")),
    "pad_reflect_whole": _image(Pad((3, 3, 2, 2), "reflect"), (2, 4, 3, 19)),
    "pad_edge": _image(Pad((2, 0, 1, 5), "edge")),
    "pad_edge_pixel": _image(Pad((2, 1, 1, 3), "edge"), (2, 1, 1, 33)),
    "reshape_hwc": _image(Reshape((4, 12, 6), "hwc")),
    "reshape_chw": _image(Reshape((4, 12, 6), "chw")),
    "reshape_of_features": Case(Reshape((2, 3, 5), "hwc"), ((2, 30),)),
    "reshape_of_features_chw": Case(Reshape((2, 3, 5), "chw"), ((2, 30),)),
    "softmax": Case(Softmax(), ((3, 10),)),
    "softmax_of_image": _image(Softmax()),
    "softmax_of_rows": Case(Softmax(), ((2, 5, 7),)),
    "softmax_of_rank_6": Case(Softmax(), ((1, 4, 2, 3, 2, 3),)),
    "log_softmax": Case(LogSoftmax(), ((3, 10),)),
    "log_softmax_of_image": _image(LogSoftmax()),
    "log_softmax_of_rows": Case(LogSoftmax(), ((2, 5, 7),)),
    "transpose_of_rank_3": Case(Transpose((2, 0, 1)), ((2, 3, 5),)),
    "transpose_of_rank_5": Case(Transpose((4, 1, 3, 0, 2)), ((2, 3, 4, 5, 6),)),
    "transpose_to_any": _image(Transpose((3, 1, 0, 2))),
    "reshape_to_rank_5": _image(Reshape((3, 3, 16, 2))),
    "reshape_whole": Case(Reshape((6, 5), whole=True), ((2, 3, 5),)),
    "slice": _image(Slice((Cut(1, 2, 3, 2), Cut(3, 1, 1, 2)))),
    "slice_backwards": _image(Slice((Cut(2, 7, -1, 8), Cut(3, 3, -2, 2)))),
    "slice_of_rank_3": Case(Slice((Cut(1, 4, -1, 4), Cut(2, 1, 2, 3))), ((2, 5, 7),)),
    "expand": Case(Expand((4, 1, 5)), ((2, 4, 3, 1),)),
    "expand_to_higher_rank": Case(Expand((3, 1, 2)), ((4, 1),)),
    "constant": Case(Constant((2, 3)), ()),
    **{f"reduce_{name}": _image(Reduce(name, (1, 2))) for name in REDUCTIONS if name != "log_sum"},
    "reduce_of_rank_3": Case(Reduce("l2", (2,), False), ((2, 3, 40),)),
    "reduce_everything": _image(Reduce("mean", (0, 1, 2, 3), False)),
    "arg_max": _image(ArgReduce("max", 3)),
    "arg_max_last": Case(ArgReduce("max", 1, False, True), ((2, 7, 3),)),
    "arg_min": Case(ArgReduce("min", 0, False), ((4, 5),)),
    "matmul": Case(MatMul(), ((3, 4, 5), (3, 5, 6))),
    "matmul_of_images": Case(MatMul(), ((2, 3, 4, 5), (2, 1, 5, 2))),
    "matmul_vector": Case(MatMul(), ((3, 4, 5), (5,))),
    "add_image_to_rank_5": Case(Add(), ((2, 3, 2, 4, 5), (3, 1, 4, 5))),
    "add_of_ranks": Case(Add(), ((3, 4, 5), (5,))),
    "identity": _image(Identity()),
}


def build(case: Case, seed: int = 0) -> tuple[Node, list[Array]]:
    """The case as a node with float32 weights, and float32 inputs."""
    graph, inputs = build_graph(case, seed)
    return graph.nodes[0], inputs


def build_graph(case: Case, seed: int = 0) -> tuple[Graph, list[Array]]:
    """The case as a graph of the one node `y`, and float32 inputs."""
    net = Builder({f"x{i}": shape for i, shape in enumerate(case.shapes)}, seed=seed)
    net.add(case.op, *(f"x{i}" for i in range(len(case.shapes))), name="y")
    rng = np.random.default_rng(seed + 1)
    inputs = [np.asarray(2 * rng.standard_normal(shape), np.float32) for shape in case.shapes]
    return net.graph(), inputs


def types(case: Case) -> list[TensorType]:
    return [TensorType(shape) for shape in case.shapes]
