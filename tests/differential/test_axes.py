"""Tensors of any rank, ops along any axes: exact on every ISA, on shapes that fill vectors and on some that do not."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

import cnngen
from cnngen.analysis.batch import batched
from cnngen.backends.cpu.kernels import ReshapeKernel, StridedCopyKernel
from cnngen.backends.cpu.target import host_isas
from cnngen.errors import RunError
from cnngen.ir import Graph
from cnngen.ops import (
    Activate,
    Activation,
    Add,
    Concat,
    Conv2D,
    Cut,
    Dense,
    Div,
    Expand,
    Flatten,
    Identity,
    Maximum,
    Mul,
    Reshape,
    Slice,
    Softmax,
    Sub,
    Transpose,
)
from cnngen.passes.expand_operands import expand_operands
from cnngen.reference import reference
from tests.exactness import assert_every_layer
from tests.graphs import RELU, SAME3, Builder, feed
from tests.native import RUNNABLE, native, planned

TARGETS = [*((isa, 1) for isa in RUNNABLE), (host_isas()[-1], 2)]


def moves() -> Graph:
    """Transpositions, slices, joins and repetitions of all ranks."""
    shapes = {
        "s": (), "v": (19,), "m": (20, 37), "t": (3, 18, 33), "i": (2, 5, 19, 24), "j": (2, 17, 3, 1),
        "f": (2, 3, 4, 2, 9),
        "g": (2, 1, 3, 2, 2, 5),
    }  # fmt: skip
    net = Builder(shapes, weights="integers", name="moves")
    ops = [
        ("s", Identity()), ("s", Reshape((1, 1), whole=True)), ("s", Expand((3, 5))), ("s", RELU),
        ("v", Reshape((19, 1), whole=True)), ("v", Expand((4, 19))), ("v", Slice((Cut(0, 18, -2, 10),))),
        ("v", RELU),
        ("m", Transpose((1, 0))), ("m", Slice((Cut(0, 3, 2, 5), Cut(1, 30, -3, 10)))),
        ("m", Expand((2, 1, 20, 37))),
        ("m", Reshape((37, 20), whole=True)), ("m", Slice((Cut(1, 7, 1, 20),))),
        ("t", Transpose((2, 0, 1))), ("t", Transpose((1, 0, 2))), ("t", Transpose((2, 1, 0))), ("t", RELU),
        ("t", Slice((Cut(1, 2, 3, 5),))), ("t", Slice((Cut(0, 2, -1, 3), Cut(2, 1, 1, 20)))),
        ("t", Reshape((9, 66))),
        ("i", Transpose((0, 3, 1, 2))), ("i", Transpose((0, 2, 3, 1))), ("i", Transpose((3, 2, 1, 0))),
        ("i", Transpose((1, 0, 2, 3))), ("i", Slice((Cut(3, 5, 1, 11),))), ("i", Slice((Cut(3, 20, -4, 6),))),
        ("i", Slice((Cut(1, 1, 2, 2), Cut(2, 18, -1, 19)))), ("i", Reshape((5, 19, 4, 6))),
        ("i", Reshape((19, 15, 8), "chw")), ("i", Reshape((24, 95), "chw")),
        ("i", Reshape((10, 19, 24), whole=True)),
        ("j", Transpose((0, 3, 1, 2))), ("j", Transpose((3, 2, 1, 0))), ("j", Expand((2, 17, 3, 7))),
        ("j", Expand((1, 1, 3, 1))),
        ("f", Transpose((4, 3, 2, 1, 0))), ("f", Transpose((0, 2, 1, 4, 3))), ("f", Flatten()),
        ("f", Reshape((3, 8, 9))),
        ("f", Slice((Cut(2, 1, 2, 2), Cut(4, 8, -1, 9)))), ("f", RELU),
        ("g", Transpose((0, 2, 1, 5, 4, 3))), ("g", Expand((2, 4, 3, 2, 2, 5))),
        ("g", Transpose((5, 4, 3, 2, 1, 0))),
    ]  # fmt: skip
    outputs = [net.add(op, name, name=f"{name}{number}") for number, (name, op) in enumerate(ops)]
    for name, axis in (
        ("v", 0),
        ("m", 0),
        ("m", -1),
        ("t", 0),
        ("t", 1),
        ("t", -1),
        ("i", 0),
        ("i", 1),
        ("i", 2),
        ("f", 3),
    ):
        doubled = net.add(RELU, name)
        outputs.append(net.add(Concat(axis), name, doubled, name))
    return net.graph(*outputs)


def broadcasts() -> Graph:
    """Arithmetic between tensors of all ranks, and constants."""
    shapes = {
        "s": (), "v": (7,), "m": (4, 7), "c": (2, 1, 7), "t": (2, 4, 7), "i": (3, 2, 4, 7), "j": (3, 1, 4, 1),
        "w": (2, 4, 1, 19),
        "f": (2, 1, 3, 1, 4, 1), "g": (1, 3, 3, 5, 1, 6), "h": (2, 3, 3, 5, 4, 6),
    }  # fmt: skip
    net = Builder(shapes, weights="integers", name="broadcasts")
    pairs = (
        ("s", "s"), ("s", "v"), ("v", "s"), ("v", "m"), ("m", "t"), ("t", "m"), ("c", "t"), ("t", "v"),
        ("i", "t"), ("m", "i"),
        ("i", "v"), ("i", "j"), ("j", "t"), ("s", "i"), ("i", "c"), ("w", "m"), ("f", "g"), ("g", "h"),
        ("h", "f"), ("h", "h"),
    )  # fmt: skip
    ops = (Add(), Sub(), Mul(), Maximum(), Add(Activation("relu")), Div())
    outputs = []
    for number, (a, b) in enumerate(pairs):
        try:
            op = ops[number % len(ops)]
            outputs.append(net.add(op, a, b))
        except cnngen.errors.ShapeError:
            continue
    outputs.append(net.add(Add(), "i", "v", "s", "t"))
    for shape in ((), (7,), (4, 1), (2, 4, 7), (1, 2, 1, 1)):
        constant = net.constant(shape)
        outputs += [net.add(Mul(), "i", constant), net.add(Sub(), constant, "i")]
    outputs.append(net.constant((3, 2)))
    return net.graph(*outputs)


def surroundings() -> Graph:
    """Views of slices, of halos and of constants; slices that are read, joined and returned."""
    net = Builder((2, 6, 7, 24), weights="integers", name="surroundings")
    a = net.add(Conv2D(16, (1, 1)), "x")
    low, high = net.add(Slice((Cut(3, 0, 1, 5),)), a), net.add(Slice((Cut(3, 5, 1, 11),)), a)
    narrow = net.add(Slice((Cut(3, 2, 1, 4),)), high)
    outputs = [
        low,  # a part of a tensor, returned
        net.add(Conv2D(9, (3, 3), padding=SAME3), high),  # its halo is the whole tensor's
        net.add(Flatten(), narrow),
        net.add(Reshape((7, 12, 2), "chw"), narrow),
        net.add(Transpose((0, 3, 1, 2)), narrow),
        net.add(Concat(), high, narrow, "x"),
        net.add(Add(), high, net.add(Reshape((6, 7, 11)), net.add(Reshape((42, 11)), high))),
        net.add(Conv2D(3, (3, 3), padding=SAME3), net.add(Reshape((7, 6, 24)), "x")),
        net.add(
            Conv2D(3, (3, 3), padding=SAME3), net.add(Reshape((3, 14, 24)), net.add(Slice((Cut(3, 0, 1, 24),)), "x"))
        ),
        net.add(Reshape((3, 14, 2, 12)), net.add(Softmax(), "x")),
    ]
    constant = net.constant((2, 6, 7, 3))
    outputs += [
        net.add(Conv2D(3, (3, 3), padding=SAME3), constant),
        net.add(Concat(), constant, low),
        net.add(Sub(), net.add(Slice((Cut(3, 1, 1, 1),)), constant), low),
        net.add(Dense(4), net.add(Flatten(), net.constant((2, 3, 4)))),
    ]
    return net.graph(*outputs)


NETWORKS: dict[str, Callable[[], Graph]] = {build.__name__: build for build in (moves, broadcasts, surroundings)}


@functools.cache
def graph_of(name: str) -> Graph:
    """As the kernels can do it: arithmetic of more than four loops has its operands repeated."""
    return expand_operands(NETWORKS[name]())


@pytest.mark.parametrize(("isa", "threads"), TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_exact(name: str, isa: str, threads: int) -> None:
    graph = graph_of(name)
    with native(graph, isa, threads, flags=("-O1",)) as net:
        x = feed(graph, "integers")
        tensors = net.trace(*x.values())
        assert assert_every_layer(graph, tensors) >= len(graph.nodes) - 8
        for name_of, result in zip(graph.outputs, net(*x.values()), strict=True):
            assert np.array_equal(result, tensors[name_of], equal_nan=True), name_of


@pytest.mark.parametrize("name", NETWORKS)
def test_passes_and_verification_hold(name: str) -> None:
    with cnngen.compile(graph_of(name)) as net:
        report = cnngen.verify(net)
        assert report.ok, report.summary()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_cuda_equals_the_reference(name: str, precision: str) -> None:
    with cnngen.compile(graph_of(name), target="cuda-emulated", precision=precision) as net:
        report = cnngen.verify(net)
        assert report.ok, report.summary()


def test_a_network_that_mixes_the_batch_takes_its_shapes_only() -> None:
    net = Builder((2, 3, 4))
    net.add(Transpose((1, 0, 2)))
    graph = net.graph()
    assert not batched(graph)
    x = feed(graph)["x"]
    with cnngen.compile(graph) as compiled:
        assert not compiled.batched
        assert compiled.batch == 1
        assert np.array_equal(compiled(x), x.transpose(1, 0, 2))
        for wrong in (x[:1], x[0], np.concatenate([x, x])):
            with pytest.raises(RunError, match=r"takes exactly \(2, 3, 4\).*compile it for the shapes"):
                compiled(wrong)
            with pytest.raises(RunError):
                reference(graph, wrong)


@pytest.mark.parametrize(
    ("op", "shapes", "free"),
    [
        (Transpose((0, 2, 1)), ((2, 3, 4),), True),
        (Reshape((12,)), ((2, 3, 4),), True),
        (Reshape((6, 4), whole=True), ((2, 3, 4),), False),
        (Slice((Cut(1, 0, 1, 2),)), ((2, 3, 4),), True),
        (Slice((Cut(0, 0, 1, 2),)), ((2, 3, 4),), False),
        (Concat(0), ((2, 3), (2, 3)), False),
        (Concat(-1), ((2, 3), (2, 3)), True),
        (Concat(-1), ((2,), (2,)), False),
        (Add(), ((2, 3), (2, 3)), True),
        (Add(), ((2, 2, 3), (2, 3)), False),
        (Softmax(), ((2, 3),), True),
        (Softmax(), ((3,),), False),
        (RELU, ((3,),), True),
        (RELU, ((),), False),
        (Expand((1, 3)), ((2, 1),), True),
        (Expand((4, 2, 1)), ((2, 1),), False),
    ],
)  # fmt: skip
def test_which_ops_keep_the_batch(op: cnngen.ops.Op, shapes: tuple[tuple[int, ...], ...], free: bool) -> None:
    net = Builder({f"x{number}": shape for number, shape in enumerate(shapes)})
    net.add(op, *net.types)
    assert batched(net.graph()) is free


def test_a_network_with_constants_takes_any_number_of_images() -> None:
    net = Builder((2, 5, 6, 3))
    net.add(Add(), net.add(Mul(), "x", net.constant((3,))), net.constant((1, 5, 1, 1)))
    graph = net.graph()
    x = np.random.default_rng(0).standard_normal((5, 5, 6, 3), np.float32)
    with cnngen.compile(graph) as compiled:
        np.testing.assert_allclose(compiled(x), reference(graph, x), rtol=1e-5, atol=1e-6)


def test_a_constant_for_each_image_fixes_the_batch() -> None:
    net = Builder((2, 3))
    net.add(Add(), "x", net.constant((2, 3)))
    assert not batched(net.graph())


def test_constants_are_read_where_they_lie() -> None:
    net = Builder((2, 3))
    name = net.constant((3,))
    net.add(Add(), "x", name)
    plan = planned(net.graph(), "scalar")
    assert plan.views[name].space == "weights"
    assert [step.node for step in plan.steps] == ["add_1"]


def test_a_slice_of_channels_and_a_reshape_are_no_copies() -> None:
    net = Builder((2, 5, 6, 8))
    a = net.add(Activate(Activation("relu")))
    halves = [net.add(Slice((Cut(3, first, 1, 4),)), a) for first in (0, 4)]
    flat = net.add(Reshape((30, 4)), net.add(Add(), *halves))
    net.add(RELU, flat)
    assert len(planned(net.graph(), "scalar").steps) == 3


def kernel_of(op: cnngen.ops.Op, shape: tuple[int, ...]) -> StridedCopyKernel | ReshapeKernel:
    net = Builder(shape)
    net.add(op)
    (step,) = planned(net.graph(), "avx2").steps
    (call,) = step.calls
    assert isinstance(call.kernel, StridedCopyKernel | ReshapeKernel)
    return call.kernel


def test_a_channel_shuffle_is_three_loops() -> None:
    net = Builder((1, 7, 9, 24))
    net.add(Reshape((7, 9, 3, 8)))
    net.add(Transpose((0, 1, 2, 4, 3)))
    net.add(Reshape((7, 9, 24)))
    (step,) = planned(net.graph(), "avx2").steps
    assert step.calls[0].kernel.counts == (63, 8, 3)


def test_layouts_are_changed_in_squares() -> None:
    kernel = kernel_of(Transpose((0, 3, 1, 2)), (2, 20, 20, 24))
    assert (kernel.counts, kernel.tiled) == ((2, 24, 400), True)
    kernel = kernel_of(Transpose((0, 2, 3, 1)), (2, 24, 20, 20))
    assert (kernel.counts, kernel.tiled) == ((2, 400, 24), True)


def test_a_transposition_that_keeps_the_last_axis_copies_runs() -> None:
    kernel = kernel_of(Transpose((0, 2, 1, 3)), (2, 5, 6, 24))
    assert kernel.run
    assert kernel.counts[-1] == 24
