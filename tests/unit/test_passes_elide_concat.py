"""elide_concat: which tensors are placed, where, and that a wrong placement is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnngen.errors import GraphError
from cnngen.ir import Graph, Placement
from cnngen.ops import Add, Concat, Conv2D, Dense, Flatten, Identity, Pool2D
from cnngen.passes import elide_concat, optimise, verify_placements
from cnngen.reference import reference
from tests.graphs import EXAMPLES, RELU, Builder, dense_block, feed, inception


def places(graph: Graph) -> dict[str, tuple[str, int]]:
    return {name: (place.host, place.channel) for name, place in elide_concat(graph).placements.items()}


def test_producers_get_their_slice_and_inputs_do_not() -> None:
    graph = inception()
    found = places(graph)
    joined, fire = graph.node("joined"), graph.node("fire")
    assert "x" not in found
    assert [found[name] for name in joined.inputs[:3]] == [("joined", 0), ("joined", 4), ("joined", 9)]
    assert [found[name] for name in fire.inputs] == [("fire", 0), ("fire", 4)]


def test_a_concat_inside_a_concat_nests() -> None:
    found = places(dense_block(3))
    assert found["state0"] == ("state1", 0)
    assert found["state1"] == ("state2", 0)
    assert "state2" not in found


def test_rank_two_tensors_are_placed_too() -> None:
    net = Builder((1, 4))
    a, b = net.add(Dense(3), "x", name="a"), net.add(Dense(5), "x", name="b")
    net.add(Concat(), b, a, name="host")
    assert places(net.graph()) == {"a": ("host", 5), "b": ("host", 0)}


def test_a_tensor_is_placed_in_the_first_of_two_concats() -> None:
    net = Builder((1, 4))
    a, b = net.add(Dense(3), "x", name="a"), net.add(Dense(3), "x", name="b")
    first = net.add(Concat(), a, b, name="first")
    second = net.add(Concat(), b, a, name="second")
    assert places(net.graph(net.add(Add(), first, second))) == {"a": ("first", 0), "b": ("first", 3)}


def test_what_cannot_be_a_slice_is_not_placed() -> None:
    net = Builder((1, 2, 2, 3))
    twice = net.add(Conv2D(2, (1, 1)), "x", name="twice")
    output = net.add(Conv2D(2, (1, 1)), "x", name="output")
    view = net.add(Identity(), twice, name="view")
    flattened = net.add(Conv2D(2, (1, 1)), "x", name="flattened")
    placed = net.add(Conv2D(2, (1, 1)), "x", name="placed")
    host = net.add(Concat(), "x", twice, twice, output, view, flattened, placed, name="host")
    flat = net.add(Flatten(), flattened, name="flat")
    host2 = net.add(Concat(), flat, net.add(Dense(2), flat, name="dense"), name="host2")
    assert places(net.graph(output, host, host2)) == {"placed": ("host", 13), "dense": ("host2", 8)}


def test_placements_change_no_value_and_slices_hold_the_tensors() -> None:
    for build in (inception, dense_block):
        graph = elide_concat(build())
        tensors = reference(graph, feed(graph), keep=True)
        for name, place in graph.placements.items():
            width = graph.types[name].shape[-1]
            np.testing.assert_array_equal(
                tensors[place.host][..., place.channel : place.channel + width], tensors[name]
            )


@pytest.mark.parametrize("example", EXAMPLES)
def test_optimised_examples_verify(example: str) -> None:
    graph = optimise(EXAMPLES[example]())
    assert verify_placements(graph) is graph


@pytest.mark.parametrize(
    ("name", "place", "message"),
    [
        ("a", Placement("host", 1), "begins at 3"),
        ("a", Placement("b", 0), "no concat"),
        ("a", Placement("nowhere", 0), "no concat"),
        ("x", Placement("host", 0), "graph input"),
        ("out", Placement("host", 7), "graph output"),
        ("pool", Placement("host", 0), "exactly once"),
    ],
)
def test_wrong_placements_are_refused(name: str, place: Placement, message: str) -> None:
    net = Builder((1, 4, 4, 2))
    b = net.add(Conv2D(3, (1, 1)), "x", name="b")
    a = net.add(Conv2D(2, (1, 1)), "x", name="a")
    out = net.add(RELU, "x", name="out")
    net.add(Pool2D("max", (1, 1), (1, 1)), "x", name="pool")
    host = net.add(Concat(), b, a, "x", out, name="host")
    graph = replace(net.graph(out, host), placements={name: place})
    with pytest.raises(GraphError, match=message) as error:
        verify_placements(graph)
    assert error.value.layer == name
