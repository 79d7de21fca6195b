"""Resizing: ONNX's own cases, what weighs nothing, and what is refused."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

import cnngen
from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops import Identity, Pad, Resize, Upsample, UpsampleBilinear, resized
from cnngen.ops.resampling import MAX_ENTRIES, Resampling, axis_table, resolve_size
from tests.graphs import chain
from tests.specs import parse

NEAREST = Resampling()
LINEAR = Resampling("linear")


# ---------------------------------------------------------------------------------- ONNX's own cases


def onnx_cases() -> dict[str, tuple[ModelProto, list[Array], Array]]:
    """Model, inputs and output of ONNX's tests of Resize on images."""
    node = importlib.import_module("onnx.backend.test.case.node")
    known = len(node._NodeTestCases)
    importlib.import_module("onnx.backend.test.case.node.resize")
    cases = node._NodeTestCases[known:] or [case for case in node._NodeTestCases if "resize" in case.name]
    return {
        case.name: (case.model, list(inputs), outputs[0])
        for case in cases
        if not case.name.endswith("_expanded")
        for inputs, outputs in case.data_sets
    }


CASES = onnx_cases()


def by_axis(values: Any, others: Any, axes: list[int]) -> list[float]:
    """The values that are given for `axes`, and those of the other axes."""
    result = list(others)
    for axis, value in zip(axes, values, strict=True):
        result[axis] = float(value)
    return result


def resize_of(model: ModelProto, inputs: list[Array]) -> Resize:
    """The op of a model with one Resize, whose sizes and scales are inputs."""
    (node,) = model.graph.node
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    words = {name: value.decode() for name, value in given.items() if isinstance(value, bytes)}
    values = dict(zip([name for name in node.input if name], inputs, strict=True))
    x, roi, scales, sizes = ([*(values.get(name) for name in node.input), None, None])[:4]
    axes = [axis % 4 for axis in given.get("axes", range(4))]
    how = Resampling(
        words.get("mode", "nearest"),  # type: ignore[arg-type]
        words.get("coordinate_transformation_mode", "half_pixel"),  # type: ignore[arg-type]
        words.get("nearest_mode", "round_prefer_floor"),  # type: ignore[arg-type]
        bool(given.get("exclude_outside", 0)),
        bool(given.get("antialias", 0)),
        given.get("cubic_coeff_a", -0.75),
    )
    if sizes is not None and sizes.size:
        target = by_axis(sizes, x.shape, axes)[2:]
        policy = words.get("keep_aspect_ratio_policy", "stretch")
        size, scale = resolve_size(x.shape[2:], target=(int(target[0]), int(target[1])), policy=policy)  # type: ignore[arg-type]
    else:
        wanted = by_axis(scales, (1.0,) * 4, axes)[2:]
        size, scale = resolve_size(x.shape[2:], scale=(wanted[0], wanted[1]))
    region = (0.0, 0.0, 1.0, 1.0)
    if roi is not None and roi.size:
        begin, end = (by_axis(roi[part], (0.0,) * 4, axes) for part in (slice(len(axes)), slice(len(axes), None)))
        region = (begin[2], begin[3], end[2], end[3])
    return Resize(size, how, scale, region, given.get("extrapolation_value", 0.0))


def test_there_are_cases_of_every_mode() -> None:
    ops = [resize_of(model, inputs) for model, inputs, _ in CASES.values()]
    assert len(ops) > 35
    assert {op.how.mode for op in ops} == {"nearest", "linear", "cubic"}
    assert {op.how.coordinates for op in ops} >= {"half_pixel_symmetric", "pytorch_half_pixel", "tf_crop_and_resize"}


@pytest.mark.parametrize("name", CASES)
def test_meaning_is_that_of_onnx(name: str) -> None:
    model, inputs, expected = CASES[name]
    op, x = resize_of(model, inputs), np.asarray(inputs[0], np.float64).transpose(0, 2, 3, 1)
    for form in (op, resized(op, TensorType(x.shape))):
        actual = form.evaluate([x], {}).transpose(0, 3, 1, 2)
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------ tables and ops


def test_whole_factors_become_the_ops_that_have_kernels_of_their_own() -> None:
    x = TensorType((1, 4, 6, 3))
    asymmetric = Resampling(coordinates="asymmetric", rounding="floor")
    assert resized(Resize((8, 18), asymmetric), x) == Upsample((2, 3))
    assert resized(Resize((8, 18)), x) == Upsample((2, 3))
    assert resized(Resize((8, 18), LINEAR), x) == UpsampleBilinear((2, 3))
    assert resized(Resize((4, 6), Resampling("cubic")), x) == Identity()
    for op in (
        Resize((8, 18), Resampling(coordinates="asymmetric", rounding="ceil")),
        Resize((8, 18), Resampling("linear", "align_corners")),
        Resize((8, 18), LINEAR, (2.01, 3.0)),
        Resize((2, 3), LINEAR),
        Resize((8, 17)),
    ):
        assert resized(op, x) is op


