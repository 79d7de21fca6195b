"""Receptive fields: published figures, edge cases, and the support of the gradient as the witness."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cnngen.analysis.lint import lint
from cnngen.analysis.receptive_field import (
    NOTHING,
    AxisField,
    Path,
    ReceptiveField,
    image_axes,
    joined,
    receptive_fields,
    slid,
)
from cnngen.errors import ShapeError
from cnngen.ir import Graph
from cnngen.ops import (
    LRN,
    Activate,
    Add,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Flatten,
    GlobalPool2D,
    Op,
    Pad,
    Pool2D,
    Reshape,
    Resize,
    Softmax,
    SpaceToDepth,
    Transpose,
    Upsample,
    UpsampleBilinear,
    Window,
)
from cnngen.ops.resampling import Resampling
from cnngen.passes import optimise
from cnngen.reference import reference
from tests.graphs import (
    RELU,
    SAME3,
    Builder,
    chain,
    channels_first,
    encoder_decoder,
    inception,
    lenet,
    residual,
    separable,
    style_transfer,
    transposed_decoder,
    two_inputs,
)


def last_field(graph: Graph) -> ReceptiveField:
    return receptive_fields(graph)[graph.outputs[0]]["x"]


def figures(field: ReceptiveField) -> tuple[int, int, float, int]:
    """Size, jump, centre of the first element, padding at the beginning; along the height."""
    axis = field.height
    return axis.size, axis.jump, axis.centre, axis.padding[0]


# ---------------------------------------------------------------------------------- published figures


def test_alexnet_as_published() -> None:
    """Araujo et al., table 1, alexnet_v2: size 195, stride 32, padding 64."""
    pool = Pool2D("max", (3, 3), (2, 2))
    graph = chain(
        (1, 231, 231, 1),
        Conv2D(1, (11, 11), (4, 4)),
        pool,
        Conv2D(1, (5, 5), padding=(2, 2, 2, 2)),
        pool,
        *[Conv2D(1, (3, 3), padding=SAME3)] * 3,
        pool,
    )
    assert figures(last_field(graph)) == (195, 32, 33.0, 64)


def test_vgg16_as_published() -> None:
    """Araujo et al., table 1, vgg_16: size 212, stride 32, padding 90."""
    layers: list[Op] = []
    for convolutions in (2, 2, 3, 3, 3):
        layers += [Conv2D(1, (3, 3), padding=SAME3)] * convolutions
        layers.append(Pool2D("max", (2, 2), (2, 2)))
    field = last_field(chain((1, 224, 224, 1), *layers))
    assert figures(field) == (212, 32, 15.5, 90)
    assert field.height.padding == (90, 90)
    assert not field.sees_everything


def test_resnet50_as_published() -> None:
    """Araujo et al., table 1, resnet_v1_50: size 483, stride 32 (stride in each block's last unit)."""
    net = Builder((1, 225, 225, 1))
    net.add(Conv2D(1, (7, 7), (2, 2), (3, 3, 3, 3)))
    state = net.add(Pool2D("max", (3, 3), (2, 2), SAME3))
    for units, last_stride in ((3, 2), (4, 2), (6, 2), (3, 1)):
        for unit in range(units):
            stride = last_stride if unit == units - 1 else 1
            net.add(Conv2D(1, (1, 1)), state)
            main = net.add(Conv2D(1, (3, 3), (stride, stride), SAME3))
            shortcut = net.add(Pool2D("max", (1, 1), (stride, stride)), state)
            state = net.add(Add(), main, shortcut)
    field = last_field(net.graph())
    assert field.clear
    assert (field.height.size, field.height.jump) == (483, 32)


def test_lenet_by_hand() -> None:
    graph = lenet()
    fields = [receptive_fields(graph)[node.name]["x"] for node in graph.nodes]
    seen = {node.name: figures(field) for node, field in zip(graph.nodes, fields, strict=True)}
    assert seen["conv2d_0"] == (5, 1, 0.0, 2)
    assert seen["max_pool_2"] == (6, 2, 0.5, 2)
    assert seen["conv2d_3"] == (14, 2, 4.5, 2)
    assert seen["max_pool_5"] == (16, 4, 5.5, 2)
    assert seen["flatten_6"] == (16, 4, 5.5, 2)
    assert seen["dense_7"] == (28, 0, 13.5, 0)
    assert fields[5].spatial
    assert not fields[6].spatial
    assert [field.sees_everything for field in fields] == [False] * 7 + [True] * 4


# ------------------------------------------------------------------------------------------ edge cases


def test_intervals_ignore_borders_and_supports_respect_them() -> None:
    axis = last_field(chain((1, 8, 8, 1), Conv2D(1, (3, 3), padding=SAME3))).height
    assert (axis.interval(0), axis.support(0)) == ((-1, 1), (0, 1))
    assert (axis.interval(7), axis.support(7)) == ((6, 8), (6, 7))


def test_padding_of_a_later_layer_does_not_reveal_cropped_pixels() -> None:
    """8 pixels, stride 2, kernel 3: pixel 7 is read by nothing, whatever comes behind and pads."""
    axis = last_field(chain((1, 8, 8, 1), Conv2D(1, (3, 3), (2, 2)), Conv2D(1, (3, 3), padding=SAME3))).height
    assert axis.interval(2) == (2, 8)
    assert axis.support(2) == (2, 6)


def test_a_window_in_the_padding_sees_nothing() -> None:
    axis = last_field(chain((1, 4, 4, 1), Conv2D(1, (1, 1), padding=(2, 0, 0, 0)))).height
    assert [axis.support(index) for index in range(3)] == [None, None, (0, 0)]
    assert axis.largest == 1


def test_axes_are_independent() -> None:
    field = last_field(chain((1, 20, 30, 1), Conv2D(1, (3, 5), (2, 1), (1, 0, 2, 2), dilation=(1, 3))))
    assert (field.height.size, field.height.jump, field.height.centre) == (3, 2, 0.0)
    assert (field.width.size, field.width.jump, field.width.centre) == (13, 1, 4.0)


@pytest.mark.parametrize("op", [RELU, BatchNorm(), LRN(), Softmax()])
def test_pointwise_ops_leave_fields_alone(op: Op) -> None:
    graph = chain((1, 9, 9, 2), Conv2D(2, (3, 3), (2, 2)), op)
    fields = receptive_fields(graph)
    assert figures(fields[op.kind + "_1"]["x"]) == figures(fields["conv2d_0"]["x"])


@pytest.mark.parametrize("ops", [[GlobalPool2D("avg")], [Flatten(), Dense(2)], [Flatten(), Softmax()]])
def test_ops_that_see_everything(ops: list[Op]) -> None:
    field = last_field(chain((1, 9, 7, 2), Conv2D(2, (3, 3), padding=SAME3), *ops))
    assert field.sees_everything
    assert (field.height.size, field.width.size, field.height.jump) == (9, 7, 0)


def test_everything_of_a_cropped_tensor_is_not_the_whole_input() -> None:
    field = last_field(chain((1, 8, 8, 1), Conv2D(1, (3, 3), (2, 2)), GlobalPool2D("avg")))
    assert not field.sees_everything
    assert field.height.support(0) == (0, 6)


def test_layers_behind_global_pooling_keep_its_field() -> None:
    field = last_field(chain((1, 6, 6, 2), GlobalPool2D("avg"), Conv2D(3, (3, 3), padding=SAME3)))
    assert (field.height.size, field.height.jump, field.sees_everything) == (6, 0, True)


def test_paths_that_disagree_in_jump_are_flagged_and_united() -> None:
    net = Builder((1, 9, 9, 1))
    strided = net.add(Conv2D(1, (3, 3), (3, 3)), "x")
    cropped = net.add(Conv2D(1, (7, 7)), "x")
    net.add(Add(), strided, cropped)
    axis = last_field(net.graph()).height
    assert not axis.clear
    assert axis.jump == 3
    assert [axis.interval(index) for index in range(3)] == [(0, 6), (1, 7), (2, 8)]
    assert [axis.support(index) for index in range(3)] == [(0, 6), (1, 7), (2, 8)]


def test_jumps_of_a_single_position_never_disagree() -> None:
    net = Builder((1, 4, 4, 1))
    net.add(Add(), net.add(Conv2D(1, (4, 4), (4, 4)), "x"), net.add(GlobalPool2D("max"), "x"))
    assert last_field(net.graph()).clear


def test_residual_operand_of_a_fused_convolution_is_pointwise() -> None:
    plain, fused = residual(), optimise(residual())
    a, b = receptive_fields(plain), receptive_fields(fused)
    for node in fused.nodes:
        assert figures(a[node.name]["x"]) == figures(b[node.name]["x"]), node.name


def test_each_input_has_fields_of_its_own() -> None:
    fields = receptive_fields(two_inputs())
    assert fields["both"]["image"].height.size == 2
    assert fields["both"]["depth"].height.size == 3
    assert set(fields["conv2d_0"]) == {"image"}


def test_an_input_of_rank_two_has_no_field() -> None:
    graph = chain((1, 6), Dense(3))
    assert receptive_fields(graph) == {"x": {}, "dense_0": {}}


def test_channels_first_input_has_its_own_axes() -> None:
    graph = channels_first()
    assert image_axes(graph, "x") == (2, 3)
    fields = receptive_fields(graph)
    assert (fields["maps"]["x"].height.extent, fields["maps"]["x"].width.extent) == (8, 6)
    assert (fields["maps"]["x"].height.size, fields["maps"]["x"].height.positions) == (3, 8)


# ---------------------------------------------------------------------------------- fractional jumps


def stack(windows: list[Window], positions: int = 60) -> AxisField:
    """The field along the height behind `windows`, all tensors taken as so many positions large."""
    pixels = np.arange(positions)
    field = AxisField(positions, (Path(1, (0,), (0,)),), pixels, pixels)
    for window in windows:
        field = slid(field, window, 0, positions)
    return field


def pixels_seen(windows: list[Window], index: int) -> set[int]:
    """The pixels of an endless image that element `index` sees, by following every tap back."""
    seen = {index}
    for window in reversed(windows):
        taps = [tap * window.dilation[0] - window.padding[0] for tap in range(window.kernel[0])]
        read = [divmod(element * window.stride[0] + tap, window.repeat[0]) for element in seen for tap in taps]
        seen = {element for element, rest in read if rest == 0 or not window.zeros_between}
    return seen


def along_height(
    kernel: int = 1, stride: int = 1, dilation: int = 1, padding: int = 0, repeat: int = 1, zeros: bool = False
) -> Window:
    return Window((kernel, 1), (stride, 1), (dilation, 1), (padding, 0, 0, 0), (repeat, 1), zeros)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.builds(
            along_height,
            kernel=st.integers(1, 3),
            stride=st.integers(1, 4),
            dilation=st.integers(1, 3),
            padding=st.integers(0, 5),
            repeat=st.integers(1, 4),
            zeros=st.booleans(),
        ),
        max_size=5,
    )
)
def test_intervals_are_the_pixels_that_taps_reach(windows: list[Window]) -> None:
    field = stack(windows)
    sizes = []
    for index in range(-7, field.positions):
        seen = pixels_seen(windows, index)
        first, last = field.interval(index)
        assert (first, last) == (min(seen, default=NOTHING), max(seen, default=-NOTHING))
        sizes.append(max(last - first + 1, 0))
    assert field.size == max(sizes[7:])
    assert field.jump == prod(Fraction(window.stride[0], window.repeat[0]) for window in windows)


