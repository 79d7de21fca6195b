"""Orders of a convolution's blocks, and epilogues that stay out of its loops: forced, on odd shapes."""

from __future__ import annotations

import pytest

from cnngen.backends import cpu
from cnngen.backends.cpu import lower_convolution
from cnngen.backends.cpu.kernels import ConvKernel, DepthwiseKernel, convolution
from cnngen.backends.cpu.target import host_isas
from cnngen.ir import Graph
from cnngen.ops import Activation, Conv2D, Dense
from tests.exactness import assert_every_layer
from tests.graphs import SAME3, Builder, feed
from tests.native import RUNNABLE, native, planned, target

SHAPE = (1, 5, 71, 6)
NATIVE = host_isas()[-1]
TARGETS = [(NATIVE, 1), (NATIVE, 3), (RUNNABLE[-1], 1)]


def blocks(activation: Activation | None) -> Graph:
    """Several blocks of channels with tails, in one group and in several, with and without padding and residual."""
    net = Builder(SHAPE, weights="integers", name="blocks")
    ops = [
        Conv2D(75, (1, 1), activation=activation),
        Conv2D(150, (3, 1), (2, 1), (1, 0, 0, 0), groups=2, activation=activation, use_bias=False),
        Conv2D(70, (3, 2), (2, 1), (1, 0, 1, 0), groups=2, activation=activation),
    ]
    outputs = [net.add(op, "x") for op in ops]
    outputs.append(net.add(Conv2D(75, (1, 1), residual=True, activation=activation), "x", outputs[0]))
    return net.graph(*outputs)


BLOCKINGS = {
    "one pass": (1 << 20, 1),
    "few rows": (1 << 20, 230),
    "rows of the kernel": (10, 1),
    "parts of rows": (4, 230),
}
"""Vectors of weights in a pass, and pixels of a unit of work."""


@pytest.mark.parametrize(
    ("isa", "threads", "blocking"),
    [*((*case, "parts of rows") for case in TARGETS), *((NATIVE, 1, blocking) for blocking in BLOCKINGS)],
    ids=lambda value: str(value),
)
def test_any_blocking_gives_the_sums_of_the_reference(
    isa: str, threads: int, blocking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passes over the reduction, several rows to a unit, asking ahead for weights and results."""
    panel, pixels = BLOCKINGS[blocking]
    monkeypatch.setattr(cpu.blocking, "PANEL_BYTES", panel * 4 * target(isa).isa.lanes)
    monkeypatch.setattr(cpu.blocking, "UNIT_PIXELS", pixels)
    ahead = panel < 1 << 20
    for name in ("FETCHED_BYTES", "LEAST_TAPS"):
        monkeypatch.setattr(cpu.blocking, name, 0 if ahead else 1 << 30)
    for name in ("ASKED_BYTES", "STREAMED_BYTES"):
        monkeypatch.setattr(convolution, name, 0 if ahead else 1 << 30)
    monkeypatch.setattr(convolution, "PREFETCH_TILES", 1000)
    graph = blocks(Activation("relu"))
    kernels = [kernel for kernel in planned(graph, isa, threads).kernels if isinstance(kernel, ConvKernel)]
    assert {kernel.fetch for kernel in kernels} == {ahead}
    assert any(kernel.pass_count > 1 for kernel in kernels) == ahead
    assert any(kernel.ahead(block) for kernel in kernels for block in kernel.blocks) == ahead
    assert any(kernel.chunk > 1 for kernel in kernels) == (pixels > 1)
    if pixels > 1:
        assert any(kernel.rows % kernel.chunk for kernel in kernels)
    assert any(kernel.chunks > 1 and block.count > 1 for kernel in kernels for block in kernel.blocks)
    with native(graph, isa, threads) as net:
        assert assert_every_layer(net.graph, {**(x := feed(net.graph, "integers")), **net.trace(*x.values())}) == 4


@pytest.mark.parametrize(("isa", "threads"), TARGETS, ids=lambda value: str(value))
def test_weights_in_streams_give_the_sums_of_the_reference(
    isa: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lower_convolution, "STREAMED_BYTES", 0)
    net = Builder((1, 37), weights="integers", name="streams")
    graph = net.graph(*(net.add(Dense(units, activation=Activation("relu")), "x") for units in (1, 11, 40, 203, 1000)))
    kernels = [kernel for kernel in planned(graph, isa, threads).kernels if isinstance(kernel, ConvKernel)]
    assert len({block.streams for kernel in kernels for block in kernel.blocks}) > 1
    with native(graph, isa, threads) as compiled:
        assert assert_every_layer(graph, {**(x := feed(graph, "integers")), **compiled.trace(*x.values())}) == 5


def curved() -> Graph:
    """Long epilogues: tiles across the lines of small images, tails, depthwise layers."""
    silu = Activation("silu")
    net = Builder((1, 7, 7, 19), weights="random", name="curved")
    inner = net.add(Conv2D(21, (1, 1), activation=silu))
    wide = net.add(Conv2D(21, (5, 5), padding=(2, 2, 2, 2), groups=21, activation=silu))
    direct = net.add(Conv2D(35, (3, 3), (2, 2), SAME3, activation=Activation("hard_swish")), inner)
    return net.graph(wide, direct, net.add(Conv2D(9, (1, 1), activation=Activation("sigmoid")), "x"))


@pytest.mark.parametrize(("isa", "threads"), TARGETS, ids=lambda value: str(value))
def test_long_epilogues_stay_within_their_bounds(isa: str, threads: int) -> None:
    with native(curved(), isa, threads) as net:
        assert all(k.epilogue.long for k in net.plan.kernels if isinstance(k, ConvKernel | DepthwiseKernel))
        x = feed(net.graph, "random")
        assert_every_layer(net.graph, {**x, **net.trace(*x.values())})


def test_a_long_epilogue_is_a_function_of_its_own_for_each_place() -> None:
    """Tiles of one size that lie differently: no offsets as arguments, which a call could not make constants."""
    plan = planned(curved(), target("avx2").isa.name if "avx2" in RUNNABLE else "sse4.1", 1)
    inner = next(k for k in plan.kernels if isinstance(k, ConvKernel) and k.group_outputs == 21)
    functions = inner.tile_functions
    assert not any(function.operands for function in functions)
    assert (
        len({function.name for function in functions}) == len(functions) > len({len(f.tile.pixels) for f in functions})
    )
