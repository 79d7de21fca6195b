"""fold_batch_norm, fuse_epilogues and the whole of optimise: same values, fewer nodes, stable names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnngen.errors import Source
from cnngen.ir import Graph, Node, verify_graph
from cnngen.ops import (
    Activate,
    Activation,
    Add,
    BatchNorm,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Flatten,
    Identity,
    Mul,
    Pool2D,
)
from cnngen.passes import fold_batch_norm, fuse_epilogues, fuse_gates, optimise
from cnngen.reference import bound, reference
from tests.graphs import EXAMPLES, RELU, SAME3, Builder, chain, feed
from tests.unit.test_passes_cleanup import assert_same, kinds

ONE_ROUNDING = 2.0**-24
"""Folding rounds every weight and bias to float32 once."""


def with_source(graph: Graph) -> Graph:
    """Every node says which line it is from: its position."""
    nodes = tuple(replace(node, source=Source("net.yaml", line)) for line, node in enumerate(graph.nodes))
    return replace(graph, nodes=nodes)


LAYERS = [
    Conv2D(6, (3, 3), groups=2),
    Conv2D(6, (3, 3), use_bias=False),
    Conv2DTranspose(6, (3, 3), (2, 2), groups=2),
    Conv2DTranspose(6, (1, 2), (2, 2), output_padding=(1, 0), use_bias=False),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer.kind}-g{layer.groups}")
def test_batch_norm_folds_into_a_convolution_within_one_rounding(layer: Conv2D | Conv2DTranspose) -> None:
    graph = with_source(chain((2, 5, 5, 4), layer, BatchNorm(1e-3)))
    after = verify_graph(fold_batch_norm(graph))
    assert kinds(after) == [layer.kind]
    folded = after.nodes[0]
    assert (folded.name, folded.source) == (graph.nodes[1].name, graph.nodes[0].source)
    assert folded.op == replace(layer, use_bias=True)
    assert all(array.dtype == np.float32 for array in folded.weights.values())
    x = feed(graph)
    absolute = replace(folded, weights={role: np.abs(array) for role, array in folded.weights.items()})
    magnitude = absolute.op.evaluate([np.abs(x["x"])], absolute.weights)
    assert (np.abs(reference(after, x) - reference(graph, x)) <= 1.01 * ONE_ROUNDING * magnitude).all()


def test_batch_norm_folds_into_a_dense_layer() -> None:
    graph = chain((1, 5), Dense(4, use_bias=False), BatchNorm(), RELU)
    after = fold_batch_norm(graph)
    assert kinds(after) == ["dense", "relu"]
    assert_same(graph, after, rtol=1e-6)


def test_two_batch_norms_in_a_row_both_fold() -> None:
    graph = chain((1, 4, 4, 2), Conv2D(3, (1, 1)), BatchNorm(), BatchNorm())
    after = fold_batch_norm(graph)
    assert kinds(after) == ["conv2d"]
    assert_same(graph, after, rtol=1e-6)


def test_batch_norm_without_a_layer_in_front_stays() -> None:
    for graph in (
        chain((1, 4, 4, 2), BatchNorm(), RELU, Conv2D(3, (3, 3), padding=SAME3)),
        chain((1, 4, 4, 2), Conv2D(3, (1, 1), activation=Activation("relu")), BatchNorm()),
        chain((1, 4, 4, 2), Pool2D("avg", (2, 2), (2, 2)), BatchNorm()),
    ):
        assert kinds(fold_batch_norm(graph)) == kinds(graph)


def test_batch_norm_of_a_residual_sum_stays() -> None:
    net = Builder((1, 4, 4, 2))
    net.add(Conv2D(2, (1, 1), residual=True), "x", "x")
    net.add(BatchNorm())
    assert kinds(fold_batch_norm(net.graph())) == ["conv2d", "batch_norm"]


def test_batch_norm_stays_where_the_layer_is_read_elsewhere() -> None:
    net = Builder((1, 4, 4, 2))
    conv = net.add(Conv2D(2, (1, 1)))
    norm = net.add(BatchNorm(), conv)
    for graph in (net.graph(conv, norm), net.graph(net.add(Add(), conv, norm))):
        assert "batch_norm" in kinds(fold_batch_norm(graph))
        assert_same(graph, fold_batch_norm(graph))


def test_batch_norm_that_would_overflow_float32_stays() -> None:
    graph = chain((1, 4), Dense(3), BatchNorm())
    huge = replace(graph.nodes[0], weights={**graph.nodes[0].weights, "weight": np.full((4, 3), 3e38, np.float32)})
    norm = graph.nodes[1]
    scaled = replace(norm, weights={**norm.weights, "gamma": np.full(3, 100, np.float32)})
    graph = replace(graph, nodes=(huge, scaled))
    assert kinds(fold_batch_norm(graph)) == ["dense", "batch_norm"]


def test_activation_fuses_behind_each_kind_of_layer() -> None:
    relu = Activation("relu")
    conv = fuse_epilogues(chain((1, 4, 4, 2), Conv2D(3, (1, 1)), RELU))
    assert [node.op for node in conv.nodes] == [Conv2D(3, (1, 1), activation=relu)]
    up = fuse_epilogues(chain((1, 4, 4, 2), Conv2DTranspose(3, (2, 2), (2, 2)), RELU))
    assert [node.op for node in up.nodes] == [Conv2DTranspose(3, (2, 2), (2, 2), activation=relu)]
    dense = fuse_epilogues(chain((1, 4), Dense(3), RELU))
    assert [node.op for node in dense.nodes] == [Dense(3, activation=relu)]
    net = Builder((1, 4))
    net.add(Add(), "x", "x")
    net.add(RELU)
    assert [node.op for node in fuse_epilogues(net.graph()).nodes] == [Add(activation=relu)]


def test_only_one_activation_fuses_and_other_layers_take_none() -> None:
    tanh, pool = Activate(Activation("tanh")), Pool2D("max", (2, 2), (2, 2))
    graph = chain((1, 4, 4, 2), Conv2D(3, (1, 1)), RELU, tanh, pool, RELU)
    after = fuse_epilogues(graph)
    assert kinds(after) == ["conv2d", "tanh", "max_pool", "relu"]
    assert_same(graph, after)


def test_activation_stays_where_the_layer_is_read_elsewhere_or_is_an_output() -> None:
    net = Builder((1, 4))
    dense = net.add(Dense(4))
    relu = net.add(RELU, dense)
    for graph in (net.graph(dense, relu), net.graph(net.add(Add(), dense, relu))):
        assert "relu" in kinds(fuse_epilogues(graph))
        assert_same(graph, fuse_epilogues(graph))


def residual_sum(swap: bool) -> Graph:
    net = Builder((1, 6, 6, 4))
    main = net.add(Conv2D(4, (3, 3), padding=SAME3), "x", name="main")
    net.add(Add(), *(("x", main) if swap else (main, "x")), name="sum")
    net.add(RELU, name="block")
    return with_source(net.graph())


@pytest.mark.parametrize("swap", [False, True])
def test_residual_sum_and_its_activation_become_an_epilogue(swap: bool) -> None:
    graph = residual_sum(swap)
    after = fuse_epilogues(graph)
    (node,) = after.nodes
    assert node.op == Conv2D(4, (3, 3), padding=SAME3, residual=True, activation=Activation("relu"))
    assert (node.name, node.inputs, node.source) == ("block", ("x", "x"), graph.nodes[0].source)
    assert_same(graph, after)


def test_a_residual_sum_becomes_the_epilogue_of_a_transposed_convolution() -> None:
    net = Builder({"x": (1, 3, 3, 4), "fine": (1, 6, 6, 5)})
    up = net.add(Conv2DTranspose(5, (2, 2), (2, 2)), "x")
    net.add(Add(), "fine", up)
    net.add(RELU, name="y")
    graph = net.graph()
    after = fuse_epilogues(graph)
    (node,) = after.nodes
    assert node.op == Conv2DTranspose(5, (2, 2), (2, 2), residual=True, activation=Activation("relu"))
    assert node.inputs == ("x", "fine")
    assert_same(graph, after)


def test_the_later_of_two_convolutions_takes_the_sum() -> None:
    net = Builder((1, 6, 6, 4))
    first = net.add(Conv2D(4, (1, 1)), "x", name="first")
    second = net.add(Conv2D(4, (3, 3), padding=SAME3), "x", name="second")
    net.add(Add(), second, first, name="sum")
    graph = net.graph()
    after = fuse_epilogues(graph)
    assert [(node.name, node.inputs) for node in after.nodes] == [("first", ("x",)), ("sum", ("x", "first"))]
    assert_same(graph, after)


def test_a_convolution_before_the_other_operand_is_computed_later() -> None:
    net = Builder((1, 6, 6, 4))
    shortcut = net.add(Conv2D(4, (1, 1)), "x", name="shortcut")
    net.add(Conv2D(4, (3, 3), padding=SAME3), "x", name="main")
    main = net.add(RELU, name="main_relu")
    net.add(Add(), shortcut, main, name="sum")
    graph = net.graph()
    after = verify_graph(fuse_epilogues(graph))
    assert [(node.name, node.inputs) for node in after.nodes] == [("main_relu", ("x",)), ("sum", ("x", "main_relu"))]
    assert_same(graph, after)


def test_sums_that_cannot_fuse_stay() -> None:
    net = Builder((1, 6, 6, 4))
    conv = net.add(Conv2D(4, (1, 1)), "x")
    twice = net.add(Add(), conv, conv)  # reads it twice
    three = net.add(Add(), net.add(Conv2D(4, (1, 1)), twice), twice, "x")  # three operands
    active = net.add(Conv2D(4, (1, 1), activation=Activation("relu")), three)
    graph = net.graph(net.add(Add(), active, three))  # the activation comes before the sum
    after = fuse_epilogues(graph)
    assert kinds(after).count("add") == 3
    assert_same(graph, after)


def test_a_sum_with_an_activation_of_its_own_fuses_whole() -> None:
    net = Builder((1, 6, 6, 4))
    conv = net.add(Conv2D(4, (1, 1)), "x")
    net.add(Add(activation=Activation("relu")), "x", conv)
    graph = net.graph()
    (node,) = fuse_epilogues(graph).nodes
    assert node.op == Conv2D(4, (1, 1), residual=True, activation=Activation("relu"))
    assert_same(graph, fuse_epilogues(graph))


def test_a_chain_of_sums_gives_one_residual_each() -> None:
    net = Builder((1, 6, 6, 4))
    state = "x"
    for _ in range(3):
        state = net.add(Add(), net.add(Conv2D(4, (1, 1)), state), state)
    graph = net.graph()
    after = fuse_epilogues(graph)
    assert [node.op.residual for node in after.nodes if isinstance(node.op, Conv2D)] == [True] * 3
    assert_same(graph, after)


@pytest.mark.parametrize("example", EXAMPLES)
def test_optimise_keeps_values_and_names_of_the_examples(example: str) -> None:
    graph = EXAMPLES[example]()
    # Folding rounds once; a few layers behind it may magnify that.
    assert_same(graph, optimise(graph), rtol=1e-6)


@pytest.mark.parametrize("example", EXAMPLES)
def test_optimise_changes_nothing_it_is_given_and_a_second_time_nothing_at_all(example: str) -> None:
    graph = EXAMPLES[example]()
    before = [(node.name, node.op, node.inputs, {k: v.copy() for k, v in node.weights.items()}) for node in graph.nodes]
    once = optimise(graph)
    for node, (name, op, inputs, weights) in zip(graph.nodes, before, strict=True):
        assert (node.name, node.op, node.inputs) == (name, op, inputs)
        for role, array in weights.items():
            np.testing.assert_array_equal(node.weights[role], array)

    def form(node: Node) -> tuple[object, ...]:
        return node.name, node.op, node.inputs, {role: array.tobytes() for role, array in node.weights.items()}

    assert [form(node) for node in optimise(once).nodes] == [form(node) for node in once.nodes]


def test_residual_network_becomes_convolutions_only() -> None:
    after = optimise(EXAMPLES["residual"]())
    assert kinds(after) == ["conv2d"] * 5 + ["global_avg_pool", "flatten", "dense"]


def test_dropout_and_order_of_passes_do_not_hide_a_fusion() -> None:
    graph = chain(
        (1, 4, 4, 3), Conv2D(5, (3, 3)), Identity(), BatchNorm(), Identity(), RELU, Flatten("chw"), Identity(), Dense(2)
    )
    after = optimise(graph)
    assert kinds(after) == ["conv2d", "flatten", "dense"]
    assert after.nodes[1].op == Flatten("hwc")
    assert_same(graph, after, rtol=1e-6)


def test_error_bounds_of_fused_nodes_hold_for_the_unfused_float32_network() -> None:
    graph = chain((1, 6, 6, 3), Conv2D(4, (3, 3)), RELU)
    x = feed(graph)["x"]
    result = bound(optimise(graph).nodes[0], [x])
    single = graph.nodes[0].op.evaluate([x], graph.nodes[0].weights)
    assert single.dtype == np.float32
    assert (np.abs(np.maximum(single, 0) - result.value) <= result.limit).all()


GATED = {
    "silu": Activation("sigmoid"),
    "hard_swish": Activation("hard_sigmoid", 1 / 6, 0.5),
}


@pytest.mark.parametrize("first", [True, False], ids=["x-gate", "gate-x"])
@pytest.mark.parametrize("name", GATED)
def test_a_product_with_its_own_gate_is_one_activation(name: str, first: bool) -> None:
    net = Builder((1, 4, 4, 2))
    conv = net.add(Conv2D(3, (1, 1)))
    gate = net.add(Activate(GATED[name]), conv)
    graph = with_source(net.graph(net.add(Mul(), *((conv, gate) if first else (gate, conv)))))
    after = fuse_gates(graph)
    assert kinds(after) == ["conv2d", name]
    assert (after.nodes[-1].name, after.nodes[-1].source) == (graph.nodes[-1].name, graph.nodes[1].source)
    assert_same(graph, after, rtol=1e-6)
    optimised = optimise(graph)
    assert kinds(optimised) == ["conv2d"]
    assert optimised.nodes[0].op == Conv2D(3, (1, 1), activation=Activation(name))


def test_products_that_are_no_gate_stay() -> None:
    sigmoid, other = Activate(Activation("sigmoid")), Activate(Activation("hard_sigmoid", 0.2, 0.5))
    for case in range(5):
        net = Builder((1, 4, 4, 2))
        x = net.add(Conv2D(2, (1, 1)))
        y = net.add(Conv2D(2, (1, 1)), "x")
        gate = net.add(other if case == 1 else sigmoid, y if case == 0 else x)
        if case == 2:  # somebody else reads the gate
            product = net.add(Mul(), x, gate)
            graph = net.graph(net.add(Add(), product, gate))
        elif case == 3:
            graph = net.graph(net.add(Mul(), x, gate, y))
        elif case == 4:  # the gate is an output
            graph = net.graph(net.add(Mul(), x, gate), gate)
        else:
            graph = net.graph(net.add(Mul(), x, gate))
        assert kinds(fuse_gates(graph)) == kinds(graph), case