def test_upsampling_divides_the_jump() -> None:
    """A 3x3 kernel on pixels doubled: it sees two of the old ones, whichever way the window stands."""
    field = stack([along_height(repeat=2), along_height(3, padding=1)])
    assert field.jump == Fraction(1, 2)
    assert [field.interval(index) for index in range(4)] == [(-1, 0), (0, 1), (0, 1), (1, 2)]
    assert field.size == 2


def test_a_transposed_convolution_divides_the_jump() -> None:
    """Kernel 3, stride 2: odd elements meet two of the input, even ones (but for the padding) one tap of one."""
    field = last_field(chain((1, 5, 5, 1), Conv2DTranspose(1, (3, 3), (2, 2), SAME3))).height
    assert (field.jump, field.size, field.positions) == (Fraction(1, 2), 2, 9)
    assert [field.interval(index) for index in range(5)] == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)]
    assert field.support(8) == (4, 4)


def test_elements_that_no_tap_reaches_see_nothing() -> None:
    """Kernel 1, stride 3: two of three elements hold the bias alone; a 3x3 kernel behind it sees one each."""
    fields = receptive_fields(
        chain((1, 3, 3, 1), Conv2DTranspose(1, (1, 1), (3, 3)), Conv2D(1, (3, 3), padding=SAME3), Conv2D(1, (2, 2)))
    )
    gaps, filled, wide = (fields[name]["x"].height for name in ("conv2d_transpose_0", "conv2d_1", "conv2d_2"))
    assert [gaps.support(index) for index in range(4)] == [(0, 0), None, None, (1, 1)]
    assert (gaps.size, gaps.centre, gaps.padding, gaps.jump) == (1, 0.0, (0, 0), Fraction(1, 3))
    assert [filled.support(index) for index in range(4)] == [(0, 0), (0, 0), (1, 1), (1, 1)]
    assert [wide.interval(index) for index in range(4)] == [(0, 0), (0, 1), (1, 1), (1, 1)]


