"""Pooling with one window for each channel: blocks of channels with rests and tails, images, threads."""

from __future__ import annotations

import pytest

from cnngen.backends.cpu.kernels import PoolKernel
from cnngen.backends.cpu.target import host_isas
from cnngen.ops import GlobalPool2D, Pool2D
from tests.exactness import assert_every_layer
from tests.graphs import Builder, feed
from tests.native import native

SHAPES = ((1, 7, 5, 9), (3, 6, 4, 77), (2, 5, 5, 64), (1, 9, 3, 34))


@pytest.mark.parametrize(("isa", "threads"), [(host_isas()[-1], 1), (host_isas()[-1], 3), ("scalar", 1)])
def test_whole_windows_equal_the_reference(isa: str, threads: int) -> None:
    net = Builder({f"x{i}": shape for i, shape in enumerate(SHAPES)}, name="whole")
    outputs = []
    for name, (_, height, width, _) in zip(("x0", "x1", "x2", "x3"), SHAPES, strict=True):
        outputs += [net.add(GlobalPool2D(reduction), name) for reduction in ("avg", "max")]
        outputs.append(net.add(Pool2D("lp", (height, width), (1, 1), order=2), name))
    with native(net.graph(*outputs), isa, threads) as compiled:
        kernels = [kernel for kernel in compiled.plan.kernels if isinstance(kernel, PoolKernel)]
        assert all(kernel.whole for kernel in kernels)
        assert {len(kernel.blocks) for kernel in kernels} == {1, 2}
        x = feed(compiled.graph, "random")
        assert assert_every_layer(compiled.graph, {**x, **compiled.trace(*x.values())}) == len(SHAPES)
