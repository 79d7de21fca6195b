"""Winograd's convolution along the height: its algebra, its bound, the kernels on every ISA, and when it is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnngen
from cnngen import winograd_rows as algorithm
from cnngen.backends.cpu.choices import Choice, Choices
from cnngen.backends.cpu.kernels import WinogradRowsKernel
from cnngen.backends.cpu.plan import Plan
from cnngen.errors import PlanError
from cnngen.ir import Array, Graph, Node
from cnngen.network import Network
from cnngen.ops import Activation, Conv2D, Pool2D
from cnngen.tuning.trials import key_of
from tests.graphs import Builder
from tests.native import RUNNABLE, native, planned

FORMS = ((4, 3, 1), (4, 4, 1), (2, 5, 1), (4, 5, 1), (2, 7, 1), (4, 7, 2), (4, 11, 4), (4, 5, 2), (2, 9, 2), (4, 7, 3))
"""m, r and s."""
EACH_FORM = pytest.mark.parametrize(("tile", "taps", "step"), FORMS)


def test_the_forms_have_every_transform() -> None:
    forms = {(tile, -(-taps // step)) for tile, taps, step in FORMS}
    assert forms == {(tile, taps) for taps, tiles in algorithm.ROW_TILES.items() for tile in tiles}


def emulated(op: Conv2D, x: Array, weight: Array, tile: int, dtype: type) -> Array:
    """The algorithm, step by step, with every intermediate number rounded to `dtype`."""
    (taps, columns), step = weight.shape[:2], op.stride[0]
    rows = algorithm.along_height(tile, taps, step)
    inputs, outputs = rows.inputs.astype(dtype), rows.outputs.astype(dtype)
    filters = algorithm.transform_rows(weight, tile, step).astype(dtype)
    top, bottom, left, right = op.padding
    height, width = (x.shape[1] + top + bottom - taps) // step + 1, x.shape[2] + left + right - columns + 1
    result = np.zeros((len(x), height, width, op.filters), dtype)
    padded = np.pad(x.astype(dtype), ((0, 0), (top, bottom + (tile + rows.size) * step), (left, right), (0, 0)))
    for i in range(0, height, tile):
        m = np.zeros((len(x), rows.size, width, op.filters), dtype)
        for phase in range(step):
            seen = padded[:, i * step + phase :: step][:, : rows.size]
            v = np.einsum("ai,niwc->nawc", inputs, seen).astype(dtype)
            for j in range(columns):
                for c in range(x.shape[3]):
                    m = (m + v[:, :, j : j + width, c : c + 1] * filters[:, j, phase, c][None, :, None]).astype(dtype)
        part = result[:, i : i + tile]
        part[...] = np.einsum("pa,nawo->npwo", outputs, m).astype(dtype)[:, : part.shape[1]]
    return result


@EACH_FORM
def test_the_algebra_is_that_of_the_convolution(tile: int, taps: int, step: int) -> None:
    rng = np.random.default_rng([tile, taps])
    op = Conv2D(4, (taps, 2), (step, 1), (1, 3, 0, 1), use_bias=False)
    x, weight = rng.standard_normal((2, 9, 6, 3)), rng.standard_normal((taps, 2, 3, 4))
    expected = op.evaluate([x], {"weight": weight})
    np.testing.assert_allclose(emulated(op, x, weight, tile, np.float64), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 24])
@EACH_FORM
def test_float32_stays_within_the_bound_and_below_the_alarm(tile: int, taps: int, step: int, channels: int) -> None:
    rng = np.random.default_rng([tile, taps, channels])
    op = Conv2D(5, (taps, 3), (step, 1), (2, 1, 1, 1), use_bias=False)
    x = rng.standard_normal((1, 11, 8, channels), np.float32)
    weight = rng.standard_normal((taps, 3, channels, 5), np.float32)
    found = algorithm.bound(op, [x.astype(np.float64)], {"weight": weight.astype(np.float64)}, tile)
    np.testing.assert_allclose(found.value, op.evaluate([x.astype(np.float64)], {"weight": weight}), rtol=1e-12)
    error = np.abs(emulated(op, x, weight, tile, np.float32) - found.value)
    assert error.max() > 0
    assert (error < found.alarm).all()
    assert (found.alarm <= found.limit).all()
    # The limit says something: a thousandth of the magnitude of the terms would not pass.
    direct = op.bound([np.abs(x).astype(np.float64)], {"weight": np.abs(weight).astype(np.float64)}).value
    assert (found.limit < 1e-3 * direct).all()


@EACH_FORM
def test_the_error_of_a_layer_is_small(tile: int, taps: int, step: int) -> None:
    rng = np.random.default_rng(7)
    op = Conv2D(8, (taps, 3), (step, 1), (1, 1, 1, 1), use_bias=False)
    x = rng.standard_normal((1, 12, 12, 96), np.float32)
    weight = rng.standard_normal((taps, 3, 96, 8), np.float32) / np.float32(48)
    value = op.evaluate([x.astype(np.float64)], {"weight": weight.astype(np.float64)})
    error = np.linalg.norm(emulated(op, x, weight, tile, np.float32) - value) / np.linalg.norm(value)
    assert error < 5e-6


def branches(taps: int, step: int) -> Graph:
    """Heights that tiles do not divide, channels that fill no vector, batches, residuals, strides, one column."""
    shapes = {"x": (2, 9 * step, 9, 5), "y": (2, 12 * step, 10, 24), "z": (1, 8 + 2 * step, 3, 1)}
    net = Builder(shapes, name=f"rows{taps}_{step}")
    above, below = taps // 2, taps - 1 - taps // 2

    def conv(tensor: str, filters: int, columns: int = 3, padding: Any = None, **options: Any) -> str:
        inputs = [tensor]
        if options.get("residual"):
            inputs.append(net.add(Pool2D("max", (step, 1), (step, 1)), tensor) if step > 1 else tensor)
        stride, dilation = options.pop("stride", 1), options.pop("dilation", 1)
        padding = padding or (above, below, columns // 2, columns // 2)
        return net.add(Conv2D(filters, (taps, columns), (step, stride), padding, (1, dilation), **options), *inputs)

    outputs = [
        conv("x", 19, activation=Activation("relu")),
        conv("x", 5, residual=True),
        conv("x", 8, 2, (0, 3, 2, 0), use_bias=False),
        conv(conv("y", 24, 5, activation=Activation("relu6")), 24, 1, residual=True, activation=Activation("silu")),
        conv("y", 33, 3, (0, 0, 0, 0), stride=2),
        conv("y", 17, 2, (1, taps, 0, 1), dilation=3),
        conv("z", 3, 3, (0, 0, 0, 0)),
        conv("z", 16, 1, (2, 2, 0, 0)),
    ]
    return net.graph(*outputs)


def convolutions(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if isinstance(node.op, Conv2D)]


def forced(graph: Graph, tile: int) -> Choices:
    """Every convolution is computed by F(tile, kernel height), some tile by tile."""
    return Choices.of(
        {
            key_of(graph, node): Choice("rows", tile=(tile, 1), block=index % 2, vectors=index % 3 == 2)
            for index, node in enumerate(convolutions(graph))
        }
    )


def verified(net: Network, graph: Graph, tile: int) -> None:
    assert {net.arithmetic(node.name).rows for node in convolutions(graph)} == {tile}
    report = cnngen.verify(net)
    assert report.ok, report.summary()
    assert not any(layer.status == "warn" for layer in report.layers), report.summary()


@EACH_FORM
@pytest.mark.parametrize("isa", RUNNABLE)
def test_kernels_equal_the_reference(isa: str, tile: int, taps: int, step: int) -> None:
    graph = branches(taps, step)
    choices = forced(graph, tile)
    rng = np.random.default_rng(1)
    xs = [rng.standard_normal(tensor.type.shape, np.float32) for tensor in graph.inputs]
    with native(graph, isa, fast=True, choices=choices) as net:
        verified(net, graph, tile)
        results = net(*xs)
    if isa == RUNNABLE[0]:
        with native(graph, isa, 2, fast=True, choices=choices) as net:
            for one, two in zip(results, net(*xs), strict=True):
                np.testing.assert_array_equal(one, two)


def test_a_wrong_transform_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers cannot be exact here: the bound has to be narrow enough to see a wrong coefficient."""
    right = algorithm.transform_rows

    def wrong(weight: Array, tile: int, step: int) -> Array:
        filters = right(weight, tile, step)
        filters[3] *= 1.001
        return filters

    monkeypatch.setattr("cnngen.backends.cpu.pack.transform_rows", wrong)
    net = Builder((1, 8, 8, 8), name="wrong")
    net.add(Conv2D(8, (5, 5), (1, 1), (2, 2, 2, 2)))
    graph = net.graph()
    with native(graph, fast=True, choices=forced(graph, 4)) as compiled:
        assert not cnngen.verify(compiled).ok


