"""Winograd's convolution: its algebra, the bound of its rounding, the kernels on every ISA, and when it is chosen."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import cnngen
from cnngen import winograd as algorithm
from cnngen.backends.cpu import winograd
from cnngen.backends.cpu.target import ISAS, Target
from cnngen.ir import Array, Graph
from cnngen.ops import Activation, Conv2D
from tests.graphs import Builder
from tests.native import RUNNABLE, native, planned

Form = tuple[tuple[int, int], tuple[int, int], algorithm.Tile]
KERNELS = {
    ((3, 3), (1, 1)),
    ((5, 5), (1, 1)),
    ((3, 3), (2, 2)),
    ((1, 3), (1, 1)),
    ((3, 1), (1, 1)),
    ((5, 1), (1, 1)),
    ((3, 5), (2, 1)),
    ((1, 3), (1, 2)),
}
FORMS: list[Form] = [
    (kernel, stride, tile) for kernel, stride in sorted(KERNELS) for tile in algorithm.tiles(Conv2D(1, kernel, stride))
]
"""Kernel, stride and tile: every algorithm along an axis, in every pair that is one kernel's."""
NAMES = [algorithm.name(*form) for form in FORMS]


def around(kernel: tuple[int, int]) -> tuple[int, int, int, int]:
    """Padding by half of a kernel."""
    return (kernel[0] // 2, kernel[0] // 2, kernel[1] // 2, kernel[1] // 2)


def emulated(op: Conv2D, x: Array, weight: Array, tile: algorithm.Tile, dtype: type) -> Array:
    """The algorithm, step by step, with every intermediate number rounded to `dtype`."""
    rows, columns = algorithm.axes(op.kernel, op.stride, tile)
    filters = algorithm.transform_filters(weight, rows, columns).astype(dtype)
    top, bottom, left, right = op.padding
    height, width = op.evaluate([x], {"weight": weight}).shape[1:3]
    result = np.zeros((len(x), height, width, op.filters), dtype)
    padded = np.pad(x.astype(dtype), ((0, 0), (top, bottom + 9), (left, right + 9), (0, 0)))
    for i in range(0, height, tile[0]):
        for j in range(0, width, tile[1]):
            down, across = i * op.stride[0], j * op.stride[1]
            d = padded[:, down : down + rows.size, across : across + columns.size]
            v = np.einsum("ai,nijc->najc", rows.inputs.astype(dtype), d).astype(dtype)
            v = np.einsum("bj,najc->nabc", columns.inputs.astype(dtype), v).astype(dtype)
            m = np.zeros((*v.shape[:3], op.filters), dtype)
            for c in range(v.shape[3]):
                m = (m + v[..., c : c + 1] * filters[:, :, c]).astype(dtype)
            y = np.einsum("qb,nabo->naqo", columns.outputs.astype(dtype), m).astype(dtype)
            y = np.einsum("pa,naqo->npqo", rows.outputs.astype(dtype), y).astype(dtype)
            part = result[:, i : i + tile[0], j : j + tile[1]]
            part[...] = y[:, : part.shape[1], : part.shape[2]]
    return result


def test_the_matrices_are_those_that_are_published() -> None:
    """F(2, 3) and F(4, 3) of Lavin and Gray, up to the signs of rows."""
    two, four = algorithm.filtering(2, 3, 1), algorithm.filtering(4, 3, 1)
    np.testing.assert_array_equal(np.abs(two.inputs), [[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]])
    np.testing.assert_array_equal(four.inputs[0], [4, 0, -5, 0, 1, 0])
    np.testing.assert_array_equal(four.inputs[3], [0, -2, -1, 2, 1, 0])
    np.testing.assert_allclose(24 * four.filters[3], [1, 2, 4], rtol=1e-15)
    np.testing.assert_array_equal(four.outputs[3], [0, 1, -1, 8, -8, 1])


@pytest.mark.parametrize(
    ("form", "multiplications", "direct"),
    [
        (((3, 3), (1, 1), (2, 2)), 16, 36),
        (((3, 3), (1, 1), (4, 2)), 24, 72),
        (((3, 3), (1, 1), (4, 4)), 36, 144),
        (((5, 5), (1, 1), (2, 2)), 36, 100),
        (((5, 5), (1, 1), (4, 4)), 64, 400),
        (((3, 3), (2, 2), (2, 2)), 25, 36),
        (((3, 3), (2, 2), (4, 4)), 81, 144),
        (((1, 3), (1, 1), (1, 4)), 6, 12),
    ],
)
def test_multiplications(form: Form, multiplications: int, direct: int) -> None:
    kernel, _, tile = form
    assert math.prod(axis.size for axis in algorithm.axes(*form)) == multiplications
    assert math.prod(kernel) * math.prod(tile) == direct


@pytest.mark.parametrize("form", FORMS, ids=NAMES)
def test_the_algebra_is_that_of_the_convolution(form: Form) -> None:
    kernel, stride, tile = form
    rng = np.random.default_rng([*kernel, *tile])
    op = Conv2D(4, kernel, stride, (1, 0, 2, 1), use_bias=False)
    x, weight = rng.standard_normal((2, 7, 6, 3)), rng.standard_normal((*kernel, 3, 4))
    expected = op.evaluate([x], {"weight": weight})
    np.testing.assert_allclose(emulated(op, x, weight, tile, np.float64), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 16, 96])
