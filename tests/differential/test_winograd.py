"""Winograd's convolution: its algebra, the bound of its rounding, the kernels on every ISA, and when it is chosen."""

from __future__ import annotations

import math
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

TILES = tuple(algorithm.TRANSFORMS)


def emulated(op: Conv2D, x: Array, weight: Array, tile: int, dtype: type) -> Array:
    """The algorithm, step by step, with every intermediate number rounded to `dtype`."""
    transform = algorithm.TRANSFORMS[tile]
    inputs, outputs = transform.inputs.astype(dtype), transform.outputs.astype(dtype)
    filters = algorithm.transform_filters(weight, tile).astype(dtype)
    top, bottom, left, right = op.padding
    height, width = x.shape[1] + top + bottom - 2, x.shape[2] + left + right - 2
    result = np.zeros((len(x), height, width, op.filters), dtype)
    padded = np.pad(x.astype(dtype), ((0, 0), (top, bottom + tile), (left, right + tile), (0, 0)))
    for i in range(0, height, tile):
        for j in range(0, width, tile):
            d = padded[:, i : i + tile + 2, j : j + tile + 2]
            v = np.einsum("ai,nijc->najc", inputs, d).astype(dtype)
            v = np.einsum("bj,najc->nabc", inputs, v).astype(dtype)
            m = np.zeros((*v.shape[:3], op.filters), dtype)
            for c in range(v.shape[3]):
                m = (m + v[..., c : c + 1] * filters[:, :, c]).astype(dtype)
            y = np.einsum("qb,nabo->naqo", outputs, np.einsum("nabo->nabo", m)).astype(dtype)
            y = np.einsum("pa,naqo->npqo", outputs, y).astype(dtype)
            part = result[:, i : i + tile, j : j + tile]
            part[...] = y[:, : part.shape[1], : part.shape[2]]
    return result


@pytest.mark.parametrize("tile", TILES)
def test_the_algebra_is_that_of_the_convolution(tile: int) -> None:
    rng = np.random.default_rng(tile)
    op = Conv2D(4, (3, 3), (1, 1), (1, 0, 2, 1), use_bias=False)
    x, weight = rng.standard_normal((2, 7, 6, 3)), rng.standard_normal((3, 3, 3, 4))
    expected = op.evaluate([x], {"weight": weight})
    np.testing.assert_allclose(emulated(op, x, weight, tile, np.float64), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 16, 96])
@pytest.mark.parametrize("tile", TILES)
def test_float32_stays_within_the_bound_and_below_the_alarm(tile: int, channels: int) -> None:
    rng = np.random.default_rng([tile, channels])
    op = Conv2D(5, (3, 3), (1, 1), (1, 1, 1, 1), use_bias=False)
    x = rng.standard_normal((1, 9, 8, channels), np.float32)
    weight = rng.standard_normal((3, 3, channels, 5), np.float32)
    found = algorithm.bound(op, [x.astype(np.float64)], {"weight": weight.astype(np.float64)}, tile)
    np.testing.assert_allclose(found.value, op.evaluate([x.astype(np.float64)], {"weight": weight}), rtol=1e-12)
    error = np.abs(emulated(op, x, weight, tile, np.float32) - found.value)
    assert error.max() > 0
    assert (error < found.alarm).all()
    assert (found.alarm <= found.limit).all()
    # The limit says something: half a per cent of the magnitude of the terms would not pass.
    direct = op.bound([np.abs(x).astype(np.float64)], {"weight": np.abs(weight).astype(np.float64)}).value
    assert (found.limit < 5e-3 * direct).all()


@pytest.mark.parametrize("tile", TILES)
def test_the_error_of_a_layer_is_small(tile: int) -> None:
    rng = np.random.default_rng(7)
    op = Conv2D(8, (3, 3), (1, 1), (1, 1, 1, 1), use_bias=False)
    x = rng.standard_normal((1, 12, 12, 256), np.float32)
    weight = rng.standard_normal((3, 3, 256, 8), np.float32) / np.float32(48)
    value = op.evaluate([x.astype(np.float64)], {"weight": weight.astype(np.float64)})
    error = np.linalg.norm(emulated(op, x, weight, tile, np.float32) - value) / np.linalg.norm(value)
    assert error < 2e-5


def branches() -> Graph:
    """Sizes that tiles do not divide, channels that fill no vector, batches, residuals, slices, one pixel."""
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
    return net.graph(*outputs)


def forced(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    """Every convolution that can be computed by F(tile x tile) is, whatever the model of its time says.

    Some in blocks of three tiles, some in a single one.
    """

    def choose(op: Conv2D, _source: Any, output: Any, _target: Any) -> winograd.Choice | None:
        count = output[0] * math.prod(winograd.tiles_of(output, tile))
        block = 64 if op.filters % 2 else 3
        return winograd.Choice(tile, min(block, count)) if algorithm.applies(op) else None

    monkeypatch.setattr(winograd, "choose", choose)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("isa", RUNNABLE)
def test_kernels_equal_the_reference(isa: str, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    forced(monkeypatch, tile)
    graph = branches()
    rng = np.random.default_rng(1)
    xs = [rng.standard_normal(tensor.type.shape, np.float32) for tensor in graph.inputs]
    with native(graph, isa, fast=True) as net:
        assert {net.arithmetic(node.name).tile for node in graph.nodes} == {tile}
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
    forced(monkeypatch, 4)
    right = algorithm.transform_filters

    def wrong(weight: Array, tile: int) -> Array:
        filters = right(weight, tile)
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
    assert planned(graph, isa, fast=True).arithmetic(node.name).tile == 4
    assert planned(graph, isa).arithmetic(node.name).exact
    for threads in (2, 4):
        assert planned(graph, isa, threads, fast=True).arithmetic(node.name).tile == 4


def test_other_layers_are_not() -> None:
    def chosen(channels: int, filters: int, size: int, **options: Any) -> bool:
        op = Conv2D(filters, **({"kernel": (3, 3), "padding": (1, 1, 1, 1)} | options))
        shape = (1, size, size, channels)
        out = (1, size, size, filters)
        return winograd.choose(op, shape, out, Target(ISAS["avx2"])) is not None

    assert chosen(64, 64, 56)
    assert not chosen(3, 64, 224)
    assert not chosen(64, 64, 56, stride=(2, 2))
    assert not chosen(64, 64, 56, kernel=(5, 5))
    assert not chosen(64, 64, 56, dilation=(2, 2))
    assert not chosen(64, 64, 56, groups=2)
    assert not chosen(64, 64, 1)