def test_a_first_element_that_sees_nothing_has_the_centre_that_its_neighbour_implies() -> None:
    field = last_field(chain((1, 4, 4, 1), Conv2DTranspose(1, (1, 1), (2, 2), (1, 0, 1, 0)))).height
    assert field.support(0) is None
    assert field.interval(1) == (1, 1)
    assert field.centre == 0.5


def test_jumps_of_pooling_and_upsampling_cancel() -> None:
    down, up = along_height(2, stride=2), along_height(repeat=2)
    field = stack([down, up])
    assert (field.jump, field.size) == (1, 2)
    assert [field.interval(index) for index in range(4)] == [(0, 1), (0, 1), (2, 3), (2, 3)]
    skip = joined(field, stack([]))
    assert skip.clear
    assert [skip.interval(index) for index in range(4)] == [(0, 1), (0, 1), (2, 3), (2, 3)]


def test_paths_of_one_fractional_jump_and_different_periods_unite() -> None:
    halves = stack([along_height(repeat=2)])
    quarters = stack([along_height(3, stride=2), along_height(repeat=4)])
    field = joined(halves, quarters)
    assert (field.jump, field.clear) == (Fraction(1, 2), True)
    assert [field.interval(index) for index in range(6)] == [(0, 2), (0, 2), (0, 2), (0, 2), (2, 4), (2, 4)]
    assert field.size == 3