def layer(channels: int, size: int, filters: int, **options: Any) -> tuple[Graph, str]:
    net = Builder((1, size, size, channels), name="layer")
    name = net.add(Conv2D(filters, **({"kernel": (5, 5), "padding": (2, 2, 2, 2)} | options)))
    return net.graph(), name


def kernel_of(plan: Plan, name: str) -> object:
    return plan.steps[plan.steps_of(name)[-1]].calls[-1].kernel


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
@pytest.mark.parametrize(("channels", "size", "filters", "taps", "tile"), [(6, 14, 16, 5, 4), (64, 28, 64, 7, 2)])
def test_tall_kernels_are_computed_by_it(
    channels: int, size: int, filters: int, taps: int, tile: int, isa: str
) -> None:
    """Where there are too few channels for two dimensions, or too many taps."""
    graph, name = layer(channels, size, filters, kernel=(taps, taps), padding=(taps // 2,) * 4)
    for threads in (1, 2, 4):
        assert planned(graph, isa, threads, fast=True).arithmetic(name).rows == tile
    assert planned(graph, isa).arithmetic(name).exact


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
@pytest.mark.parametrize(("size", "taps", "step"), [(224, 7, 2), (227, 11, 4)])
def test_first_layers_are_computed_by_it(size: int, taps: int, step: int, isa: str) -> None:
    """Three channels, tall kernels, steps of several rows."""
    graph, name = layer(3, size, 64, kernel=(taps, taps), stride=(step, step), padding=(taps // 2,) * 4)
    for threads in (1, 2, 4):
        assert planned(graph, isa, threads, fast=True).arithmetic(name).rows == 4
    assert planned(graph, isa).arithmetic(name).exact


def test_other_layers_are_not() -> None:
    def chosen(*shape: int, **options: Any) -> bool:
        graph, name = layer(*shape, **options)
        return isinstance(kernel_of(planned(graph, "avx2", fast=True), name), WinogradRowsKernel)

    assert chosen(6, 28, 64)
    assert not chosen(64, 28, 64)  # but in two dimensions
    assert not chosen(6, 28, 64, dilation=(2, 2))
    assert not chosen(6, 28, 64, groups=2)
    assert not chosen(6, 28, 64, kernel=(1, 5), padding=(0, 0, 2, 2))
    assert not chosen(6, 1, 64)
    graph, _ = layer(64, 28, 64, kernel=(6, 5), stride=(1, 1))
    with pytest.raises(PlanError, match="cannot compute"):
        planned(graph, "avx2", fast=True, choices=forced(graph, 4))


def test_pixels_apart_are_computed_directly() -> None:
    """A row of a slice of a concatenation is no single run of memory."""
    from cnngen.ops import Concat
    from cnngen.passes import elide_concat

    net = Builder((1, 9, 9, 8), name="slice")
    first = net.add(Conv2D(8, (1, 1)), "x")
    second = net.add(Conv2D(8, (1, 1), use_bias=False), "x")
    whole = net.add(Concat(), first, second)
    name = net.add(Conv2D(8, (5, 5), (1, 1), (2, 2, 2, 2)), first)
    graph = elide_concat(net.graph(whole, name))
    key = key_of(graph, graph.node(name))
    with native(graph, fast=True, choices=Choices.of({key: Choice("rows", tile=(4, 1))})) as compiled:
        assert not isinstance(kernel_of(compiled.plan, name), WinogradRowsKernel)  # type: ignore[arg-type]
        assert compiled.arithmetic(name).exact
        assert cnngen.verify(compiled).ok
