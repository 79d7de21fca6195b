"""Graphs that are written as specs are the same graphs when they are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import cnngen
from cnngen import ops
from cnngen.cli import app
from cnngen.frontends.onnx import graph_of
from cnngen.frontends.spec_layers import WRITERS
from cnngen.frontends.spec_writer import spec_text, write_spec
from cnngen.ir import Graph, Input, Node, TensorType
from cnngen.ops import Activate, Activation, BatchNorm, Conv2D, Conv2DTranspose, Dense, Flatten
from cnngen.passes import optimise
from cnngen.passes.infer_shapes import infer_shapes
from tests.differential.onnx_twin import onnx_model
from tests.graphs import EXAMPLES, chain, channels_first


def batch_of(graph: Graph) -> int:
    return graph.inputs[0].type.shape[0]


def in_order_of_use(graph: Graph) -> Graph:
    """The nodes in the order in which the outputs, the first one first, ask for them."""
    nodes = {node.name: node for node in graph.nodes}
    found: dict[str, Node] = {}

    def visit(name: str) -> None:
        if name in nodes and name not in found:
            for other in nodes[name].inputs:
                visit(other)
            found[name] = nodes[name]

    for name in graph.outputs:
        visit(name)
    assert len(found) == len(nodes)
    return replace(graph, nodes=tuple(found.values()))


def assert_same(graph: Graph, again: Graph) -> None:
    """Names and the order of independent nodes apart, both are the same: ops, connections, weights."""
    graph, again = in_order_of_use(optimise(graph)), in_order_of_use(optimise(again))
    assert [node.op for node in graph.nodes] == [node.op for node in again.nodes]
    order = {
        name: number for number, name in enumerate([*(t.name for t in graph.inputs), *(n.name for n in graph.nodes)])
    }
    same = {
        name: number for number, name in enumerate([*(t.name for t in again.inputs), *(n.name for n in again.nodes)])
    }
    assert [order[name] for name in graph.outputs] == [same[name] for name in again.outputs]
    for one, other in zip(graph.nodes, again.nodes, strict=True):
        assert [order[name] for name in one.inputs] == [same[name] for name in other.inputs], one.name
        assert one.weights.keys() == other.weights.keys()
        for role, array in one.weights.items():
            np.testing.assert_array_equal(array, other.weights[role], strict=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_graph_that_is_written_and_read_is_the_same(name: str, tmp_path: Path) -> None:
    graph = EXAMPLES[name]()
    path, _ = write_spec(graph, tmp_path / "net.yaml")
    assert_same(graph, cnngen.load_graph(path, batch=batch_of(graph)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_model_that_is_imported_is_the_same(name: str, tmp_path: Path) -> None:
    """`make check-models` does it with large networks, compiled."""
    graph = graph_of(onnx_model(EXAMPLES[name]()))
    path, _ = write_spec(graph, tmp_path / "net.yaml")
    again = cnngen.load_graph(path, batch=batch_of(graph))
    assert_same(graph, again)
    assert again.outputs == graph.outputs


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_optimised_graph_is_the_same_when_it_is_optimised_again(name: str, tmp_path: Path) -> None:
    """Residual additions are written as layers, and fused again."""
    graph = EXAMPLES[name]()
    path, _ = write_spec(optimise(graph), tmp_path / "net.yaml")
    assert_same(graph, cnngen.load_graph(path, batch=batch_of(graph)))


def test_channels_first_networks_become_chw_specs_without_transpositions() -> None:
    text = spec_text(channels_first(), "net.safetensors")
    assert "layout: chw" in text
    assert "format: torch" in text
    assert "transpose" not in text
    assert "- conv2d: {name: conv2d_1, filters: 5, kernel: 3, padding: 1}  # 5 x 8 x 6" in text


def test_images_of_a_chw_network_are_called_as_in_the_model(tmp_path: Path) -> None:
    """Two outputs that a layer reads on, one of a layer with weights, one that is an input as it is."""
    to_nhwc, to_nchw = ops.Transpose((0, 2, 3, 1)), ops.Transpose((0, 3, 1, 2))
    rng = np.random.default_rng(0)
    weights = {"weight": rng.standard_normal((1, 1, 2, 2)).astype(np.float32)}
    nodes = (
        Node("x/last", to_nhwc, ("x",)),
        Node("conv", Conv2D(2, (1, 1), use_bias=False), ("x/last",), weights),
        Node("relu", Activate(Activation("relu")), ("conv",)),
        Node("mask", to_nchw, ("relu",)),
        Node("edges", to_nchw, ("conv",)),
    )
    graph = infer_shapes(Graph("net", (Input("x", TensorType((1, 2, 4, 3))),), nodes, ("mask", "edges")))
    path, _ = write_spec(graph, tmp_path / "net.yaml")
    again = cnngen.load_graph(path)
    assert again.outputs == ("mask", "edges")
    assert_same(graph, again)
    assert "name: edges" in path.read_text()


@pytest.mark.parametrize("value", [1e-12, 0.1, 1e20, 3.4028234663852886e38, -1 / 3])
def test_numbers_are_written_so_that_they_come_back(value: float, tmp_path: Path) -> None:
    graph = chain((1, 3, 3, 2), BatchNorm(abs(value)), Activate(Activation("leaky_relu", value)))
    path, _ = write_spec(graph, tmp_path / "net.yaml")
    assert_same(graph, cnngen.load_graph(path))


@pytest.mark.parametrize(
    "name", ["a b", "yes", "1", "x: y", "# no", "'", '"', "$x", "[1]", "é", "a/b.c-d", "-", "null"]
)
def test_names_are_quoted_where_yaml_needs_it(name: str, tmp_path: Path) -> None:
    graph = chain((1, 4, 4, 2), Conv2D(3, (1, 1)), Activate(Activation("relu")))
    renamed = {graph.nodes[0].name: name}
    nodes = tuple(
        type(node)(
            renamed.get(node.name, node.name), node.op, tuple(renamed.get(i, i) for i in node.inputs), node.weights
        )
        for node in graph.nodes
    )

    odd = infer_shapes(Graph("net", graph.inputs, nodes, graph.outputs))
    path, _ = write_spec(odd, tmp_path / "net.yaml")
    again = cnngen.load_graph(path)
    assert again.nodes[0].name == name
    assert_same(odd, again)


@pytest.mark.parametrize("order", ["hwc", "chw"])
def test_grouped_and_transposed_kernels_in_both_formats(order: str, tmp_path: Path) -> None:
    layers = (Conv2D(8, (3, 2), groups=4), Conv2DTranspose(6, (2, 3), (2, 2), groups=2), Flatten("chw"), Dense(3))
    graph = chain((2, 6, 5, 4), *layers)
    if order == "chw":
        graph = chain((2, 4, 6, 5), ops.Transpose((0, 2, 3, 1)), *layers)
    path, _ = write_spec(graph, tmp_path / "net.yaml")
    assert f"format: {'torch' if order == 'chw' else 'keras'}" in path.read_text()
    assert_same(graph, cnngen.load_graph(path, batch=2))


def test_every_op_has_a_layer() -> None:
    assert [op.__name__ for op in get_args(ops.Op) if op not in WRITERS] == []


def test_import_writes_a_spec_that_compiles_to_the_same_bits(tmp_path: Path) -> None:
    import onnx
    from typer.testing import CliRunner

    from tests.differential.onnx_twin import to_onnx_layout
    from tests.graphs import feed

    graph = EXAMPLES["encoder_decoder"]()
    onnx.save(onnx_model(graph), tmp_path / "net.onnx")
    done = CliRunner().invoke(app, ["import", str(tmp_path / "net.onnx"), "-o", str(tmp_path / "out.yaml")])
    assert done.exit_code == 0, done.output
    x = to_onnx_layout(feed(graph)["x"])
    with cnngen.compile(tmp_path / "net.onnx") as first, cnngen.compile(tmp_path / "out.yaml") as second:
        for y, z in zip(first(x), second(x), strict=True):
            np.testing.assert_array_equal(y, z)
