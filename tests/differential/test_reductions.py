"""Reductions along any axes and matrix products: exact on integers, within their bounds on reals, on every ISA."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

import cnngen
from cnngen.analysis.batch import batched
from cnngen.backends.cpu.kernels import MatMulKernel, ReduceKernel
from cnngen.backends.cpu.target import host_isas
from cnngen.backends.cuda.target import PRECISIONS
from cnngen.errors import PlanError, ShapeError
from cnngen.ir import Graph, Node, TensorType
from cnngen.ops import ArgReduce, Conv2D, Cut, MatMul, Reduce, Slice
from cnngen.ops.reduce import REDUCTIONS
from cnngen.reference import bound, evaluate
from tests.exactness import assert_every_layer
from tests.graphs import SAME3, Builder, feed
from tests.native import RUNNABLE, native

TARGETS = [*((isa, 1) for isa in RUNNABLE), (host_isas()[-1], 2)]


def reductions() -> Graph:
    """Every function, along neighbours and across them, over one loop and over several."""
    shapes = {"v": (35,), "m": (3, 70), "t": (4, 5, 19), "i": (2, 6, 7, 20), "f": (2, 3, 2, 3, 17), "s": ()}
    net = Builder(shapes, weights="integers", name="reductions")
    over = [
        ("v", (0,)), ("m", (0,)), ("m", (1,)), ("m", (0, 1)), ("t", (1,)), ("t", (0, 2)), ("i", (1, 2)), ("i", (3,)),
        ("i", (1,)), ("i", (0, 1, 2, 3)), ("f", (1, 3)), ("f", (2, 4)), ("f", (4,)), ("s", ()), ("m", ()),
    ]  # fmt: skip
    outputs = []
    for number, (name, axes) in enumerate(over):
        for other in range(3):
            function = REDUCTIONS[(3 * number + other) % len(REDUCTIONS)]
            outputs.append(net.add(Reduce(function, axes, bool(other % 2)), name))
    part = net.add(Slice((Cut(3, 3, 1, 9),)), net.add(Conv2D(14, (3, 3), padding=SAME3), "i"))
    outputs += [net.add(Reduce(function, axes), part) for function in ("sum", "max") for axes in ((1, 2), (3,), (2, 3))]
    for name, rank in (("v", 1), ("m", 2), ("t", 3), ("i", 4)):
        for axis in range(rank):
            outputs.append(net.add(ArgReduce("max", axis, axis % 2 == 0), name))
            outputs.append(net.add(ArgReduce("min", axis, select_last=True), name))
    return net.graph(*outputs)


def products() -> Graph:
    """Matrices of all ranks, sizes that fill tiles and vectors and sizes that do not."""
    shapes = {
        "v": (9,), "w": (21,), "m": (21, 9), "n": (9, 40), "t": (3, 7, 9), "u": (3, 9, 33), "b": (1, 9, 16),
        "i": (2, 3, 13, 9), "j": (2, 1, 9, 5), "k": (2, 3, 9, 1),
    }  # fmt: skip
    net = Builder(shapes, weights="integers", name="products")
    pairs = (
        ("v", "v"), ("m", "v"), ("w", "m"), ("m", "n"), ("t", "u"), ("t", "b"), ("t", "n"), ("t", "v"), ("v", "u"),
        ("i", "j"), ("i", "k"), ("i", "n"), ("t", "j"), ("i", "u"), ("i", "v"),
    )  # fmt: skip
    outputs = [net.add(MatMul(), *pair) for pair in pairs]
    part = net.add(Slice((Cut(3, 0, 1, 9),)), net.add(Conv2D(12, (1, 1)), "i"))
    outputs.append(net.add(MatMul(), part, "j"))
    outputs.append(net.add(MatMul(), "t", net.constant((9, 6))))
    return net.graph(*outputs)


NETWORKS: dict[str, Callable[[], Graph]] = {build.__name__: build for build in (reductions, products)}


@functools.cache
def graph_of(name: str) -> Graph:
    return NETWORKS[name]()


@pytest.mark.parametrize(("isa", "threads"), TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_keeps_its_bound(name: str, isa: str, threads: int) -> None:
    graph = graph_of(name)
    with native(graph, isa, threads, flags=("-O1",)) as net:
        for kind in ("integers", "random"):
            assert_every_layer(graph, net.trace(*feed(graph, kind).values()))


@pytest.mark.parametrize("name", NETWORKS)
def test_passes_and_verification_hold(name: str) -> None:
    with cnngen.compile(graph_of(name)) as net:
        report = cnngen.verify(net)
        assert report.ok, report.summary()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_cuda_keeps_the_bounds(name: str, precision: str) -> None:
    with cnngen.compile(graph_of(name), target="cuda-emulated", precision=precision) as net:
        report = cnngen.verify(net)
        assert report.ok, report.summary()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("function", ["max", "min"])
def test_equal_elements_and_nan(function: str, last: bool, axis: int) -> None:
    net = Builder((4, 5))
    net.add(ArgReduce(function, axis, select_last=last))  # type: ignore[arg-type]
    net.add(Reduce(function, (axis,)), "x")  # type: ignore[arg-type]
    graph = net.graph(*(node.name for node in net.nodes))
    x = np.array([[1, 3, 3, 0, 0], [2, np.nan, 5, np.nan, 1], [-np.inf, 3, 3, np.inf, 0], [0, 0, 0, 0, 0]], np.float32)
    with native(graph) as compiled:
        for found, node in zip(compiled(x), graph.nodes, strict=True):
            np.testing.assert_array_equal(found, evaluate(node, [x]))


@pytest.mark.parametrize("target", ["cpu", "cuda-emulated"])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_logarithm_of_exponentials_does_not_overflow(axis: int, target: str) -> None:
    net = Builder((3, 3))
    net.add(Reduce("log_sum_exp", (axis,)))
    graph = net.graph()
    x = np.array([[500, 500, -np.inf], [500, -500, -np.inf], [500, 0, -np.inf]], np.float32)
    with cnngen.compile(graph, target=target) as compiled:
        found, expected = np.asarray(compiled(x)), bound(graph.nodes[0], [x])
        finite = np.isfinite(expected.value)
        assert (np.abs(found[finite] - expected.value[finite]) <= expected.limit[finite]).all()
        assert np.array_equal(found[~finite], expected.value[~finite])


@pytest.mark.parametrize(
    ("op", "shapes", "free"),
    [
        (Reduce("sum", (1,)), ((2, 3),), True),
        (Reduce("sum", (0,)), ((2, 3),), False),
        (ArgReduce("max", 0), ((2, 3),), False),
        (ArgReduce("max", 1), ((2, 3),), True),
        (MatMul(), ((2, 3, 4), (2, 4, 5)), True),
        (MatMul(), ((2, 4), (4, 2)), False),
        (MatMul(), ((2, 3, 4), (4, 5)), False),
    ],
)  # fmt: skip
def test_which_ops_keep_the_batch(op: cnngen.ops.Op, shapes: tuple[tuple[int, ...], ...], free: bool) -> None:
    net = Builder({f"x{number}": shape for number, shape in enumerate(shapes)})
    net.add(op, *net.types)
    assert batched(net.graph()) is free


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3), (4, 5)), "sums over 3 elements of the first and 4 of the second input"),
        (((2, 3, 4), (3, 4, 5)), "neither equal nor 1"),
        (((), (3,)), "takes no scalars"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        MatMul().infer([TensorType(shape) for shape in shapes])


def test_axes_that_are_not_there_are_refused() -> None:
    for axes in ((2,), (0, 0), (-1,)):
        with pytest.raises(ShapeError, match="name axes of 0 to 1 once"):
            Reduce("sum", axes).infer([TensorType((2, 3))])


def test_kernels_refuse_what_they_cannot_do() -> None:
    with pytest.raises(PlanError, match="does not reduce neighbours"):
        ReduceKernel(8, "sum", ((3, 5, 1),), ((5, 2),), True).verify()
    with pytest.raises(PlanError, match="does not keep neighbours"):
        ReduceKernel(8, "sum", ((3, 5, 2),), ((5, 1),), False).verify()


def test_products_are_tiled() -> None:
    kernel = MatMulKernel(8, 21, 9, 40, (9, 1), 40, 40, ())
    assert (kernel.tile, kernel.blocks, kernel.strips) == (6, 4, ((0, 2, 0, 2), (32, 1, 0, 1)))


@pytest.mark.parametrize("function", REDUCTIONS)
def test_bounds_hold_for_float32_sums_in_order(function: str) -> None:
    """NumPy in float32, one element after the other, is one of the orders that a bound allows."""
    rng = np.random.default_rng(0)
    x = np.asarray(np.abs(rng.standard_normal((50, 300))) + 0.1, np.float32)
    node = Node("y", Reduce(function, (1,), False), ("x",))  # type: ignore[arg-type]
    found = bound(node, [x])
    plain = {
        "sum": lambda: np.add.accumulate(x, axis=1)[:, -1],
        "l1": lambda: np.add.accumulate(x, axis=1)[:, -1],
        "mean": lambda: np.add.accumulate(x, axis=1)[:, -1] / np.float32(300),
        "sum_square": lambda: np.add.accumulate(x * x, axis=1)[:, -1],
        "l2": lambda: np.sqrt(np.add.accumulate(x * x, axis=1)[:, -1]),
        "prod": lambda: np.multiply.accumulate(x, axis=1)[:, -1],
        "log_sum": lambda: np.log(np.add.accumulate(x, axis=1)[:, -1]),
        "log_sum_exp": lambda: x.max(1) + np.log(np.add.accumulate(np.exp(x - x.max(1, keepdims=True)), axis=1)[:, -1]),
        "max": lambda: x.max(1),
        "min": lambda: x.min(1),
    }[function]()
    assert plain.dtype == np.float32
    assert (np.abs(plain - found.value) <= found.limit).all()
