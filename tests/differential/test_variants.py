"""Every way in which a convolution or dense layer can be computed, forced: algorithm, register tile, rows, blocks.

Direct ones have to be exact on integers, Winograd's within its bound; sizes are odd, so that all have tails.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

import cnngen
from cnngen.backends.cpu.choices import Choice, Choices
from cnngen.backends.cpu.kernels import ConvKernel, DepthwiseKernel, PlanarConvKernel, WinogradKernel
from cnngen.backends.cpu.plan import Plan
from cnngen.backends.cpu.target import ISAS, host_isas
from cnngen.backends.cpu.tiling import MAX_VECTORS, max_pixels
from cnngen.ir import Graph, Node
from cnngen.network import Network
from cnngen.ops import Activation, Conv2D, Dense
from cnngen.tuning import cpu
from cnngen.tuning.trials import key_of
from tests.graphs import Builder
from tests.native import RUNNABLE, native, planned, target

Forced = Sequence[tuple[str, Choice]]
NATIVE = host_isas()[-1]
RELU = Activation("relu")


def compiled(net: Builder, forced: Forced, isa: str) -> tuple[Network, Graph]:
    graph = net.graph(*(name for name, _ in forced))
    keys = [key_of(graph, graph.node(name)) for name, _ in forced]
    assert len(set(keys)) == len(keys), "two layers of one key cannot be forced apart"
    return native(
        graph, isa, fast=True, choices=Choices.of(dict(zip(keys, (c for _, c in forced), strict=True)))
    ), graph


def main_kernel(plan: Plan, name: str) -> object:
    return plan.steps[plan.steps_of(name)[-1]].calls[-1].kernel


def check(network: Network, graph: Graph) -> None:
    with network as net:
        report = cnngen.verify(net)
        assert report.ok, report.summary()
        by_name = {layer.name: layer for layer in report.layers}
        for node in graph.nodes:
            if isinstance(node.op, Conv2D | Dense) and not net.arithmetic(node.name).tile:
                assert by_name[node.name].exactness == "exact", by_name[node.name]


def tiles(kernel: ConvKernel) -> set[tuple[int, int]]:
    return {(strip.pixels, block.vectors) for block in kernel.blocks for strip in block.strips}


@pytest.mark.parametrize("isa", dict.fromkeys([NATIVE, RUNNABLE[-1]]))
def test_direct_tiles(isa: str) -> None:
    """Widths of a register tile, each with its tallest tile or one of a single pixel; all of them on one ISA."""
    facts = ISAS[isa.removesuffix("-emulated")]
    net = Builder({"x": (1, 3, 7, 3)}, name="tiles", weights="integers")
    forced = []
    every = ((1, 9), (2, 9), (3, 2), (4, 1), (2, 1)) if isa == NATIVE else ((2, 9), (3, 1))
    for number, (vectors, most) in enumerate(every):
        pixels = min(max_pixels(vectors, facts.registers), 7, most)
        filters = vectors * facts.lanes + (0, 1, facts.lanes - 1)[number % 3]
        op = Conv2D(filters, (3, 2), (1, 1), (1, number, 0, 1), activation=RELU if number else None)
        forced.append((net.add(op, "x"), Choice("direct", vectors=vectors, pixels=pixels)))
    network, graph = compiled(net, forced, isa)
    for name, choice in forced:
        kernel = main_kernel(network.plan, name)  # type: ignore[arg-type]
        assert isinstance(kernel, ConvKernel)
        assert max(vectors for _, vectors in tiles(kernel)) == choice.vectors
        assert any(pixels == choice.pixels for pixels, _ in tiles(kernel))
    check(network, graph)


@pytest.mark.parametrize("images", [1, 5])
@pytest.mark.parametrize("isa", dict.fromkeys([NATIVE, RUNNABLE[-1]]))
def test_dense_tiles(isa: str, images: int) -> None:
    """Every width of a register tile, units that fill its last vector and that do not, one image and several."""
    facts = ISAS[isa.removesuffix("-emulated")]
    net = Builder({"x": (images, 61)}, name="dense_tiles", weights="integers")
    forced = []
    for vectors in range(1, MAX_VECTORS + 1):
        pixels = min(max_pixels(vectors, facts.registers), images, 1 + vectors % 3)
        units = vectors * facts.lanes + (0, 1, facts.lanes - 1)[vectors % 3]
        op = Dense(units, activation=RELU if vectors % 2 else None)
        forced.append((net.add(op, "x"), Choice("direct", vectors=vectors, pixels=pixels)))
    network, graph = compiled(net, forced, isa)
    for name, choice in forced:
        kernel = main_kernel(network.plan, name)  # type: ignore[arg-type]
        assert isinstance(kernel, ConvKernel)
        assert max(vectors for _, vectors in tiles(kernel)) == choice.vectors
        assert any(pixels == choice.pixels for pixels, _ in tiles(kernel))
    check(network, graph)


def test_a_tile_that_divides_is_half_as_tall_unless_it_is_chosen() -> None:
    """With the 32 registers of AVX-512; with 16 there is no room for less."""
    net = Builder({"x": (1, 28, 28, 40)}, name="dividing", weights="random")
    names = [net.add(Conv2D(64, (1, 1), activation=Activation(f)), "x") for f in ("relu", "silu", "sigmoid", "tanh")]
    graph = net.graph(*names)
    chosen = Choices.of({key_of(graph, graph.node(names[2])): Choice("direct", vectors=2, pixels=14)})
    found = {}
    for isa in ("avx512", "avx2"):
        plan = planned(graph, isa, choices=chosen)
        kernels = [main_kernel(plan, name) for name in names]
        found[isa] = [tiles(kernel) for kernel in kernels if isinstance(kernel, ConvKernel)]
    assert found["avx512"] == [{(14, 2)}, {(7, 2)}, {(14, 2)}, {(14, 2)}]
    assert found["avx2"][0] == found["avx2"][1]


def test_rows() -> None:
    """How many pixels are tiled as one row: lines of the image, all of it, or pieces where lines merge (no halo)."""
    net = Builder({"x": (1, 6, 5, 4), "y": (1, 6, 5, 4)}, name="rows", weights="integers")
    forced = [
        (net.add(Conv2D(9, (3, 3), (1, 1), (1, 1, 1, 1)), "x"), Choice("direct", row=5)),
        (net.add(Conv2D(9, (3, 3), (1, 1), (1, 1, 1, 1), activation=RELU), "x"), Choice("direct", row=30)),
        *((net.add(Conv2D(8 + row, (1, 1)), "y"), Choice("direct", row=row)) for row in (2, 15)),
        (net.add(Conv2D(12, (1, 1), groups=2), "y"), Choice("direct", row=10, vectors=1, pixels=3)),
    ]
    network, graph = compiled(net, forced, NATIVE)
    for name, choice in forced:
        kernel = main_kernel(network.plan, name)  # type: ignore[arg-type]
        assert isinstance(kernel, ConvKernel)
        assert len(kernel.pixels) == choice.row
        assert math.prod(axis.count for axis in kernel.outer) * choice.row == 30
    check(network, graph)


def test_winograd_tiles_and_blocks() -> None:
    """All ISAs: test_winograd.py."""
    net = Builder({"x": (1, 9, 11, 10)}, name="blocks")
    forced = []
    for number, (tile, block, vectors) in enumerate([((2, 2), 5, 1), ((4, 4), 1, 0), ((4, 2), 4, 2)]):
        op = Conv2D(17 + number, (3, 3), (1, 1), (1, 1, number % 2, 1), activation=RELU)
        forced.append((net.add(op, "x"), Choice("winograd", tile=tile, block=block, vectors=vectors)))
    network, graph = compiled(net, forced, NATIVE)
    for name, choice in forced:
        kernel = main_kernel(network.plan, name)  # type: ignore[arg-type]
        assert isinstance(kernel, WinogradKernel)
        assert (kernel.tile, kernel.block) == (choice.tile, min(choice.block, kernel.count))
        if choice.vectors:
            assert {block.vectors for block in kernel.product.blocks} <= {1, choice.vectors}
    check(network, graph)


def test_planar_and_direct_on_planes() -> None:
    """The first layer of a network whose image has one channel, in both ways."""
    net = Builder({"x": (1, 7, 19, 1)}, name="planes", weights="integers")
    forced = [
        (net.add(Conv2D(filters, (3, 3), (1, 1), (0, 0, 0, 0), activation=RELU), "x"), Choice(algorithm))
        for filters, algorithm in ((5, "planar"), (6, "direct"))
    ]
    network, graph = compiled(net, forced, NATIVE)
    kinds = [type(main_kernel(network.plan, name)) for name, _ in forced]  # type: ignore[arg-type]
    assert kinds == [PlanarConvKernel, ConvKernel]
    check(network, graph)


@pytest.mark.parametrize("isa", RUNNABLE)
def test_depthwise_tiles(isa: str) -> None:
    """Rows and pixels of a tile, with rests of both; strides, dilation, a kernel that is not square, a residual."""
    channels = 2 * ISAS[isa.removesuffix("-emulated")].lanes + 1
    net = Builder({"x": (2, 7, 9, channels)}, name="depthwise", weights="integers")
    forced = []
    for number, tile in enumerate([(1, 1), (1, 4), (2, 7), (2, 4), (3, 2), (4, 5), (5, 3), (7, 1)]):
        form = [((3, 3), (1, 1), (1, 1)), ((5, 3), (2, 1), (1, 1)), ((3, 5), (1, 2), (1, 1)), ((3, 2), (1, 1), (2, 1))]
        kernel, stride, dilation = form[number % 4]
        op = Conv2D(channels, kernel, stride, (2, 1 + number, 2, 2), dilation, channels, number % 2 == 0, RELU)
        forced.append((net.add(op, "x"), Choice("depthwise", tile=tile)))
    op = Conv2D(channels, (3, 3), (1, 1), (1, 1, 1, 1), groups=channels, residual=True)
    forced.append((net.add(op, "x", "x"), Choice("depthwise", tile=(2, 5))))
    network, graph = compiled(net, forced, isa)
    rests = set()
    for name, choice in forced:
        kernel_ = main_kernel(network.plan, name)  # type: ignore[arg-type]
        assert isinstance(kernel_, DepthwiseKernel)
        assert kernel_.tile_rows == min(choice.tile[0], kernel_.outer[-1].count)
        assert max(pixels for _, pixels in kernel_.tiles) == -(
            -kernel_.columns.count // -(-kernel_.columns.count // choice.tile[1])
        )
        rests |= {kernel_.rest > 0}
    assert rests == {True, False}
    check(network, graph)


def test_depthwise_layers_have_only_tiles_to_choose() -> None:
    net = Builder({"x": (1, 7, 9, 13)}, name="depthwise", weights="integers")
    name = net.add(Conv2D(13, (3, 3), (2, 2), (1, 1, 1, 1), groups=13), "x")
    graph = net.graph(name)
    node: Node = graph.node(name)
    planned, others = cpu.candidates(graph, node, target("avx2", fast=True))
    assert planned.algorithm == "depthwise"
    assert {choice.algorithm for choice in others} == {"depthwise"}
    assert len({choice.tile for choice in others}) == len(others)


def test_a_row_of_input_is_loaded_once_for_two_rows_of_output_that_read_it() -> None:
    """Not where they read different rows, nor where more threads would then have nothing to do."""
    rows = {}
    for case, dilation, threads in (("shared", 1, 1), ("dilated", 2, 1), ("threads", 1, 8)):
        net = Builder({"x": (1, 6, 9, 16)}, name="depthwise", weights="integers")
        name = net.add(Conv2D(16, (3, 3), (1, 1), (2, 2, 2, 2), (dilation, 1), 16), "x")
        kernel = main_kernel(planned(net.graph(name), NATIVE, threads), name)
        assert isinstance(kernel, DepthwiseKernel)
        rows[case] = kernel.tile_rows
    assert rows == {"shared": 2, "dilated": 1, "threads": 1}
