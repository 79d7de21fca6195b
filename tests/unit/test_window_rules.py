"""Windows of every kind against ONNX Runtime: padding on either side, strides beyond the kernel, dilation, ceil_mode.

Images are one pixel wide and have numbered rows, so that each case is one axis and every row counts.
"""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from cnngen.analysis.lint import lint
from cnngen.errors import ShapeError
from cnngen.frontends.fields import resolve_padding
from cnngen.ops import Conv2D, Pool2D
from cnngen.reference import reference
from tests.specs import network, parse, refusal

SIZES, KERNELS, STRIDES, DILATIONS = (1, 2, 3, 5, 8), (1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 3)


def session(kind: str, weights: dict[str, np.ndarray], **attributes: object) -> onnxruntime.InferenceSession:
    """A model of one node that reads `x` and `weights`."""
    node = helper.make_node(kind, ["x", *weights], ["y"], **attributes)
    tensors = [helper.make_tensor_value_info(name, 1, [None] * 4) for name in "xy"]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def rows(size: int) -> np.ndarray:
    return np.arange(1, size + 1, dtype=np.float32).reshape(1, 1, size, 1)


def as_rows(y: np.ndarray) -> np.ndarray:
    """NHWC to NCHW, of one column."""
    return np.asarray(y.transpose(0, 3, 1, 2), np.float32)


@pytest.mark.parametrize(
    ("reduction", "counted"), [("max", False), ("avg", False), ("avg", True)], ids=["max", "avg", "avg-counted"]
)
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pooling_windows(reduction: str, counted: bool, ceil_mode: bool) -> None:
    cases = list(product(SIZES, KERNELS, STRIDES, DILATIONS, range(4), range(4)))
    compared = beyond = uneven = 0
    for size, kernel, stride, dilation, begin, end in random.Random(1).sample(cases, 400):
        if max(begin, end) >= kernel:
            continue  # ONNX Runtime refuses what only a dilated window reaches
        op = Pool2D(reduction, (kernel, 1), (stride, 1), (begin, end, 0, 0), (dilation, 1), ceil_mode, counted)  # type: ignore[arg-type]  # parametrised
        x = rows(size)
        try:
            found = as_rows(op.evaluate([x.transpose(0, 2, 3, 1)], {}))
        except ShapeError:
            continue
        extra = {"count_include_pad": int(counted)} if reduction == "avg" else {}
        twin = session(
            "MaxPool" if reduction == "max" else "AveragePool",
            {},
            kernel_shape=(kernel, 1),
            strides=(stride, 1),
            dilations=(dilation, 1),
            pads=(begin, 0, end, 0),
            ceil_mode=int(ceil_mode),
            **extra,
        )
        np.testing.assert_allclose(found, twin.run(None, {"x": x})[0], rtol=1e-6, err_msg=str(op))
        compared, beyond, uneven = compared + 1, beyond + (stride > kernel), uneven + (begin != end)
    assert compared > 90
    assert beyond > 15
    assert uneven > 15