def test_skips_of_an_encoder_and_decoder_agree_in_jump() -> None:
    graph = encoder_decoder()
    fields = {name: field["x"] for name, field in receptive_fields(graph).items()}
    assert [fields[name].width.jump for name in ("fine", "middle", "coarse", "map")] == [1, 2, 6, 1]
    assert [fields["enlarged"].height.jump, fields["enlarged"].width.jump] == [Fraction(1, 3), Fraction(1, 2)]
    assert all(field.clear for field in fields.values())
    assert not [warning for warning in lint(graph) if warning.code == "mixed-jumps"]


def test_a_period_without_end_is_given_as_what_all_positions_see() -> None:
    """Two thirds again and again: the jump is (3 / 2)^n, the period 2^n."""
    field = stack([along_height(stride=3, repeat=2)] * 40)
    assert field.jump == 0
    assert all(path.period == 1 for path in field.paths)
    first, last = field.interval(0)
    for low, high in filter(None, map(field.support, range(field.positions))):
        assert first <= low <= high <= last


# ------------------------------------------------------------------------------------------ the witness


def gradient_support(graph: Graph) -> dict[str, np.ndarray]:
    """For each tensor of rank 4 which pixels move it: booleans of (height, width, rows, columns).

    One pixel of the input at a time is raised from zero. All weights are positive, so nothing cancels,
    and averages stand for maxima, whose gradient reaches only the winner. Tensors are seen with the
    axes (batch, height, width, channels), whatever the graph's own order.
    """
    nodes = tuple(
        replace(node, op=replace(node.op, reduction="avg", count_include_pad=True))
        if isinstance(node.op, Pool2D)
        else replace(node, op=GlobalPool2D("avg"))
        if isinstance(node.op, GlobalPool2D)
        else node
        for node in graph.nodes
    )
    first = image_axes(graph, "x") == (2, 3)
    _, *image = graph.types["x"].shape
    height, width = (image[1], image[2]) if first else (image[0], image[1])
    x = np.zeros((height * width + 1, *image))
    for pixel in range(height * width):
        x[(pixel, slice(None), *divmod(pixel, width)) if first else (pixel, *divmod(pixel, width))] = 1
    moved = {}
    for name, tensor in reference(replace(graph, nodes=nodes), x, keep=True).items():
        if tensor.ndim != 4:
            continue
        change = tensor[:-1] - tensor[-1:]
        channels = 1 if first and name in ("x", *graph.outputs) else 3
        depends = (np.abs(change) > 1e-9).any(axis=channels)
        moved[name] = depends.reshape(height, width, *depends.shape[1:])
    return moved


