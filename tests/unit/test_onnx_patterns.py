"""Several ONNX nodes that are one op; images that are resized, padded and cropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import cnngen
from cnngen.errors import ModelError
from cnngen.ir import Array
from cnngen.ops import ChannelShuffle, Pad, Resize

SHAPE = (2, 6, 4, 3)


def saved(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, Array], opset: int = 19) -> Path:
    """A model from `x` to `y` in a file."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


def assert_meaning(path: Path, *, runtime: bool = False) -> list[type]:
    """The model gives what ONNX's reference implementation gives, or ONNX Runtime; returns the ops."""
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    witness = onnxruntime.InferenceSession(path) if runtime else ReferenceEvaluator(str(path))
    (expected,) = witness.run(None, {"x": x})
    graph = cnngen.load_graph(path, batch=SHAPE[0])
    np.testing.assert_allclose(cnngen.reference(graph, x), expected, rtol=1e-5, atol=1e-6)
    return [type(node.op) for node in graph.nodes]


def shuffle(sizes: list[int], back: list[int], perm: list[int]) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    nodes = [
        helper.make_node("Reshape", ["x", "sizes"], ["parts"]),
        helper.make_node("Transpose", ["parts"], ["turned"], perm=perm),
        helper.make_node("Reshape", ["turned", "back"], ["y"]),
    ]
    return nodes, {"sizes": np.array(sizes, np.int64), "back": np.array(back, np.int64)}


@pytest.mark.parametrize("sizes", [[2, 3, 2, 4, 3], [0, 3, 2, -1, 3], [-1, 2, 3, 4, 3], [2, 2, 3, 12]], ids=str)
def test_a_channel_shuffle_is_one_op(sizes: list[int], tmp_path: Path) -> None:
    nodes, constants = shuffle(sizes, [2, -1, 4, 3], [0, 2, 1, 3, 4][: len(sizes)])
    assert ChannelShuffle in assert_meaning(saved(tmp_path / "net.onnx", nodes, constants))


def test_what_looks_like_a_shuffle_and_is_none_is_not_taken_for_one(tmp_path: Path) -> None:
    """Rows, not channels, change places; or the result has another shape."""
    for name, (sizes, back) in {"rows": ([2, 3, 8, 3], [2, 6, 4, 3]), "other": ([2, 3, 2, 12], [2, 4, 6, 3])}.items():
        path = saved(tmp_path / f"{name}.onnx", *shuffle(sizes, back, [0, 2, 1, 3]))
        assert ChannelShuffle not in assert_meaning(path)


def node_of(kind: str, *inputs: str, **attributes: object) -> list[onnx.NodeProto]:
    return [helper.make_node(kind, ["x", *inputs], ["y"], **attributes)]


LINEAR = {"mode": "linear"}
RESIZED: dict[str, tuple[list[onnx.NodeProto], dict[str, Array]]] = {
    "scales": (node_of("Resize", "", "s", **LINEAR), {"s": np.float32([1, 1, 0.6, 1.7])}),
    "sizes": (node_of("Resize", "", "", "z", mode="cubic"), {"z": np.array([2, 6, 7, 5])}),
    "axes": (node_of("Resize", "", "", "z", axes=[3, 2], **LINEAR), {"z": np.array([7, 5])}),
    "larger": (
        node_of("Resize", "", "", "z", axes=[2, 3], keep_aspect_ratio_policy="not_smaller", **LINEAR),
        {"z": np.array([7, 7])},
    ),
    "region": (
        node_of("Resize", "r", "", "z", coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=3.0),
        {"r": np.float32([0, 0, 0.25, -0.5, 1, 1, 0.75, 1.5]), "z": np.array([2, 6, 3, 5])},
    ),
}


@pytest.mark.parametrize("name", RESIZED)
def test_resize(name: str, tmp_path: Path) -> None:
    assert Resize in assert_meaning(saved(tmp_path / "net.onnx", *RESIZED[name]))