@pytest.mark.parametrize("word", ["same_upper", "same_lower", "valid"])
def test_the_words_for_padding_are_onnx_s(word: str) -> None:
    weight = np.array([1, -2, 4, 8], np.float32)
    # ONNX Runtime has no dilation where it chooses the padding; a dilated kernel is a larger one with zeros in it.
    for size, kernel, stride, dilation in product(SIZES, KERNELS, STRIDES, DILATIONS):
        padding = resolve_padding(word, (size, 1), (kernel, 1), (stride, 1), (dilation, 1))  # type: ignore[arg-type]  # parametrised
        op = Conv2D(1, (kernel, 1), (stride, 1), padding, (dilation, 1), use_bias=False)
        x, w = rows(size), weight[:kernel].reshape(1, 1, kernel, 1)
        stuffed = np.zeros((1, 1, dilation * (kernel - 1) + 1, 1), np.float32)
        stuffed[:, :, ::dilation] = w
        if word == "valid" and stuffed.shape[2] > size:
            continue
        if word != "valid" and (-(-size // stride) - 1) * stride + stuffed.shape[2] < size:
            # Rows are left over between the windows: ONNX Runtime crops the beginning, TensorFlow and Keras do not.
            assert padding == (0, 0, 0, 0)
            continue
        found = as_rows(op.evaluate([x.transpose(0, 2, 3, 1)], {"weight": w.transpose(2, 3, 1, 0)}))
        twin = session(
            "Conv", {"w": stuffed}, kernel_shape=stuffed.shape[2:], strides=(stride, 1), auto_pad=word.upper()
        )
        np.testing.assert_array_equal(found, twin.run(None, {"x": x})[0], err_msg=str(op))


def test_convolution_windows() -> None:
    """Padding as large as one likes, also beyond the kernel: windows of zeros are the bias."""
    cases = list(product(SIZES, KERNELS, STRIDES, DILATIONS, range(5), range(5)))
    weight = np.array([1, -2, 4, 8], np.float32)
    for size, kernel, stride, dilation, begin, end in random.Random(2).sample(cases, 250):
        if size + begin + end < dilation * (kernel - 1) + 1:
            continue
        op = Conv2D(1, (kernel, 1), (stride, 1), (begin, end, 0, 0), (dilation, 1), use_bias=False)
        x, w = rows(size), weight[:kernel].reshape(1, 1, kernel, 1)
        found = as_rows(op.evaluate([x.transpose(0, 2, 3, 1)], {"weight": w.transpose(2, 3, 1, 0)}))
        twin = session(
            "Conv",
            {"w": w},
            kernel_shape=(kernel, 1),
            strides=(stride, 1),
            dilations=(dilation, 1),
            pads=(begin, 0, end, 0),
        )
        np.testing.assert_array_equal(found, twin.run(None, {"x": x})[0], err_msg=str(op))


def test_case_12_a_dilated_window_that_steps_over_the_image(tmp_path: Path) -> None:
    """A window that begins at -2 sees -2 and 3: of 8 rows that is one, of 3 columns none."""
    header = "cnngen: 1\ninput: {shape: [8, 3, 1]}\nweights: random\n"
    layer = "{kind}_pool: {{name: p, kernel: 2, stride: 1, dilation: 5, padding: 2}}"
    for kind in ("max", "avg"):
        refusal(
            tmp_path,
            network(layer.format(kind=kind), header=header),
            "window 0 along the width sees padding only",
            "step over the 3 of the input; use a dilation of at most 3, or less padding",
            line=5,
            layer="p",
        )
    assert parse(tmp_path, network(layer.format(kind="max"), header=header.replace("8, 3", "8, 5"))).types["p"]


def test_windows_that_are_not_refused_see_the_image() -> None:
    """And those that are do not: by looking at every tap of every window."""
    for size, kernel, stride, dilation, begin, end in product(
        (1, 2, 3, 5), (2, 3), (1, 2, 3), (1, 2, 3, 4), *[range(6)] * 2
    ):
        op = Pool2D("avg", (kernel, 1), (stride, 1), (begin, end, 0, 0), (dilation, 1))
        reach = dilation * (kernel - 1) + 1
        if max(begin, end) >= reach or size + begin + end < reach:
            continue
        starts = range(-begin, size + end - reach + 1, stride)
        blind = [all(not 0 <= start + tap * dilation < size for tap in range(kernel)) for start in starts]
        x = rows(size).transpose(0, 2, 3, 1)
        if any(blind):
            with pytest.raises(ShapeError, match=f"window {blind.index(True)} along the height"):
                op.evaluate([x], {})
        else:
            assert np.isfinite(op.evaluate([x], {})).all()


@pytest.mark.parametrize(
    ("layer", "fragments"),
    [
        ("pad: {name: p, padding: 8, mode: reflect}", ["reflect padding 8 needs a height of at least 9", "at most 7"]),
        ("pad: {name: p, padding: [0, 0, 9, 0], mode: reflect}", ["needs a width of at least 10, not 8", "mode: edge"]),
        ("pad: {name: p, padding: same}", ["must be a whole number, not 'same'"]),
        ("pad: {name: p, padding: 1, mode: mirror}", ["mode", "constant"]),
        ("pad: {name: p, padding: [-5, 5, 0, 0], mode: reflect}", ["a height of at least 6, not 3", "at most 2"]),
        ("pad: {name: p, padding: -4}", ["cropping 8 leaves nothing of the height 8", "crop 7 at most"]),
        ("pad: {name: p, padding: [1, 0, -8, 1]}", ["cropping 8 leaves nothing of the width 8", "crop 7 at most"]),
        ("upsample: {name: p, scale: 2, mode: cubic}", ["mode", "bilinear"]),
        ("upsample: {name: p, scale: 1.5, mode: bilinear}", ["whole number"]),
    ],
)
def test_messages_of_pad_and_upsample(tmp_path: Path, layer: str, fragments: list[str]) -> None:
    refusal(tmp_path, network(layer), *fragments, line=5)


def test_pads_and_upsamplings_of_a_spec(tmp_path: Path) -> None:
    layers = (
        "pad: {padding: [1, 2], mode: reflect}",
        "pad: {padding: [1, 2, 3, 4], value: 0.5}",
        "upsample: {scale: [2, 3], mode: bilinear}",
        "pad: {padding: [-20, 1, 0, -53], mode: wrap}",
        "reshape: {shape: [7, 12]}",
    )
    graph = parse(tmp_path, network(*layers))
    shapes = [graph.types[node.name].shape for node in graph.nodes]
    assert shapes == [(1, 10, 12, 3), (1, 13, 19, 3), (1, 26, 57, 3), (1, 7, 4, 3), (1, 7, 12)]


@pytest.mark.parametrize(
    ("fields", "fragments"),
    [
        ("shape: [8, 8, 4]", ["the shape 8x8x4 has 256 elements, the input 8x8x3 has 192", "write -1"]),
        ("shape: [7, -1, 3]", ["21 elements together, do not divide the 192", "choose sizes that divide it"]),
        ("shape: [191]", ["191 features, the input has 192", "write 192 or -1"]),
        ("shape: [-1, -1, 3]", ["-1 more than once", "one size open"]),
        ("shape: [8, 23]", ["the shape 8x23 has 184 elements, the input 8x8x3 has 192", "write -1"]),
        ("shape: [8, 0, 3]", ["at least 1"]),
    ],
)
def test_messages_of_reshape(tmp_path: Path, fields: str, fragments: list[str]) -> None:
    refusal(tmp_path, network(f"reshape: {{name: r, {fields}}}"), *fragments, line=5)


def test_an_image_made_of_a_vector_is_inspected_in_both_layouts(tmp_path: Path) -> None:
    for layout, shape in (("hwc", "[4, 4, 3]"), ("chw", "[3, 4, 4]")):
        header = f"cnngen: 1\ninput: {{shape: [6], layout: {layout}}}\nweights: random\n"
        layers = ("dense: {units: 48}", f"reshape: {{shape: {shape}}}", "conv2d: {filters: 2, kernel: 3, stride: 3}")
        graph = parse(tmp_path, network(*layers, header=header))
        assert [warning.code for warning in lint(graph)] == []
        assert graph.types["reshape_1"].shape == (1, 4, 4, 3)


def test_reshape_speaks_the_layout_and_numbering_of_the_spec(tmp_path: Path) -> None:
    """What `numpy.reshape` makes of the network's own input, channels-first as channels-last."""
    hwc = parse(tmp_path, network("reshape: {shape: [4, -1, 8]}"))
    x = np.arange(192.0).reshape(1, 8, 8, 3)
    np.testing.assert_array_equal(reference(hwc, x), x.reshape(1, 4, 6, 8))
    header = "cnngen: 1\ninput: {shape: [3, 8, 8], layout: chw}\nweights: random\n"
    chw = parse(tmp_path, network("reshape: {shape: [4, -1, 8]}", header=header))
    x = x.reshape(1, 3, 8, 8)
    np.testing.assert_array_equal(reference(chw, x), x.reshape(1, 4, 6, 8))
    flat = parse(tmp_path, network("reshape: {shape: [-1]}", header=header))
    np.testing.assert_array_equal(reference(flat, x), x.reshape(1, 192))