def assert_witnessed(graph: Graph) -> None:
    fields = receptive_fields(graph)
    for name, moved in gradient_support(graph).items():
        for axis, field in enumerate(fields[name]["x"].axes):
            by_position = moved.any(axis=(1 - axis, 3 - axis))  # (pixels along the axis, positions)
            for index in range(field.positions):
                pixels = np.flatnonzero(by_position[:, index])
                if not len(pixels):
                    assert field.support(index) is None, (name, axis, index)
                    continue
                assert field.support(index) == (pixels[0], pixels[-1]), (name, axis, index)
                first, last = field.interval(index)
                # A mirrored or repeated border is beyond the image that has no borders.
                borders = any(
                    isinstance(node.op, Resize) or (isinstance(node.op, Pad) and node.op.mode != "constant")
                    for node in graph.nodes
                )
                assert borders or first <= pixels[0] <= pixels[-1] <= last


def positive(graph: Graph) -> Graph:
    """Weights of absolute value, and no activation that a positive number would not pass."""
    nodes = tuple(
        replace(node, weights={role: np.abs(array) + np.float32(0.1) for role, array in node.weights.items()})
        for node in graph.nodes
        if not isinstance(node.op, Activate | BatchNorm)
    )
    skipped = {node.name: node.inputs[0] for node in graph.nodes if isinstance(node.op, Activate | BatchNorm)}

    def source(name: str) -> str:
        return source(skipped[name]) if name in skipped else name

    rewired = tuple(replace(node, inputs=tuple(source(name) for name in node.inputs)) for node in nodes)
    return replace(graph, nodes=rewired, outputs=tuple(source(name) for name in graph.outputs))


@pytest.mark.parametrize(
    "build", [residual, inception, separable, channels_first, encoder_decoder, transposed_decoder, style_transfer]
)
def test_fields_are_the_support_of_the_gradient_on_the_examples(build) -> None:
    assert_witnessed(positive(build()))


WINDOWS = (
    "convolution",
    "transposed",
    "pool",
    "upsample",
    "bilinear",
    "pad",
    "reflect",
    "edge",
    "wrap",
    "resize",
    "blocks",
    "shuffled",
)


