"""Orders of a convolution's blocks, and epilogues that stay out of its loops: forced, on odd shapes."""

from __future__ import annotations

import pytest

from cnngen.backends.cpu import lower_convolution
from cnngen.backends.cpu.kernels import ConvKernel, DepthwiseKernel
from cnngen.backends.cpu.target import host_isas
from cnngen.ir import Graph
from cnngen.ops import Activation, Conv2D
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
    ]
    outputs = [net.add(op, "x") for op in ops]
    outputs.append(net.add(Conv2D(75, (1, 1), residual=True, activation=activation), "x", outputs[0]))
    return net.graph(*outputs)


@pytest.mark.parametrize(
    ("isa", "threads", "rows_first"),
    [
        *((*case, True) for case in TARGETS),
        *((isa, threads, False) for isa in ("scalar", NATIVE) for threads in (1, 3)),
    ],
    ids=lambda value: str(value),
)
def test_blocks_of_a_row_or_rows_of_a_block_come_first(
    isa: str, threads: int, rows_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lower_convolution, "RESIDENT_BYTES", 1 << 30 if rows_first else 0)
    graph = blocks(Activation("relu"))
    kernels = [kernel for kernel in planned(graph, isa, threads).kernels if isinstance(kernel, ConvKernel)]
    assert kernels
    assert all(kernel.rows_first == rows_first for kernel in kernels)
    assert any(kernel.rows > 1 and block.count > 1 for kernel in kernels for block in kernel.blocks)
    with native(graph, isa, threads) as net:
        assert assert_every_layer(net.graph, {**(x := feed(net.graph, "integers")), **net.trace(*x.values())}) == 3


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
