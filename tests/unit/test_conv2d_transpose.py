"""Transposed convolution: its phases, `padding: same`, its messages, and that it is the adjoint of convolution."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from cnngen.backends.cpu.halo import halo_of
from cnngen.backends.cpu.pack import pack
from cnngen.backends.cpu.target import ISAS, Target
from cnngen.errors import ShapeError
from cnngen.frontends.fields import resolve_cropping
from cnngen.ir import TensorType
from cnngen.ops import Conv2D, Conv2DTranspose
from tests.graphs import chain
from tests.native import planned
from tests.specs import network, parse, refusal


def image(height: int, width: int = 1, channels: int = 1) -> list[TensorType]:
    return [TensorType((1, height, width, channels))]


@pytest.mark.parametrize("dilation", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_phases_hold_every_product_once(kernel: int, stride: int, dilation: int) -> None:
    """Against the definition: input i and tap a meet in output ``i stride + a dilation - begin``."""
    for size, begin, end, extra in ((1, 0, 0, 0), (4, 1, 0, 0), (5, 0, 2, 0), (6, 3, 1, 0), (3, 0, 0, stride - 1)):
        op = Conv2DTranspose(1, (kernel, 1), (stride, 1), (begin, end, 0, 0), (dilation, 1), output_padding=(extra, 0))
        try:
            positions = op.infer(image(size)).shape[1]
        except ShapeError:
            continue
        expected = {(i * stride + a * dilation - begin, i, a) for i in range(size) for a in range(kernel)}
        found = []
        outputs: list[int] = []
        for phase in op.phases(0, positions):
            outputs += [phase.first + q * stride for q in range(phase.count)]
            for q, (m, tap) in product(range(phase.count), enumerate(phase.taps)):
                found.append((phase.first + q * stride, q - phase.begin + m * phase.dilation, tap))
        assert sorted(outputs) == list(range(positions))
        assert len(found) == len(set(found))
        inside = {(o, i, a) for o, i, a in found if 0 <= i < size}
        assert inside == {(o, i, a) for o, i, a in expected if 0 <= o < positions}
        # What lies outside is read from the halo.
        graph = chain((1, size, 1, 1), op)
        read = [i for _, i, _ in found] or [0]
        assert halo_of(graph, graph.nodes[0], Target(ISAS["avx2"], reproducible=True)) == (
            max(-min(read), 0),
            max(max(read) - size + 1, 0),
            0,
            0,
        )


def test_it_is_the_adjoint_of_the_convolution_with_the_same_kernel() -> None:
    """``<conv(x), y> = <x, conv_transpose(y)>`` for all x and y; kernels change the order of their channels."""
    rng = np.random.default_rng(0)
    stride, padding, dilation = (2, 3), (1, 0, 2, 1), (2, 1)
    w = rng.standard_normal((3, 2, 4, 5))
    forward = Conv2D(5, (3, 2), stride, padding, dilation, use_bias=False)
    x = rng.standard_normal((1, 9, 11, 4))
    y = rng.standard_normal(forward.infer([TensorType(x.shape)]).shape)
    # The windows of the convolution end before its input does: so many rows and columns are added at the end.
    back = Conv2DTranspose(4, (3, 2), stride, padding, dilation, output_padding=(1, 0), use_bias=False)
    transposed = back.evaluate([y], {"weight": w.transpose(0, 1, 3, 2)})
    assert transposed.shape == x.shape
    np.testing.assert_allclose((forward.evaluate([x], {"weight": w}) * y).sum(), (x * transposed).sum(), rtol=1e-12)


@pytest.mark.parametrize("word", ["same", "same_lower"])
def test_same_is_input_times_stride_as_onnx_runtime_crops_it(word: str) -> None:
    """ONNX Runtime gives a shorter output where the kernel is below the stride; ONNX and Keras do not."""
    rng = np.random.default_rng(0)
    compared = 0
    for size, kernel, stride, dilation in product((1, 4), (1, 2, 3, 4, 5), (1, 2, 3), (1, 2)):
        padding, extra = resolve_cropping(word, (kernel, kernel), (stride, stride), (dilation, dilation))  # type: ignore[arg-type]  # parametrised
        op = Conv2DTranspose(2, (kernel,) * 2, (stride,) * 2, padding, (dilation,) * 2, 1, extra, use_bias=False)
        assert op.infer(image(size, size)).shape[1:3] == (size * stride, size * stride)
        if dilation * (kernel - 1) + 1 < stride:
            continue
        x = rng.integers(-3, 4, (1, 1, size, size)).astype(np.float32)
        w = rng.integers(-3, 4, (1, 2, kernel, kernel)).astype(np.float32)
        expected = by_onnx_runtime(x, w, stride, dilation, {"same": "SAME_UPPER", "same_lower": "SAME_LOWER"}[word])
        found = op.evaluate([x.transpose(0, 2, 3, 1)], {"weight": w.transpose(2, 3, 0, 1)})
        np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), expected)
        compared += 1
    assert compared > 40


def by_onnx_runtime(x: np.ndarray, w: np.ndarray, stride: int, dilation: int, auto_pad: str) -> np.ndarray:
    node = helper.make_node(
        "ConvTranspose",
        ["x", "w"],
        ["y"],
        kernel_shape=w.shape[2:],
        strides=(stride,) * 2,
        dilations=(dilation,) * 2,
        auto_pad=auto_pad,
    )
    tensors = [helper.make_tensor_value_info(name, 1, [None] * 4) for name in "xy"]
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:], [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def test_weights_of_all_phases_together_are_the_kernel() -> None:
    graph = chain((1, 3, 4, 2), Conv2DTranspose(3, (3, 2), (2, 2), use_bias=False), weights="positive")
    blob = pack(planned(graph, "scalar"))
    assert np.array_equal(np.sort(blob[blob != 0]), np.sort(graph.nodes[0].weights["weight"].ravel()))


def test_from_a_spec(tmp_path: Path) -> None:
    graph = parse(
        tmp_path,
        network(
            "conv2d_transpose: {filters: 4, kernel: 2, stride: 2, activation: relu}",
            "conv2d_transpose: {filters: 6, kernel: [3, 4], stride: [2, 1], padding: [1, 0, 2, 1], groups: 2,"
            " output_padding: [1, 0], bias: false}",
            "conv2d_transpose: {filters: 1, kernel: 1, stride: 3, padding: same, dilation: 2}",
        ),
    )
    shapes = [graph.types[node.name].shape[1:] for node in graph.nodes]
    assert shapes == [(16, 16, 4), (33, 16, 6), (99, 48, 1)]
    assert [set(node.weights) for node in graph.nodes] == [{"weight", "bias"}, {"weight"}, {"weight", "bias"}]


@pytest.mark.parametrize(
    ("fields", "problem", "remedy"),
    [
        ("kernel: 2, stride: 2, output_padding: 2", "output_padding 2 of the height is not below", "use at most 1"),
        ("kernel: 2, output_padding: [0, 1]", "output_padding 1 of the width", "use at most 0"),
        ("kernel: 3, padding: 5", "padding 10 crops the whole output height of 10", "use padding of at most 9"),
        ("kernel: 3, stride: 2, padding: same, output_padding: 1", "padding same makes the output", "leave output_pad"),
        ("kernel: 3, groups: 2", "groups 2 does not divide 3 input channels and 4 filters", "divide both"),
        ("kernel: 2, stride: 2000000000", "rows or columns, more than", "smaller stride"),
        ("kernel: 3, dilation: 20000, padding: 19999", "elements, more than 2^31 - 1", "less dilation"),
        ("kernel: 2, stride: [100, 41]", "makes 4,100 phases", "smaller stride"),
        ("kernel: 3, output_padding: -1", "output_padding", "at least 0"),
        ("kernel: 3, strides: 2", "strides", "stride"),
    ],
)
def test_messages(tmp_path: Path, fields: str, problem: str, remedy: str) -> None:
    refusal(tmp_path, network(f"conv2d_transpose: {{name: up, filters: 4, {fields}}}"), problem, remedy, line=5)
