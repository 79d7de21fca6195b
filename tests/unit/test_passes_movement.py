"""simplify_movement, pool_reductions and lower_matmul: exactly the same values by kernels that are quicker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from cnngen import ops, pipeline
from cnngen.frontends.onnx import graph_of
from cnngen.ir import Graph, verify_graph
from cnngen.ops import (
    Constant,
    Conv2D,
    Flatten,
    GlobalPool2D,
    MatMul,
    Mul,
    Op,
    Reduce,
    Reshape,
    Transpose,
)
from cnngen.passes import lower_matmul, optimise, pool_reductions, simplify_movement
from cnngen.reference import reference
from tests.graphs import EXAMPLES, RELU, Builder, chain
from tests.onnx_models import model_of

PASSES = [simplify_movement, pool_reductions, lower_matmul]
TO_NHWC, TO_NCHW = Transpose((0, 2, 3, 1)), Transpose((0, 3, 1, 2))


def integers(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(-9, 10, tensor.type.shape).astype(np.float32) for tensor in graph.inputs]


def assert_exact(before: Graph, after: Graph) -> None:
    """The same outputs, bit for bit, on whole numbers."""
    verify_graph(after)
    assert after.inputs == before.inputs
    assert after.outputs == before.outputs
    xs = integers(before)
    old, new = reference(before, xs, keep=True), reference(after, xs, keep=True)
    for name in before.outputs:
        np.testing.assert_array_equal(new[name], old[name], err_msg=name)


def whole_weights(graph: Graph) -> Graph:
    """`graph` with small whole numbers as weights."""
    from dataclasses import replace

    rng = np.random.default_rng(1)
    return replace(
        graph,
        nodes=tuple(
            replace(
                node,
                weights={r: rng.integers(-4, 5, a.shape).astype(np.float32) for r, a in node.weights.items()},
            )
            for node in graph.nodes
        ),
    )


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes]


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("apply", PASSES)
def test_examples_keep_their_values(example: str, apply: Callable[[Graph], Graph]) -> None:
    graph = EXAMPLES[example]()
    after = apply(graph)
    verify_graph(after)
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal(tensor.type.shape).astype(np.float32) for tensor in graph.inputs]
    old, new = reference(graph, xs, keep=True), reference(after, xs, keep=True)
    for name in graph.outputs:
        np.testing.assert_allclose(new[name], old[name], rtol=1e-13, atol=1e-13)
    again = apply(after)
    assert kinds(again) == kinds(after)


# ---- simplify_movement ----


@pytest.mark.parametrize(
    ("shape", "movements", "left"),
    [
        ((2, 3, 4, 5), (TO_NHWC, TO_NCHW), ["identity"]),
        ((2, 3, 4, 5), (TO_NHWC, TO_NHWC), ["transpose"]),
        ((2, 3, 4, 5), (TO_NHWC, TO_NHWC, TO_NHWC), ["identity"]),
        ((2, 3, 4), (Transpose((1, 0, 2)), Transpose((1, 0, 2))), ["identity"]),
        ((2, 1, 4, 5), (TO_NHWC,), ["reshape"]),
        ((2, 1, 1, 5), (TO_NCHW,), ["reshape"]),
        ((2, 3, 4, 1), (TO_NCHW, Reshape((12,))), ["reshape"]),
        ((1, 3, 4), (Transpose((1, 0, 2)),), ["reshape"]),
        ((3, 1, 4), (Transpose((1, 0, 2)), Transpose((0, 2, 1))), ["reshape", "transpose"]),
        ((2, 3, 4), (Transpose((0, 1, 2)),), ["identity"]),
        ((2, 3, 4, 5), (Reshape((60,)), Reshape((5, 12))), ["reshape"]),
        ((2, 3, 4, 5), (Reshape((60,)), Reshape((3, 4, 5))), ["identity"]),
        ((2, 3, 4, 5), (Flatten("hwc"), Reshape((6, 20), whole=True)), ["reshape"]),
        ((2, 3, 4, 5), (Flatten("chw"), Reshape((3, 20))), ["flatten", "reshape"]),
        ((2, 1, 1, 5), (Flatten("chw"), Reshape((1, 1, 5), "chw")), ["identity"]),
        ((2, 3, 4, 5), (TO_NCHW, Flatten("hwc")), ["flatten"]),
        ((2, 3, 4, 5), (TO_NCHW, Reshape((60,))), ["flatten"]),
        ((2, 3, 4, 5), (TO_NCHW, Reshape((10, 12), whole=True)), ["transpose", "reshape"]),
        ((2, 3, 4, 5), (TO_NHWC, Flatten("hwc")), ["transpose", "flatten"]),
    ],
)
def test_rows_of_movements(shape: tuple[int, ...], movements: tuple[Op, ...], left: list[str]) -> None:
    graph = chain(shape, *movements)
    after = simplify_movement(graph)
    assert_exact(graph, after)
    read = {name for node in after.nodes for name in node.inputs} | set(after.outputs)
    assert [node.op.kind for node in after.nodes if node.name in read] == left


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_rows_of_movements_are_exact(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 1, 2, 3]), min_size=1, max_size=5)))
    net = Builder(shape)
    for _ in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()):
            axes = tuple(data.draw(st.permutations(range(len(shape)))))
            net.add(Transpose(axes))
            shape = tuple(shape[axis] for axis in axes)
        else:
            sizes = tuple(data.draw(st.permutations(shape)))
            net.add(Reshape(sizes, whole=True))
            shape = sizes
    graph = net.graph()
    after = simplify_movement(graph)
    assert_exact(graph, after)
    assert len(optimise(graph).nodes) <= len(graph.nodes)


def test_a_movement_that_others_read_stays_for_them() -> None:
    net = Builder((1, 3, 4, 5))
    moved = net.add(TO_NCHW, name="moved")
    net.add(RELU, moved, name="first")
    back = net.add(TO_NHWC, moved, name="back")
    graph = net.graph("first", net.add(RELU, back, name="second"))
    after = optimise(graph)
    assert kinds(after) == ["transpose", "relu", "relu"]
    assert_exact(graph, after)


def test_outputs_keep_their_names() -> None:
    net = Builder((1, 3, 4, 5))
    first = net.add(TO_NCHW, name="first")
    graph = net.graph(first, net.add(TO_NHWC, first, name="same"))
    after = optimise(graph)
    assert_exact(graph, after)
    assert kinds(after) == ["transpose", "identity"]


# ---- pool_reductions ----


@pytest.mark.parametrize("function", ["mean", "max"])
@pytest.mark.parametrize("keep", [True, False])
def test_reductions_over_pixels_are_global_pools(function: str, keep: bool) -> None:
    for graph in (
        chain((2, 4, 8, 5), Reduce(function, (1, 2), keep)),
        chain((2, 4, 8, 5), Reduce(function, (2, 1), keep)),
        chain((2, 4, 8, 5), TO_NCHW, Reduce(function, (2, 3), keep)),
        chain((2, 5, 4, 8), TO_NHWC, Reduce(function, (1, 2), keep)),
    ):
        after = pool_reductions(graph)
        assert_exact(graph, after)
        assert [node.op for node in after.nodes if isinstance(node.op, Reduce)] == []
        assert sum(isinstance(node.op, GlobalPool2D) for node in after.nodes) == 1


@pytest.mark.parametrize(
    "op",
    [
        Reduce("mean", (1,)),
        Reduce("mean", (0, 1, 2)),
        Reduce("mean", (1, 2, 3)),
        Reduce("sum", (1, 2)),
        Reduce("mean", (2, 3)),
        Reduce("max", (3,)),
    ],
)
def test_other_reductions_stay(op: Reduce) -> None:
    graph = chain((2, 4, 8, 5), op)
    assert kinds(pool_reductions(graph)) == [op.kind]


def test_a_reduction_that_turns_batch_and_channels_stays() -> None:
    turned = chain((2, 4, 8, 5), Transpose((3, 0, 1, 2)), Reduce("mean", (2, 3), keep_dims=False))
    assert kinds(pool_reductions(turned)) == ["transpose", "reduce_mean"]


# ---- lower_matmul ----


@pytest.mark.parametrize(
    ("shape", "left"),
    [
        ((3, 4), ["dense"]),
        ((2, 3, 5, 4), ["conv2d"]),
        ((2, 3, 4), ["reshape", "conv2d", "reshape"]),
        ((2, 3, 2, 5, 4), ["reshape", "conv2d", "reshape"]),
    ],
)
def test_products_with_a_constant_matrix_are_layers(shape: tuple[int, ...], left: list[str]) -> None:
    net = Builder(shape)
    net.add(Constant((4, 6)), *(), name="matrix")
    graph = whole_weights(net.graph(net.add(MatMul(), "x", "matrix", name="y")))
    after = optimise(graph)
    assert_exact(graph, after)
    assert kinds(after) == left


def test_other_products_stay() -> None:
    net = Builder({"a": (4,), "b": (2, 3, 4)})
    net.add(Constant((4, 6)), *(), name="matrix")
    net.add(Constant((2, 4, 6)), *(), name="matrices")
    one = net.add(MatMul(), "a", "matrix", name="vector")
    two = net.add(MatMul(), "b", "matrices", name="each")
    graph = whole_weights(net.graph(one, two))
    after = lower_matmul(graph)
    assert kinds(after).count("matmul") == 2
    assert_exact(graph, after)


def test_the_bias_behind_a_product_folds_into_the_layer() -> None:
    """ConvNeXt's layers over the last axis: MatMul and Add of a vector."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.integers(-3, 4, (4, 6)).astype(np.float32),
        "b": rng.integers(-3, 4, 6).astype(np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["last", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("Relu", ["q"], ["r"]),
        helper.make_node("Transpose", ["r"], ["y"], perm=[0, 3, 1, 2]),
    ]
    graph = graph_of(model_of(nodes, {"x": (1, 4, 5, 3)}, ["y"], constants))
    after = optimise(graph)
    assert kinds(after) == ["transpose", "conv2d", "transpose"]
    assert_exact(graph, after)


# ---- squeeze-and-excitation ----


def native() -> Graph:
    net = Builder((1, 8, 6, 16))
    image = net.add(RELU, "x", name="image")
    net.add(GlobalPool2D("avg"), image)
    net.add(Conv2D(4, (1, 1)))
    net.add(RELU)
    net.add(Conv2D(16, (1, 1)))
    gate = net.add(ops.Activate(ops.Activation("sigmoid")))
    return net.graph(net.add(Mul(), image, gate, name="y"))


def squeezed(form: str) -> Graph:
    """The same block as exporters and people write it in ONNX."""
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((4, 16)), rng.standard_normal((16, 4))
    squeeze = {
        "mean": [helper.make_node("ReduceMean", ["i", "pixels"], ["s"])],
        "mean, reshaped": [
            helper.make_node("ReduceMean", ["i", "pixels"], ["m"], keepdims=0),
            helper.make_node("Reshape", ["m", "column"], ["s"]),
        ],
        "flat": [
            helper.make_node("GlobalAveragePool", ["i"], ["m"]),
            helper.make_node("Flatten", ["m"], ["f"]),
            helper.make_node("Unsqueeze", ["f", "pixels"], ["s"]),
        ],
        "channels last": [
            helper.make_node("Transpose", ["i"], ["t"], perm=[0, 2, 3, 1]),
            helper.make_node("ReduceMean", ["t", "middle"], ["m"]),
            helper.make_node("Transpose", ["m"], ["s"], perm=[0, 3, 1, 2]),
        ],
    }[form]
    constants = {
        "pixels": np.array([2, 3]),
        "middle": np.array([1, 2]),
        "column": np.array([1, 16, 1, 1]),
        "w": first[:, :, None, None].astype(np.float32),
        "v": second[:, :, None, None].astype(np.float32),
        "b": np.ones(4, np.float32),
        "c": np.ones(16, np.float32),
    }
    nodes = [
        helper.make_node("Relu", ["x"], ["i"]),
        *squeeze,
        helper.make_node("Conv", ["s", "w", "b"], ["e"]),
        helper.make_node("Relu", ["e"], ["r"]),
        helper.make_node("Conv", ["r", "v", "c"], ["g"]),
        helper.make_node("Sigmoid", ["g"], ["h"]),
        helper.make_node("Mul", ["i", "h"], ["y"]),
    ]
    return graph_of(model_of(nodes, {"x": (1, 16, 8, 6)}, ["y"], constants))


def kernels(graph: Graph) -> list[str]:
    """What computes the network behind its first layer, which reads an input in another order."""
    plan = pipeline.plan_for(graph, isa="scalar", threads=1)
    labels = [call.kernel.label for step in plan.steps for call in step.calls]
    first = next(number for number, label in enumerate(labels) if label.startswith("avg_pool"))
    return [label for label in labels[first:] if not label.startswith("strided_copy")]


@pytest.mark.parametrize("form", ["mean", "mean, reshaped", "flat", "channels last"])
def test_squeeze_and_excitation_has_the_same_kernels_however_it_is_written(form: str) -> None:
    assert kernels(squeezed(form)) == kernels(native())
