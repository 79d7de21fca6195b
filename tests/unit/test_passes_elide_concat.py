"""nest_concats and elide_concat: which tensors are placed, where, and that a wrong placement is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnngen.errors import GraphError
from cnngen.ir import Graph, Placement
from cnngen.ops import Add, Concat, Conv2D, Dense, Flatten, Identity, Pool2D
from cnngen.passes import elide_concat, nest_concats, optimise, verify_placements
from cnngen.reference import reference
from tests.graphs import EXAMPLES, RELU, Builder, dense_block, feed, flat_dense_block, inception


def places(graph: Graph) -> dict[str, tuple[str, int]]:
    return {name: (place.host, place.channel) for name, place in elide_concat(graph).placements.items()}


def inputs_of_concats(graph: Graph) -> dict[str, tuple[str, ...]]:
    return {node.name: node.inputs for node in graph.nodes if isinstance(node.op, Concat)}


def copies(graph: Graph) -> list[str]:
    """Every tensor that a backend has to copy into a concat, once for each time."""
    return [
        name
        for host, inputs in inputs_of_concats(graph).items()
        for name in inputs
        if name not in graph.placements or graph.placements[name].host != host
    ]


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


def test_flat_concats_of_a_dense_block_nest_into_one_buffer() -> None:
    """Each output is written once: everything but the last concat lies in another one, nothing is copied."""
    graph = optimise(flat_dense_block(4))
    assert inputs_of_concats(graph) == {
        "state1": ("start", "new0"),
        "state2": ("state1", "new1"),
        "state3": ("state2", "new2"),
        "state4": ("state3", "new3"),
    }
    assert copies(graph) == []
    assert {name: (place.host, place.channel) for name, place in graph.placements.items()} == {
        "start": ("state1", 0), "new0": ("state1", 4), "state1": ("state2", 0), "new1": ("state2", 7),
        "state2": ("state3", 0), "new2": ("state3", 10), "state3": ("state4", 0), "new3": ("state4", 13),
    }  # fmt: skip


def test_without_nesting_the_flat_block_copies_all_but_the_first() -> None:
    """What the pass is for: the growth of the copies is quadratic."""
    graph = elide_concat(flat_dense_block(4))
    assert copies(graph) == ["start", "new0", "start", "new0", "new1", "start", "new0", "new1", "new2"]


@pytest.mark.parametrize(
    ("concats", "nested", "copied"),
    [
        pytest.param("ab bab", {"1": "b0"}, "b", id="a run at the end; the other b is a copy"),
        pytest.param("ab abab", {"1": "0ab"}, "ab", id="only one of two runs: twice the same could not be placed"),
        pytest.param("ab ab", {"1": "0"}, "", id="all of it"),
        pytest.param("ab ba", {}, "ba", id="another order is no run"),
        pytest.param("abc ab", {}, "ab", id="a part of an earlier concat cannot be read from it"),
        pytest.param("ab cd abcd", {"2": "01"}, "", id="two runs"),
        pytest.param("ab abc dabce", {"1": "0c", "2": "d1e"}, "", id="the longest run comes first"),
        pytest.param("bc 0d abcde", {"2": "a1e"}, "", id="what is nested already matches what is flat"),
        pytest.param("abc bc a1d", {"2": "0d"}, "", id="a nested concat that nothing reads any more disappears"),
    ],
)
def test_which_runs_nest(concats: str, nested: dict[str, str], copied: str) -> None:
    """Tensors are letters, concats the digits of their order; all concats that nothing reads are summed up."""
    net = Builder((1, 3, 3, 2))
    for letter in sorted(set("".join(concats.split())) - set("0123456789")):
        net.add(Conv2D(2, (1, 1)), "x", name=letter)
    words = concats.split()
    for number, word in enumerate(words):
        net.add(Concat(), *word, name=str(number))
    unread = [str(number) for number in range(len(words)) if str(number) not in "".join(words)]
    graph = net.graph(*(net.add(Conv2D(3, (1, 1)), name) for name in unread))
    after = nest_concats(graph)
    same = {str(number): tuple(word) for number, word in enumerate(words)} | {
        number: tuple(word) for number, word in nested.items()
    }
    found = inputs_of_concats(after)
    assert found == {number: same[number] for number in found}
    assert same.keys() - found.keys() <= {name for word in words for name in word}, "only what was nested disappears"
    assert copies(elide_concat(after)) == list(copied)
    x = feed(graph)
    before, now = reference(graph, x, keep=True), reference(after, x, keep=True)
    for name in graph.outputs:
        np.testing.assert_array_equal(now[name], before[name])


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