@pytest.mark.parametrize(
    ("pads", "mode"),
    [
        ([0, 0, -1, 2, 0, 0, 1, -2], "constant"),
        ([0, 1, 0, 0, 0, 2, 0, 1], "constant"),
        ([0, 0, 5, 1, 0, 0, 0, 4], "wrap"),
    ],
    ids=str,
)
def test_pad(pads: list[int], mode: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "net.onnx", node_of("Pad", "p", mode=mode), {"p": np.array(pads)})
    assert Pad in assert_meaning(path, runtime=True)  # ONNX's own implementation does not crop


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        (*RESIZED["scales"], "over batch or channels"),
        (*RESIZED["region"], "roi is"),
        (
            node_of("Resize", "", "s", mode="nearest", nearest_mode="up"),
            {"s": np.float32([1, 1, 2, 2])},
            "nearest_mode",
        ),
        (node_of("Pad", "p"), {"p": np.array([0, 0, -100, 0, 0, 0, 0, 0])}, "Pad leaves nothing"),
    ],
)
def test_what_is_refused(
    nodes: list[onnx.NodeProto], constants: dict[str, Array], message: str, tmp_path: Path
) -> None:
    broken = dict(constants)
    if message == "over batch or channels":
        broken["s"] = np.float32([1, 2, 1, 1])
    if message == "roi is":
        broken["r"] = np.float32([0, 0, 0, np.nan, 1, 1, 1, 1])
    with pytest.raises(ModelError, match=message):
        cnngen.load_graph(saved(tmp_path / "net.onnx", nodes, broken))


def built(*nodes: onnx.NodeProto, folder: Path, constants: dict[str, Array] | None = None, opset: int = 22) -> Path:
    return saved(folder / "net.onnx", list(nodes), constants or {}, opset)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_lp_normalization(axis: int, order: int, tmp_path: Path) -> None:
    path = built(helper.make_node("LpNormalization", ["x"], ["y"], axis=axis, p=order), folder=tmp_path)
    graph = cnngen.load_graph(path, batch=SHAPE[0])
    x = np.random.default_rng(0).standard_normal(SHAPE)
    norm = np.abs(x).sum(axis, keepdims=True) if order == 1 else np.sqrt((x * x).sum(axis, keepdims=True))
    np.testing.assert_allclose(cnngen.reference(graph, x.astype(np.float32)), x / norm, rtol=1e-5)
    zeros = np.zeros(SHAPE, np.float32)
    np.testing.assert_array_equal(cnngen.reference(graph, zeros), zeros)


@pytest.mark.parametrize("axes", [None, [0, 1, 2, 3], [1], [2, -1]])
@pytest.mark.parametrize("channels_last", [False, True])
def test_mean_variance_normalization(axes: list[int] | None, channels_last: bool, tmp_path: Path) -> None:
    pool, magnitude = (("MaxPool", {"kernel_shape": [1, 1]}), ("Abs", {}))
    kind, fields = pool if channels_last else magnitude
    nodes = [
        helper.make_node(kind, ["x"], ["p"], **fields),
        helper.make_node("MeanVarianceNormalization", ["p"], ["y"], **({"axes": axes} if axes else {})),
    ]
    path = built(*nodes, folder=tmp_path, opset=13)
    graph = cnngen.load_graph(path, batch=SHAPE[0])
    x = np.random.default_rng(0).standard_normal(SHAPE)
    z, over = x if channels_last else np.abs(x), tuple(axes or (0, 2, 3))
    expected = (z - z.mean(over, keepdims=True)) / (z.std(over, keepdims=True) + 1e-9)
    np.testing.assert_allclose(cnngen.reference(graph, x.astype(np.float32)), expected, rtol=1e-4, atol=1e-6)


def test_an_op_that_onnx_defines_by_others_is_these(tmp_path: Path) -> None:
    scale = np.linspace(0.5, 2, SHAPE[-1]).astype(np.float32)
    node = helper.make_node("RMSNormalization", ["x", "s"], ["y"], epsilon=1e-3)
    graph = cnngen.load_graph(built(node, folder=tmp_path, constants={"s": scale}, opset=23), batch=SHAPE[0])
    x = np.random.default_rng(0).standard_normal(SHAPE)
    expected = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-3) * scale
    np.testing.assert_allclose(cnngen.reference(graph, x.astype(np.float32)), expected, rtol=1e-5)


def test_what_an_op_does_not_take_is_said_before_it_is_written_out(tmp_path: Path) -> None:
    node = helper.make_node("RMSNormalization", ["x", "s"], ["y"], size=3)
    path = built(node, folder=tmp_path, constants={"s": np.ones(3, np.float32)}, opset=23)
    with pytest.raises(ModelError, match="RMSNormalization of opset 23 has no attribute 'size'"):
        cnngen.load_graph(path, batch=SHAPE[0])


def test_cast_like_between_floats_is_nothing(tmp_path: Path) -> None:
    nodes = [helper.make_node("CastLike", ["x", "like"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    path = built(*nodes, folder=tmp_path, constants={"like": np.zeros(1, np.float32)})
    assert len(assert_meaning(path)) == 1
    path = built(*nodes, folder=tmp_path, constants={"like": np.zeros(1, np.int64)})
    with pytest.raises(ModelError, match="CastLike of a computed tensor to int64"):
        cnngen.load_graph(path, batch=SHAPE[0])
