"""The ONNX front end: models that are exported from graphs give the same networks again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import cnngen
from cnngen.errors import ModelError
from cnngen.frontends.onnx import graph_of
from cnngen.ir import Array, Graph
from cnngen.ops import BatchNorm, Conv2D, Dense, Flatten, Transpose
from cnngen.reference import reference
from tests.differential.onnx_twin import onnx_model, to_onnx_layout
from tests.graphs import EXAMPLES, feed
from tests.onnx_models import model_of


def results(graph: Graph, *xs: Array) -> list[Array]:
    found = reference(graph, list(xs))
    return found if isinstance(found, list) else [np.asarray(found)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_model_that_was_exported_from_a_graph_computes_the_same(name: str) -> None:
    graph = EXAMPLES[name]()
    again = graph_of(onnx_model(graph))
    fed = feed(graph)
    expected = results(graph, *fed.values())
    found = results(again, *(to_onnx_layout(x) for x in fed.values()))
    assert [to_onnx_layout(y).shape for y in expected] == [y.shape for y in found]
    for y, z in zip(expected, found, strict=True):
        np.testing.assert_allclose(z, to_onnx_layout(y), rtol=1e-5, atol=1e-5)
    assert again.outputs == graph.outputs
    assert [tensor.name for tensor in again.inputs] == [tensor.name for tensor in graph.inputs]


def test_an_exported_network_of_images_is_transposed_at_its_border_only() -> None:
    graph = graph_of(onnx_model(EXAMPLES["residual"]()))
    transposes = [node for node in graph.nodes if isinstance(node.op, Transpose)]
    assert [node.inputs for node in transposes] == [("x",)]


def test_pairs_of_transposes_are_folded_away() -> None:
    """A network in channels-last layout, as TensorFlow's exporter writes it: around each convolution there are two."""
    weight = np.ones((4, 3, 1, 1), np.float32)
    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["a", "w"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 3, 1]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    graph = graph_of(model_of(nodes, {"x": (1, 5, 6, 3)}, ["y"], {"w": weight}))
    assert not any(isinstance(node.op, Transpose) for node in graph.nodes)
    assert graph.types["y"].shape == (1, 5, 6, 4)


def test_shape_arithmetic_is_folded() -> None:
    """``x.view(x.shape[0], -1)`` as PyTorch exports it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", "axes"], ["first"]),
        helper.make_node("Concat", ["first", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["y"], transB=1, alpha=0.5, beta=2.0),
    ]
    rng = np.random.default_rng(0)
    constants = {
        "zero": np.array(0),
        "axes": np.array([0]),
        "rest": np.array([-1]),
        "w": rng.standard_normal((5, 24)).astype(np.float32),
        "b": rng.standard_normal(5).astype(np.float32),
    }
    graph = graph_of(model_of(nodes, {"x": ("batch", 2, 3, 4)}, ["y"], constants), batch=3)
    assert [type(node.op) for node in graph.nodes] == [Flatten, Dense]
    x = rng.standard_normal((3, 2, 3, 4)).astype(np.float32)
    expected = 0.5 * (x.reshape(3, 24) @ constants["w"].T) + 2 * constants["b"]
    np.testing.assert_allclose(results(graph, x)[0], expected, rtol=1e-5, atol=1e-6)


def test_constants_for_each_channel_are_a_batch_norm() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Mul", ["a", "scale"], ["b"]),
        helper.make_node("Sub", ["one", "b"], ["c"]),
        helper.make_node("Div", ["c", "scale"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((4, 3, 2, 2)).astype(np.float32),
        "scale": rng.uniform(1, 2, (4, 1, 1)).astype(np.float32),
        "one": np.array(1, np.float32),
    }
    graph = graph_of(model_of(nodes, {"x": (1, 3, 4, 4)}, ["y"], constants))
    assert [type(node.op) for node in graph.nodes] == [Transpose, Conv2D, BatchNorm, BatchNorm, BatchNorm, Transpose]
    x = rng.standard_normal((1, 3, 4, 4)).astype(np.float32)
    partial = graph_of(model_of(nodes[:1], {"x": (1, 3, 4, 4)}, ["a"], constants))
    expected = (1 - results(partial, x)[0] * constants["scale"]) / constants["scale"]
    np.testing.assert_allclose(results(graph, x)[0], expected, rtol=1e-5, atol=1e-6)


def test_open_sizes_are_named_with_the_option_that_fixes_them(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": ("n", 3, "h", None)}, ["y"])
    path = tmp_path / "open.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"axis 2 \('h'\) of x is open; axis 3 of x is open; .*--input-shape x=1,3,"):
        cnngen.load_graph(path)
    graph = cnngen.load_graph(path, input_shapes={"x": (2, 3, 8, 9)})
    assert graph.types["y"].shape == (2, 3, 8, 9)
    with pytest.raises(ModelError, match="no input 'z'"):
        cnngen.load_graph(path, input_shapes={"z": (1,)})
    with pytest.raises(ModelError, match="has 4 axes, the shape given 2"):
        cnngen.load_graph(path, input_shapes={"x": (1, 2)})


def test_outputs_keep_the_names_of_the_model() -> None:
    """Also where one tensor is two outputs, or an input is one."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"]),
        helper.make_node("Identity", ["y"], ["again"]),
        helper.make_node("Identity", ["x"], ["same"]),
    ]
    constants = {"w": np.ones((2, 1, 1, 1), np.float32)}
    graph = graph_of(model_of(nodes, {"x": (1, 1, 2, 2)}, ["y", "again", "same"], constants))
    assert graph.outputs == ("y", "again", "same")
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    y, again, same = results(graph, x)
    np.testing.assert_array_equal(y, np.concatenate([x, x], axis=1))
    np.testing.assert_array_equal(again, y)
    np.testing.assert_array_equal(same, x)


def test_all_that_is_not_supported_is_listed_at_once() -> None:
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="fine"),
        helper.make_node("NonMaxSuppression", ["b", "b"], ["y"], name="last"),
    ]
    with pytest.raises(ModelError, match="2 nodes are not supported") as caught:
        graph_of(model_of(nodes, {"x": (1, 1, 3, 3)}, ["y"]))
    assert "Det (opset 20) (first)" in str(caught.value)
    assert "NonMaxSuppression (opset 20) (last)" in str(caught.value)


def test_an_onnx_model_compiles_and_starts_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    graph = EXAMPLES["squeeze_excitation"]()
    path = tmp_path / "net.onnx"
    onnx.save(onnx_model(graph), path)
    x = to_onnx_layout(feed(graph)["x"])
    with cnngen.compile(path) as net:
        first = net(x)
        assert net.channels_first
    with cnngen.compile(path) as net:
        assert not isinstance(net._stages, tuple)  # nothing was read but the digest of the file
        for y, z in zip(first, net(x), strict=True):
            np.testing.assert_array_equal(y, z)
        assert len(net.source_graph.nodes) > 1
    assert cnngen.verify(cnngen.compile(path)).ok
