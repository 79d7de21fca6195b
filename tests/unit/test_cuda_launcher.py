"""The launcher on a driver without a GPU (tests/cuda_stub), which runs the kernels of the emulation.

With pycuda installed the tests go through it, else through cuda-bindings; CNNGEN_CUDA_DRIVER names one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cnngen
from cnngen import pipeline
from cnngen.backends.cuda.launches import Description, describe
from cnngen.ir import Array, Graph
from cnngen.network import Network
from cnngen.ops import Activation, Conv2D, Dense, Flatten, Pool2D
from tests import cuda_stub
from tests.graphs import EXAMPLES, SAME3, Builder, chain, feed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the driver for tests is written for Linux")


def network(batch: int = 2) -> Graph:
    relu = Activation("relu")
    return chain(
        (batch, 6, 7, 3), Conv2D(5, (3, 3), padding=SAME3, activation=relu), Pool2D("max", (2, 2), (2, 2)),
        Flatten(), Dense(4), weights="integers",
    )  # fmt: skip


def two_ways() -> Graph:
    """Two inputs, two outputs, one of which other layers read."""
    net = Builder({"x": (1, 5, 6, 8), "y": (1, 5, 6, 3)}, name="two_ways")
    first = net.add(Conv2D(8, (3, 3), padding=SAME3), "x")
    second = net.add(Conv2D(4, (1, 1)), "y")
    third = net.add(Conv2D(4, (3, 3)), first)
    return net.graph(first, second, third)


def images(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-3, 4, (count, 6, 7, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def _gpu(gpu: None) -> None:
    """Every test here."""


@pytest.fixture
def net() -> Iterator[Network]:
    with cuda_stub.compiled(network()) as compiled:
        yield compiled


@pytest.mark.parametrize(("name", "precision"), [("lenet", "fp16"), ("two_ways", "fp32")])
def test_results_are_those_of_the_emulation(name: str, precision: str) -> None:
    made = {"two_ways": two_ways, **EXAMPLES}[name]()
    xs = list(feed(made, "random").values())
    with cnngen.compile(made, target="cuda-emulated", precision=precision) as emulated:
        expected = emulated(*xs)
    with cuda_stub.compiled(made, precision) as net:
        for _ in range(2):
            for one, other in zip(_listed(net(*xs)), _listed(expected), strict=True):
                assert one.tobytes() == other.tobytes()
        report = cnngen.verify(net)
        assert report.ok, report.summary()


def _listed(result: object) -> list[Array]:
    return result if isinstance(result, list) else [result]  # type: ignore[list-item]  # an array


def test_a_description_is_the_same_after_a_way_through_the_cache() -> None:
    plan = pipeline.cuda_plan_for(two_ways(), target="cuda", precision="fp16")
    description = describe(plan)
    assert Description.from_json(description.to_json()) == description
    assert len(description.steps) == len(plan.steps)
    for text in ("", "[]", "[1,2]", '["x",[1],[1],1,1,[[["symbol",[1,1],1,1,[]]]]]'):
        with pytest.raises((ValueError, TypeError)):
            Description.from_json(text)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_images(net: Network, count: int) -> None:
    x = images(count)
    y = net(x)
    assert y.shape == (count, 4)
    assert np.array_equal(y, cnngen.reference(_for(count), x))


def _for(batch: int) -> Graph:
    return network(batch)


def test_run_writes_into_out_and_nothing_else(net: Network) -> None:
    x, room = images(2), np.full((4, 4), np.nan, np.float32)
    net.run(x, out=room[1:3])
    assert np.array_equal(room[1:3], cnngen.reference(network(), x))
    assert np.isnan(room[[0, 3]]).all()


def test_threads_get_their_own_results(net: Network) -> None:
    xs = [images(2, seed) for seed in range(24)]
    expected = [cnngen.reference(network(), x) for x in xs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert all(map(np.array_equal, pool.map(net, xs), expected))


def test_two_networks_share_a_gpu(net: Network) -> None:
    with cuda_stub.compiled(two_ways()) as other:
        x = images(2)
        xs = list(feed(two_ways(), "random").values())
        before = [net(x), *other(*xs)]
        after = [net(x), *other(*xs)]
        assert all(map(np.array_equal, before, after))


def test_closing_gives_everything_back() -> None:
    stub = cuda_stub.install()
    used, blocks = stub.cuda_stub_used(0), stub.cuda_stub_blocks()
    nets = [cuda_stub.compiled(network()) for _ in range(2)]
    assert stub.cuda_stub_used(0) > used
    x = images(2)
    for net in nets:
        net(x)
        net.close()
        with pytest.raises(cnngen.errors.RunError, match="closed"):
            net(x)
    assert (stub.cuda_stub_used(0), stub.cuda_stub_blocks()) == (used, blocks)


def test_a_forgotten_network_gives_everything_back() -> None:
    stub = cuda_stub.install()
    used, blocks = stub.cuda_stub_used(0), stub.cuda_stub_blocks()
    net = cuda_stub.compiled(network())
    net(images(2))
    del net
    assert (stub.cuda_stub_used(0), stub.cuda_stub_blocks()) == (used, blocks)
