"""pool_first: averages move in front of pointwise convolutions where nothing but the work changes."""

from __future__ import annotations

import numpy as np
import pytest

from cnngen.ir import Graph, verify_graph
from cnngen.ops import Add, BatchNorm, Conv2D, GlobalPool2D, Op, Pool2D
from cnngen.passes import fold_batch_norm, optimise, pool_first
from cnngen.reference import reference
from tests.graphs import EXAMPLES, RELU, Builder, chain, feed

POINTWISE = Conv2D(5, (1, 1))
HALVE = Pool2D("avg", (2, 2), (2, 2))


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes]


def assert_same(before: Graph, after: Graph) -> None:
    verify_graph(after)
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    x = feed(before, batch=2)
    old, new = reference(before, x, keep=True), reference(after, x, keep=True)
    for name in before.outputs:
        assert np.abs(new[name] - old[name]).max() <= 1e-12 * (np.abs(old[name]).max() or 1.0)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_keep_their_values(example: str) -> None:
    graph = EXAMPLES[example]()
    assert_same(graph, pool_first(graph))


@pytest.mark.parametrize(
    "pool",
    [
        HALVE,
        Pool2D("avg", (3, 2), (1, 2)),
        Pool2D("avg", (2, 2), (3, 3), dilation=(2, 1)),
        Pool2D("avg", (2, 2), (2, 2), count_include_pad=True),
        GlobalPool2D("avg"),
    ],
)
@pytest.mark.parametrize("convolution", [POINTWISE, Conv2D(6, (1, 1), groups=2, use_bias=False)])
def test_an_average_goes_first(pool: Op, convolution: Conv2D) -> None:
    graph = chain((1, 8, 7, 4), convolution, pool, RELU)
    after = pool_first(graph)
    assert kinds(after) == [pool.kind, "conv2d", "relu"]
    assert_same(graph, after)
    assert kinds(optimise(graph)) == [pool.kind, "conv2d"]


def test_an_average_goes_past_several_convolutions_and_batch_norms() -> None:
    graph = fold_batch_norm(chain((1, 8, 8, 4), POINTWISE, BatchNorm(), Conv2D(3, (1, 1)), HALVE, RELU))
    after = pool_first(graph)
    assert kinds(after) == ["avg_pool", "conv2d", "conv2d", "relu"]
    assert_same(graph, after)


@pytest.mark.parametrize(
    ("convolution", "pool"),
    [
        (Conv2D(5, (3, 3), padding=(1, 1, 1, 1)), HALVE),
        (Conv2D(5, (1, 1), (2, 2)), HALVE),
        (Conv2D(5, (1, 1), padding=(1, 0, 0, 0)), HALVE),
        (POINTWISE, Pool2D("max", (2, 2), (2, 2))),
        (POINTWISE, GlobalPool2D("max")),
        (POINTWISE, Pool2D("avg", (3, 3), (2, 2), (1, 1, 1, 1))),
        (POINTWISE, Pool2D("avg", (3, 3), (2, 2), ceil_mode=True)),
        (POINTWISE, Pool2D("avg", (1, 1), (1, 1))),
    ],
)
def test_what_means_something_else_or_saves_nothing_stays(convolution: Conv2D, pool: Op) -> None:
    graph = chain((1, 8, 8, 4), convolution, pool, RELU)
    assert kinds(pool_first(graph)) == ["conv2d", pool.kind, "relu"]


def test_a_convolution_that_is_read_elsewhere_and_an_output_stay() -> None:
    net = Builder((1, 8, 8, 4))
    shared = net.add(POINTWISE)
    first = net.add(HALVE, shared)
    second = net.add(HALVE, net.add(POINTWISE, "x"))
    graph = net.graph(net.add(RELU, shared), net.add(RELU, first), second)
    assert kinds(pool_first(graph)) == kinds(graph)


def test_an_epilogue_stays_behind_its_convolution() -> None:
    net = Builder((1, 8, 8, 5))
    total = net.add(Add(), net.add(POINTWISE, "x"), "x")
    graph = net.graph(net.add(RELU, net.add(HALVE, net.add(RELU, net.add(HALVE, total)))))
    assert kinds(pool_first(graph)) == kinds(graph)