@st.composite
def small_networks(draw: st.DrawFn, joins: bool = True) -> Graph:
    """DAGs of up to six windows of any stride, dilation and padding, joined (if `joins`) wherever shapes agree."""
    net = Builder((1, draw(st.integers(4, 11)), draw(st.integers(4, 11)), 2), weights="positive")
    tensors = ["x"]
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    for _ in range(draw(st.integers(1, 6))):
        source = draw(st.sampled_from(tensors[-3:])) if joins else tensors[-1]
        kernel, stride, dilation = draw(pair(1, 3)), draw(pair(1, 3)), draw(pair(1, 2))
        room = [dilation[axis] * (kernel[axis] - 1) for axis in (0, 0, 1, 1)]
        padding = tuple(draw(st.integers(0, most)) for most in room)
        kind = draw(st.sampled_from(WINDOWS))
        if kind == "upsample":
            op: Op = Upsample(draw(pair(1, 3)))
        elif kind == "bilinear":
            op = UpsampleBilinear(draw(pair(1, 4)))
        elif kind in ("pad", "reflect", "edge", "wrap"):
            sides = tuple(draw(st.integers(-1, 3)) for _ in range(4))
            op = Pad(sides, "constant" if kind == "pad" else kind)
        elif kind == "resize":
            mode = draw(st.sampled_from(["nearest", "linear"]))
            coordinates = draw(st.sampled_from(["half_pixel", "align_corners", "asymmetric"]))
            rounding = draw(st.sampled_from(["round_prefer_floor", "ceil"]))
            widened = mode == "linear" and draw(st.booleans())
            op = Resize(draw(pair(1, 14)), Resampling(mode, coordinates, rounding, antialias=widened))
        elif kind == "blocks":
            op = SpaceToDepth(2)
        elif kind == "shuffled":
            op = ChannelShuffle(2)
        elif kind == "convolution":
            op = Conv2D(2, kernel, stride, padding, dilation, groups=draw(st.sampled_from([1, 2])))
        elif kind == "transposed":
            extra = [draw(st.integers(0, max(stride[axis], dilation[axis]) - 1)) for axis in (0, 1)]
            op = Conv2DTranspose(2, kernel, stride, padding, dilation, output_padding=(extra[0], extra[1]))
        else:
            op = Pool2D("max", kernel, stride, padding, dilation, ceil_mode=draw(st.booleans()))
        try:
            tensors.append(net.add(op, source))
        except ShapeError:
            continue
        if not joins:
            continue
        if draw(st.booleans()):  # a sum with one row, column or pixel of another tensor, broadcast
            partner, partial = draw(st.sampled_from(tensors)), draw(st.sampled_from([(1, 1), (1, 0), (0, 1)]))
            size = tuple(n if cut else 1 for n, cut in zip(net.types[partner].shape[1:3], partial, strict=True))
            try:
                cut = net.add(Pool2D("max", size, (1, 1)), partner)
                tensors.append(net.add(Add(), tensors[-1], cut))
            except ShapeError:
                pass
        partners = [name for name in tensors[:-1] if net.types[name] == net.types[tensors[-1]]]
        if partners and draw(st.booleans()):
            partner = draw(st.sampled_from(partners))
            tensors.append(net.add(Add(), partner, tensors[-1]))
            if draw(st.booleans()):
                joined = net.add(Concat(), tensors[-1], partner)
                tensors.append(net.add(Conv2D(2, (1, 1)), joined))
    if tensors == ["x"]:
        net.add(RELU)
    return net.graph()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(small_networks())
def test_fields_are_the_support_of_the_gradient(graph: Graph) -> None:
    fields = receptive_fields(graph)
    # Where a window lies in the padding as a whole, the field of one axis depends on the other one.
    assume(all((axis.stop >= 0).all() for name in graph.types for axis in fields[name]["x"].axes))
    assert_witnessed(graph)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(small_networks(joins=False))
def test_fields_of_chains_are_the_support_even_where_elements_see_nothing(graph: Graph) -> None:
    """In a chain an element sees its rows times its columns, so one axis says nothing about the other."""
    fields = receptive_fields(graph)
    # But where a tensor sees nothing at all along one axis there is no witness for the other.
    assume(all((axis.stop >= 0).any() for name in graph.types for axis in fields[name]["x"].axes))
    assert_witnessed(graph)


def test_the_witness_itself_sees_a_wrong_field() -> None:
    graph = positive(inception())
    wrong = tuple(
        replace(node, op=replace(node.op, padding=(0, 2, 1, 1))) if isinstance(node.op, Pool2D) else node
        for node in graph.nodes
    )
    shifted = gradient_support(replace(graph, nodes=wrong))
    right = gradient_support(graph)
    assert any((shifted[name] != right[name]).any() for name in right)


def test_a_reshaped_image_sees_everything_at_each_of_its_positions() -> None:
    graph = chain((1, 4, 6, 1), Reshape((6, 2, 2), "chw"), Conv2D(1, (3, 1), padding=(1, 1, 0, 0)))
    field = last_field(graph)
    assert field.sees_everything
    assert (field.height.positions, field.width.positions) == (6, 2)
    assert (field.height.size, field.width.size) == (4, 6)
    assert not lint(graph)


def test_other_transposes_are_taken_as_seeing_everything() -> None:
    field = last_field(chain((1, 5, 5, 5), Transpose((0, 2, 1, 3))))
    assert field.sees_everything
