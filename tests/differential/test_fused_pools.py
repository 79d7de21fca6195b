"""Pooling inside convolutions: what is fused, how the kernels pool, planes in place of pixels, what is left apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import cnngen
from cnngen.backends.cpu.choices import Choice, Choices
from cnngen.backends.cpu.fuse_pools import fuse_pools
from cnngen.backends.cpu.kernels import PlanarRowsKernel, PoolKernel, WinogradRowsKernel
from cnngen.backends.cpu.plan import Plan
from cnngen.errors import PlanError, ShapeError
from cnngen.ir import Graph, TensorType, verify_graph
from cnngen.ops import Activation, Concat, Conv2D, Pool2D, Window
from cnngen.passes import elide_concat
from cnngen.tuning.trials import key_of
from cnngen.winograd_rows import ROW_TILES, row_tiles
from tests.graphs import Builder
from tests.native import RUNNABLE, native, planned, target

RELU = Activation("relu")
FORMS = tuple((tile, taps) for taps, tiles in ROW_TILES.items() for tile in tiles)
VECTORS = [isa for isa in RUNNABLE if not isa.startswith("scalar")]


def forced(graph: Graph, tile: int, planar: str = "planar rows") -> Choices:
    """Every convolution by F(tile, kernel height), those on one channel by the planar kernel."""
    return Choices.of(
        {
            key_of(graph, node): Choice(planar if graph.input_types(node)[0].shape[3] == 1 else "rows", tile=(tile, 1))  # type: ignore[arg-type]
            for node in graph.nodes
            if isinstance(node.op, Conv2D) and tile in row_tiles(node.op)
        }
    )


def kernels(plan: Plan) -> list[object]:
    return [call.kernel for step in plan.steps for call in step.calls]


def pooled(net: Builder, tensor: str, op: Conv2D, window: tuple[int, int]) -> str:
    return net.add(Pool2D("max", window, window), net.add(op, tensor))


def networks(taps: int, tile: int) -> tuple[Graph, Graph]:
    """Convolutions with pooling on many channels and on one: windows of several sizes, tails, batches, chains."""
    net = Builder({"x": (2, 12, 9, 5), "y": (1, 12, 12, 17)}, name=f"pooled{taps}")
    one = Builder({"p": (2, 12, 19, 1), "q": (1, 11, 40, 1)}, name=f"planes{taps}")
    pad, down = (taps // 2, taps - 1 - taps // 2), min(tile, 4)

    def conv(filters: int, columns: int = 3, **options: Any) -> Conv2D:
        side = (columns // 2, columns - 1 - columns // 2)
        return Conv2D(filters, (taps, columns), **({"padding": (*pad, *side), "activation": RELU} | options))

    many = [
        pooled(net, "x", conv(19), (2, 3)),
        pooled(net, "x", conv(8, use_bias=False, activation=None), (2, 1)),
        pooled(net, "y", conv(33, 2, stride=(1, 2)), (1, 3)),
        pooled(net, "y", conv(5, activation=Activation("relu6")), (down, 2)),
        pooled(net, pooled(net, "y", conv(16), (2, 2)), conv(24, 2), (2, 2)),
    ]
    planes = [
        one.add(conv(7), "p"),
        pooled(one, "p", conv(5, 2), (2, 1)),
        one.add(conv(1, 5, dilation=(1, 2), padding=(*pad, 4, 4)), "p"),
        one.add(conv(3, 4, activation=Activation("silu"), use_bias=False), "q"),
        pooled(one, "p", conv(3, 4, padding=(*pad, 1, 1)), (2, 2)),  # 18 wide
        pooled(one, "q", conv(2, 2, padding=(pad[0] + 1, pad[1], 1, 0)), (2, 5)),
        # Planes: pooled or not, read by convolutions without padding at the sides.
        one.add(conv(17, 2, padding=(1, 1, 0, 0)), one.add(conv(4, 3), "p")),
        one.add(
            conv(9, 3, padding=(*pad, 0, 0), stride=(1, 2)), pooled(one, "p", conv(6, 2, padding=(*pad, 1, 1)), (2, 2))
        ),
        one.add(Conv2D(3, (2, 2), (2, 1)), pooled(one, "q", conv(6, 2, padding=(*pad, 1, 0), use_bias=False), (1, 2))),
    ]
    return net.graph(*many), one.graph(*planes)


@pytest.mark.parametrize(("tile", "taps"), FORMS)
@pytest.mark.parametrize("isa", VECTORS)
def test_kernels_equal_the_reference(isa: str, tile: int, taps: int) -> None:
    for graph in networks(taps, tile):
        choices = forced(graph, tile)
        if graph.inputs[0].name == "p" and (tile + taps - 1) > target(isa).isa.registers - 2:
            continue  # the products of one filter fill no more than the registers
        rng = np.random.default_rng(1)
        xs = [rng.standard_normal(tensor.type.shape, np.float32) for tensor in graph.inputs]
        with native(graph, isa, fast=True, choices=choices) as net:
            plan: Plan = net.plan  # type: ignore[assignment]
            assert not any(isinstance(kernel, PoolKernel) for kernel in kernels(plan))
            report = cnngen.verify(net)
            assert report.ok, report.summary()
            assert not any(layer.status == "warn" for layer in report.layers), report.summary()
            results = net(*xs)
        if isa == RUNNABLE[0] or isa == VECTORS[0]:
            with native(graph, isa, 2, fast=True, choices=choices) as net:
                for one, two in zip(results, net(*xs), strict=True):
                    np.testing.assert_array_equal(one, two)


def test_planes_are_written_where_all_readers_take_them() -> None:
    _, graph = networks(5, 4)
    plan = planned(graph, VECTORS[-1], fast=True, choices=forced(graph, 4))
    planes = [kernel.planes for kernel in kernels(plan) if isinstance(kernel, PlanarRowsKernel)]
    assert planes.count(True) == 3
    assert len(planes) == 9


def test_nan_reaches_the_maximum() -> None:
    for channels in (1, 3):
        net = Builder((1, 8, 8, channels), name="nan")
        graph = net.graph(pooled(net, "x", Conv2D(2, (5, 1), padding=(2, 2, 0, 0), activation=RELU), (2, 2)))
        x = np.ones((1, 8, 8, channels), np.float32)
        x[0, 6, 3, 0] = np.nan
        with native(graph, fast=True, choices=forced(graph, 4)) as compiled:
            y = compiled(x)
        assert np.isnan(y[0, 3, 1]).all()
        assert not np.isnan(y[0, :, [0, 2, 3]]).any()


def fused(op: Conv2D, pool: Pool2D, *, outputs: int = 1, shape: tuple[int, ...] = (1, 12, 12, 4)) -> bool:
    net = Builder(shape, name="fused")
    first = net.add(op, "x")
    graph = net.graph(net.add(pool, first), *([first] if outputs > 1 else []))
    after = fuse_pools(graph, replace(target("avx2", fast=True), choices=forced(graph, 4)))
    if len(after.nodes) == len(graph.nodes):
        assert after is graph
        return False
    assert verify_graph(after).nodes[0].name == graph.nodes[-1].name
    assert after.types[after.outputs[0]] == graph.types[graph.outputs[0]]
    return True


def test_what_is_fused() -> None:
    conv, pool = Conv2D(6, (5, 5), padding=(2, 2, 2, 2), activation=RELU), Pool2D("max", (2, 2), (2, 2))
    assert fused(conv, pool)
    assert fused(conv, Pool2D("max", (4, 3), (4, 3)))
    assert not fused(conv, pool, outputs=2)
    assert not fused(conv, Pool2D("avg", (2, 2), (2, 2)))
    assert not fused(conv, Pool2D("max", (3, 3), (2, 2)))  # windows overlap
    assert not fused(conv, Pool2D("max", (3, 2), (3, 2)))  # no tile of 4 rows has whole windows
    assert not fused(conv, Pool2D("max", (2, 2), (2, 2), padding=(1, 1, 1, 1)))
    assert not fused(conv, pool, shape=(1, 11, 12, 4))  # a row is in no window
    assert not fused(Conv2D(6, (5, 5), dilation=(1, 2), padding=(2, 2, 4, 4)), pool)
    assert not fused(Conv2D(6, (5, 5), padding=(2, 2, 2, 2), activation=Activation("silu")), pool)


def test_a_pooled_layer_whose_input_lies_apart_takes_two_kernels() -> None:
    """A row of a slice of a concatenation is no single run of memory: a direct kernel computes it and pools nothing."""
    net = Builder((1, 12, 12, 8), name="slice", weights="integers")
    first, second = net.add(Conv2D(8, (1, 1)), "x"), net.add(Conv2D(8, (1, 1), use_bias=False), "x")
    whole = net.add(Concat(), first, second)
    name = pooled(net, first, Conv2D(9, (5, 5), padding=(2, 2, 2, 2), activation=RELU), (2, 2))
    graph = elide_concat(net.graph(whole, name))
    conv = next(node for node in graph.nodes if node.op.kind == "conv2d" and node.op.kernel == (5, 5))  # type: ignore[union-attr]
    choices = Choices.of({key_of(graph, conv): Choice("rows", tile=(4, 1))})
    with native(graph, fast=True, choices=choices) as compiled:
        plan: Plan = compiled.plan  # type: ignore[assignment]
        found = kernels(plan)
        assert any(isinstance(kernel, PoolKernel) for kernel in found)
        assert not any(isinstance(kernel, WinogradRowsKernel) for kernel in found)
        assert compiled.arithmetic(name).exact
        report = cnngen.verify(compiled)
        assert report.ok, report.summary()
        assert {layer.exactness for layer in report.layers if layer.name == name} == {"exact"}


def test_the_planar_kernel_is_refused_where_it_cannot_be() -> None:
    for shape, options in (((1, 12, 12, 2), {}), ((1, 12, 12, 1), {"stride": (1, 2)})):
        net = Builder(shape, name="refused")
        net.add(Conv2D(4, (5, 5), **options), "x")
        graph = net.graph()
        key = key_of(graph, graph.nodes[0])
        with pytest.raises(PlanError, match="cannot compute"):
            planned(graph, "avx2", fast=True, choices=Choices.of({key: Choice("planar rows", tile=(4, 1))}))


def test_lenets_layers_are_fused() -> None:
    graph = cnngen.load_graph("specs/lenet.yaml")
    with cnngen.compile("specs/lenet.yaml", isa="native", threads=1) as net:
        names = [node.op.kind for node in net.graph.nodes]
    assert len(names) == len(graph.nodes) - 2
    assert "max_pool" not in names


def test_the_pooled_convolution_is_the_pool_of_the_convolution() -> None:
    rng = np.random.default_rng(3)
    op, pool = Conv2D(3, (3, 2), (2, 1), (1, 0, 0, 1), activation=RELU, pool=(2, 3)), Pool2D("max", (2, 3), (2, 3))
    x = rng.standard_normal((2, 8, 6, 2))
    weights = {"weight": rng.standard_normal((3, 2, 2, 3)), "bias": rng.standard_normal(3)}
    before = op.unpooled.evaluate([x], weights)
    np.testing.assert_array_equal(op.evaluate([x], weights), pool.evaluate([before], {}))
    type_ = TensorType(x.shape)
    assert op.infer([type_]) == pool.infer([op.unpooled.infer([type_])]) == TensorType((2, 2, 2, 3))
    assert op.cost([type_], op.infer([type_])).macs == op.unpooled.cost([type_], op.unpooled.infer([type_])).macs
    assert op.field([type_]) == Window((5, 4), (4, 3), (1, 1), (1, 0, 0, 1))
    bound, whole = op.bound([x], weights), op.unpooled.bound([x], weights)
    np.testing.assert_array_equal(bound.value, op.evaluate([x], weights))
    assert bound.limit.max() <= whole.limit.max()
    with pytest.raises(ShapeError, match="do not divide"):
        op.infer([TensorType((2, 7, 6, 2))])