@pytest.mark.parametrize("form", FORMS, ids=NAMES)
def test_float32_stays_within_the_bound_and_below_the_alarm(form: Form, channels: int) -> None:
    kernel, stride, tile = form
    rng = np.random.default_rng([*tile, channels])
    op = Conv2D(5, kernel, stride, around(kernel), use_bias=False)
    x = rng.standard_normal((1, 9, 8, channels), np.float32)
    weight = rng.standard_normal((*kernel, channels, 5), np.float32)
    found = algorithm.bound(op, [x.astype(np.float64)], {"weight": weight.astype(np.float64)}, tile)
    np.testing.assert_allclose(found.value, op.evaluate([x.astype(np.float64)], {"weight": weight}), rtol=1e-12)
    error = np.abs(emulated(op, x, weight, tile, np.float32) - found.value)
    assert error.max() > 0
    assert (error < found.alarm).all()
    assert (found.alarm <= found.limit).all()
    # The limit says something: half a per cent of the magnitude of the terms would not pass, with eight points one.
    share = 5e-3 if max(axis.size for axis in algorithm.axes(*form)) < 8 or stride != (1, 1) else 1e-2
    direct = op.bound([np.abs(x).astype(np.float64)], {"weight": np.abs(weight).astype(np.float64)}).value
    assert (found.limit < share * direct).all()


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("form", FORMS, ids=NAMES)
def test_the_error_of_a_layer_is_small(form: Form, positive: bool) -> None:
    """With inputs as they are behind a ReLU, too."""
    kernel, stride, tile = form
    rng = np.random.default_rng(7)
    op = Conv2D(8, kernel, stride, around(kernel), use_bias=False)
    x = rng.standard_normal((1, 12, 12, 256), np.float32)
    x = np.maximum(x, 0) if positive else x
    weight = rng.standard_normal((*kernel, 256, 8), np.float32) / np.float32(48)
    value = op.evaluate([x.astype(np.float64)], {"weight": weight.astype(np.float64)})
    error = np.linalg.norm(emulated(op, x, weight, tile, np.float32) - value) / np.linalg.norm(value)
    assert error < 2e-5


def branches() -> Graph:
    """Sizes that tiles do not divide, channels that fill no vector, batches, residuals, one pixel; every kernel."""
    net = Builder({"x": (2, 7, 9, 5), "y": (2, 12, 8, 24), "z": (2, 3, 3, 17)}, name="branches")

    def conv(tensor: str, filters: int, padding: Any = (1, 1, 1, 1), **options: Any) -> str:
        inputs = [tensor, tensor] if options.get("residual") else [tensor]
        return net.add(Conv2D(filters, (3, 3), (1, 1), padding, **options), *inputs)

    outputs = [
        conv("x", 19, activation=Activation("relu")),
        conv("x", 5, residual=True),
        conv("x", 8, (0, 2, 3, 0), use_bias=False),
        conv(conv("y", 24, activation=Activation("relu6")), 24, residual=True, activation=Activation("sigmoid")),
        conv("y", 33, (0, 0, 0, 0)),
        conv("z", 3, (0, 0, 0, 0)),
        conv("z", 16, (2, 2, 2, 2)),
    ]
    for number, (kernel, stride) in enumerate(sorted(KERNELS)):
        op = Conv2D(17 + number, kernel, stride, (2, 1, 1, 2), activation=Activation("relu"))
        outputs += [net.add(op, "x"), net.add(replace(op, padding=(1, 1, 0, 1), use_bias=False), "y")]
    return net.graph(*outputs)