def test_a_position_that_is_a_rounding_beside_an_element_reads_that_element() -> None:
    """ONNX's reference implementation takes the weights of one pair of neighbours for another pair here."""
    table = axis_table(Resampling("linear", "half_pixel_symmetric"), 9, 4, 0.5)
    assert table.indices == ((1,), (3,), (5,), (7,))
    assert table.copies


@pytest.mark.parametrize("how", [NEAREST, LINEAR, Resampling("cubic"), Resampling("linear", antialias=True)], ids=str)
def test_weights_sum_to_one_and_none_is_zero(how: Resampling) -> None:
    for size, output in ((9, 9 * 4), (9, 13), (13, 5), (1, 4), (100, 7)):
        table = axis_table(how, size, output, output / size)
        weights = np.array(table.weights)
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
        assert (weights != 0).all()


def test_what_weighs_nothing_does_not_spread() -> None:
    """Elements of a factor of 3 that lie on pixels, between pixels that are NaN and infinite; native code, too."""
    x = np.zeros((1, 3, 3, 5), np.float32)
    x[:, 0], x[:, 2, 0], x[:, 1, 1] = np.nan, np.inf, 7
    op = Resize((5, 5), Resampling("linear", "align_corners"))
    expected = op.evaluate([np.asarray(x, np.float64)], {})
    assert (expected[:, 2, 2] == 7).all()
    assert np.isnan(expected[:, 1]).all()
    assert np.isinf(expected[:, 4, 0]).all()
    assert np.isfinite(expected[:, 2]).all()
    with cnngen.compile(chain(x.shape, op), isa="scalar", threads=1) as net:
        np.testing.assert_array_equal(net(x), np.asarray(expected, np.float32))


def test_a_table_that_is_too_long_is_refused() -> None:
    with pytest.raises(ShapeError, match=f"more than {MAX_ENTRIES:,}; use a smaller output, or resize in two steps"):
        Resize((MAX_ENTRIES, 1), LINEAR).infer([TensorType((1, 3, 3, 1))])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("resize: {mode: linear}", "has neither size nor scale; give one of them"),
        ("resize: {scale: 0.01}", "a scale of 0.01x0.01 leaves nothing of 6x8 pixels; use a larger scale"),
        ("resize: {size: 4, scale: 2}", "a scale of 2 makes 12 pixels of 6, not 4; leave the scale or the size away"),
        ("resize: {size: 4, antialias: true}", "mode nearest has no antialias"),
        ("resize: {size: 4, roi: [0, 0, 1, 1]}", "coordinates tf_crop_and_resize need a roi, and others have none"),
        ("resize: {scale: 2, keep_aspect_ratio: not_larger}", "needs a size and no scale"),
        ("resize: {scale: -1}", "is -1, but must be above 0"),
        ("depth_to_space: {block: 2}", "6 channels do not fill blocks of 2x2 pixels; use a multiple of 4 channels"),
        ("space_to_depth: {block: 4}", "blocks of 4 do not fill the height 6"),
        ("channel_shuffle: {groups: 4}", "groups 4 does not divide 6 channels"),
        ("crop: {crop: [3, 3, 0, 0]}", "cropping 6 leaves nothing of the height 6; crop 5 at most"),
        ("pad: {channels: 1, mode: edge}", "mode edge does not add channels; add channels with mode: constant"),
        ("pad: {padding: [-3, 3, 0, 0], mode: reflect}", "reflect padding 3 needs a height of at least 4, not 3"),
    ],
)
def test_what_is_wrong_and_what_to_do(layer: str, message: str, tmp_path: Path) -> None:
    text = f"cnngen: 1\ninput: {{shape: [6, 8, 6]}}\nweights: random\nlayers:\n  - {layer}\n"
    with pytest.raises(cnngen.CnngenError) as caught:
        parse(tmp_path, text)
    assert message in str(caught.value)


def test_a_pad_that_only_crops_is_called_so() -> None:
    assert Pad((-1, 0, 0, -2)).kind == "crop"
    assert Pad((-1, 1, 0, 0)).kind == Pad((0, 0, 0, 0)).kind == "pad"
