"""remove_dead, remove_identity and fold_flatten: nothing but the graph's form changes."""

from __future__ import annotations

import numpy as np
import pytest

from cnngen.ir import Graph, verify_graph
from cnngen.ops import Activate, Activation, Add, Concat, Conv2D, Dense, Flatten, Identity, Op
from cnngen.passes import fold_flatten, remove_dead, remove_identity
from cnngen.reference import reference
from tests.graphs import EXAMPLES, RELU, Builder, chain, feed


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes]


def assert_same(before: Graph, after: Graph, rtol: float = 0.0, batch: int = 3) -> None:
    """Same inputs and output names, and the same float64 values for them."""
    verify_graph(after)
    assert after.inputs == before.inputs
    assert after.outputs == before.outputs
    x = feed(before, batch=batch)
    old, new = reference(before, x, keep=True), reference(after, x, keep=True)
    for name in before.outputs:
        scale = np.abs(old[name]).max() or 1.0
        np.testing.assert_allclose(new[name], old[name], rtol=0, atol=rtol * scale, err_msg=name)


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("apply", [remove_dead, remove_identity, fold_flatten])
def test_examples_keep_their_values(example: str, apply) -> None:
    graph = EXAMPLES[example]()
    assert_same(graph, apply(graph), rtol=1e-14)


def test_remove_dead_drops_whole_branches_and_keeps_inputs() -> None:
    net = Builder({"x": (1, 4, 4, 2), "unused": (1, 4, 4, 2)})
    used = net.add(Conv2D(3, (1, 1)), "x", name="used")
    net.add(Conv2D(3, (1, 1)), used, name="dead")
    net.add(RELU, "dead", name="dead_too")
    net.add(Add(), "unused", "unused")
    graph = net.graph(used)
    after = remove_dead(graph)
    assert [node.name for node in after.nodes] == ["used"]
    assert set(after.types) == {"x", "unused", "used"}
    assert_same(graph, after)


def test_remove_dead_keeps_an_output_that_is_read_further_on() -> None:
    net = Builder((1, 4))
    first = net.add(Dense(3))
    graph = net.graph(first, net.add(Dense(2), first))
    assert kinds(remove_dead(graph)) == ["dense", "dense"]


def test_identity_between_layers_disappears() -> None:
    graph = chain((1, 6), Dense(4), Identity(), Identity(), RELU, Identity(), Dense(2))
    after = remove_identity(graph)
    assert kinds(after) == ["dense", "relu", "dense"]
    assert_same(graph, after)


def test_identity_of_an_input_disappears_inside() -> None:
    graph = chain((1, 6), Identity(), Dense(4))
    after = remove_identity(graph)
    assert after.nodes[0].inputs == ("x",)
    assert_same(graph, after)


def test_identity_as_the_output_gives_its_name_to_the_layer() -> None:
    net = Builder((1, 6))
    net.add(Dense(4), name="logits")
    net.add(Identity(), name="inner")
    net.add(Identity(), name="result")
    graph = net.graph()
    after = remove_identity(graph)
    assert [node.name for node in after.nodes] == ["result"]
    assert_same(graph, after)


def test_other_readers_follow_a_renamed_layer() -> None:
    net = Builder((1, 6))
    dense = net.add(Dense(4), name="dense")
    early = net.add(RELU, dense, name="early")
    result = net.add(Identity(), dense, name="result")
    late = net.add(Add(), dense, result, early, name="late")
    graph = net.graph(result, late)
    after = remove_identity(graph)
    assert [(node.name, node.inputs) for node in after.nodes] == [
        ("result", ("x",)),
        ("early", ("result",)),
        ("late", ("result", "result", "early")),
    ]
    assert_same(graph, after)


def test_a_second_name_for_one_output_stays() -> None:
    net = Builder((1, 6))
    dense = net.add(Dense(4), name="dense")
    one = net.add(Identity(), dense, name="one")
    two = net.add(Identity(), dense, name="two")
    graph = net.graph(one, two)
    after = remove_identity(graph)
    assert [(node.name, node.inputs) for node in after.nodes] == [("one", ("x",)), ("two", ("one",))]
    assert_same(graph, after)


def test_an_output_that_copies_an_input_or_an_output_stays() -> None:
    net = Builder((1, 6))
    copy = net.add(Identity(), "x", name="copy")
    dense = net.add(Dense(6), copy, name="dense")
    again = net.add(Identity(), dense, name="again")
    graph = net.graph(copy, dense, again)
    after = remove_identity(graph)
    assert kinds(after) == ["identity", "dense", "identity"]
    assert_same(graph, after)


def test_flatten_order_moves_into_all_dense_readers() -> None:
    net = Builder((1, 3, 4, 5))
    flat = net.add(Flatten("chw"))
    a, b = net.add(Dense(7), flat), net.add(Dense(2, use_bias=False), flat)
    graph = net.graph(a, b)
    after = fold_flatten(graph)
    assert after.nodes[0].op == Flatten("hwc")
    assert after.nodes[1].weights["weight"].dtype == np.float32
    assert_same(graph, after, rtol=1e-14)
    # The graph it was given still holds its own weights.
    assert graph.nodes[1].weights["weight"] is not after.nodes[1].weights["weight"]


@pytest.mark.parametrize("reader", [Activate(Activation("tanh")), Identity()])
def test_flatten_order_stays_where_others_read_it(reader: Op) -> None:
    net = Builder((1, 3, 4, 5))
    flat = net.add(Flatten("chw"))
    graph = net.graph(net.add(Dense(7), flat), net.add(reader, flat))
    after = fold_flatten(graph)
    assert after.nodes[0].op == Flatten("chw")
    assert_same(graph, after)


def test_flatten_order_stays_at_an_output() -> None:
    net = Builder((1, 3, 4, 5))
    flat = net.add(Flatten("chw"))
    graph = net.graph(flat, net.add(Dense(7), flat))
    assert fold_flatten(graph).nodes[0].op == Flatten("chw")
    assert_same(graph, fold_flatten(graph))


@pytest.mark.parametrize("shape", [(1, 1, 1, 6), (1, 3, 4, 1), (1, 6)])
def test_flatten_order_is_dropped_where_it_means_nothing(shape: tuple[int, ...]) -> None:
    graph = chain(shape, Flatten("chw"))
    after = fold_flatten(graph)
    assert after.nodes[0].op == Flatten("hwc")
    assert_same(graph, after)


def test_dense_behind_a_concat_of_flattened_images_is_left_alone() -> None:
    net = Builder((1, 3, 4, 5))
    flat = net.add(Flatten("chw"), "x")
    joined = net.add(Concat(), flat, net.add(Flatten("chw"), "x"))
    graph = net.graph(net.add(Dense(3), joined))
    after = fold_flatten(graph)
    assert [node.op for node in after.nodes[:2]] == [Flatten("chw")] * 2
    assert_same(graph, after)