def forced(monkeypatch: pytest.MonkeyPatch, tile: algorithm.Tile) -> None:
    """Every convolution is computed in the largest tiles within `tile`, whatever the model of its time says.

    Some in blocks of three tiles, some in a single one.
    """

    def choose(op: Conv2D, _source: Any, output: Any, _target: Any) -> winograd.Choice | None:
        assert algorithm.applies(op)
        own = algorithm.within(op, tile)
        count = output[0] * math.prod(winograd.tiles_of(output, own))
        return winograd.Choice(own, min(64 if op.filters % 2 else 3, count))

    monkeypatch.setattr(winograd, "choose", choose)


@pytest.mark.parametrize("tile", [(2, 2), (4, 2), (2, 4), (4, 4)])
@pytest.mark.parametrize("isa", RUNNABLE)
def test_kernels_equal_the_reference(isa: str, tile: algorithm.Tile, monkeypatch: pytest.MonkeyPatch) -> None:
    forced(monkeypatch, tile)
    graph = branches()
    rng = np.random.default_rng(1)
    xs = [rng.standard_normal(tensor.type.shape, np.float32) for tensor in graph.inputs]
    with native(graph, isa, fast=True) as net:
        for node in graph.nodes:
            assert algorithm.applies(node.op)
            assert net.arithmetic(node.name).tile == algorithm.within(node.op, tile)
        report = cnngen.verify(net)
        assert report.ok, report.summary()
        assert not any(layer.status == "warn" for layer in report.layers), report.summary()
        results = net(*xs)
    if isa == RUNNABLE[0]:
        with native(graph, isa, 2, fast=True) as net:
            for one, two in zip(results, net(*xs), strict=True):
                np.testing.assert_array_equal(one, two)


def test_a_wrong_transform_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers cannot be exact here: the bound has to be narrow enough to see a wrong coefficient."""
    forced(monkeypatch, (4, 4))
    right = algorithm.transform_filters

    def wrong(weight: Array, *axes: algorithm.Filtering) -> Array:
        filters = right(weight, *axes)
        filters[2, 3] *= 1.001
        return filters

    monkeypatch.setattr("cnngen.backends.cpu.pack.transform_filters", wrong)
    net = Builder((1, 8, 8, 8), name="wrong")
    net.add(Conv2D(8, (3, 3), (1, 1), (1, 1, 1, 1)))
    with native(net.graph(), fast=True) as compiled:
        assert not cnngen.verify(compiled).ok


def deep(channels: int, size: int) -> Graph:
    net = Builder((1, size, size, channels), name="deep", weights="integers")
    net.add(Conv2D(channels, (3, 3), (1, 1), (1, 1, 1, 1)))
    return net.graph()


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
@pytest.mark.parametrize(("channels", "size"), [(64, 56), (128, 28), (256, 56)])
def test_large_layers_are_computed_by_it(channels: int, size: int, isa: str) -> None:
    graph = deep(channels, size)
    (node,) = graph.nodes
    assert planned(graph, isa, fast=True).arithmetic(node.name).tile == (4, 4)
    assert planned(graph, isa).arithmetic(node.name).exact
    for threads in (2, 4):
        assert planned(graph, isa, threads, fast=True).arithmetic(node.name).tile == (4, 4)


def test_other_layers_are_not() -> None:
    def chosen(channels: int, filters: int, size: int, **options: Any) -> bool:
        op = Conv2D(filters, **({"kernel": (3, 3), "padding": (1, 1, 1, 1)} | options))
        shape = (1, size, size, channels)
        out = (1, size, size, filters)
        return winograd.choose(op, shape, out, Target(ISAS["avx2"])) is not None

    assert chosen(64, 64, 56)
    assert not chosen(3, 64, 224)
    assert chosen(64, 64, 56, kernel=(5, 5))
    assert not chosen(64, 64, 56, kernel=(7, 7))
    assert not chosen(64, 64, 56, kernel=(1, 1))
    assert not chosen(64, 64, 56, stride=(3, 3))
    assert not chosen(64, 64, 56, dilation=(2, 2))
    assert not chosen(64, 64, 56, groups=2)
    assert not chosen(64, 64, 1)
