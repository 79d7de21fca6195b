"""The same bits on every ISA with fused multiply-add, for every number of threads; and on every ISA without."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import cnngen
from cnngen import resources
from cnngen.backends.cpu.target import EMULATED_SUFFIX
from cnngen.pipeline import NUMERICS
from cnngen.workspace import Workspace
from tests.graphs import feed
from tests.guarded import all_cases, merged
from tests.native import RUNNABLE, native, target

FUSED = [isa for isa in RUNNABLE if target(isa).isa.fused]
UNFUSED = [isa for isa in RUNNABLE if not target(isa).isa.fused]
LENET = resources.specs_folder() / "lenet.yaml"
graph = functools.cache(lambda: merged(all_cases()))


@functools.cache
def bits(isa: str, threads: int) -> dict[str, bytes]:
    """Every output of every op case on random inputs."""
    with native(graph(), isa, threads, flags=("-O0",)) as net:
        arrays = list(feed(graph()).values())
        workspace = Workspace(net.plan, net._loaded(), arrays)
        workspace.stepper(range(len(net.plan.steps)))()
        return {name: workspace.read(name).tobytes() for name in graph().outputs}


def different(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return [name for name in one if one[name] != other[name]]


def test_isas_with_fused_multiply_add_give_the_same_bits() -> None:
    assert len(FUSED) == 2
    assert not different(bits(FUSED[0], 1), bits(FUSED[1], 1))


def test_isas_without_give_the_same_bits_too_but_others() -> None:
    assert len(UNFUSED) == 2
    assert not different(bits(UNFUSED[0], 1), bits(UNFUSED[1], 1))
    others = different(bits(UNFUSED[0], 1), bits(FUSED[0], 1))
    assert any("conv" in name for name in others), "a sum of products cannot be the same by accident"
    assert not any("max_pool" in name for name in others)


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_do_not_change_a_bit(threads: int) -> None:
    isa = next((isa for isa in FUSED if not isa.endswith(EMULATED_SUFFIX)), RUNNABLE[0])
    assert not different(bits(isa, 1), bits(isa, threads))


def test_reproducible_is_a_promise_and_fast_depends_on_nothing_but_the_plan() -> None:
    """By the front door, on real digits; 0 to 255 would be exact in parts, so they are divided."""
    digits = np.load(resources.specs_folder() / "data" / "digits.npz")["images"][:8, :, :, None]
    x = digits.astype(np.float32) / np.float32(255)
    found = {}
    targets = [*((isa, 1) for isa in FUSED), *((isa, n) for isa in FUSED[:1] for n in (2, 4))]
    for isa, threads in targets:
        for numerics in NUMERICS:
            with cnngen.compile(LENET, isa=isa, threads=threads, numerics=numerics) as net:
                found[isa, threads, numerics] = net(x).tobytes()
    assert len({found[isa, threads, "reproducible"] for isa, threads in targets}) == 1
    # Winograd's algorithm rounds otherwise, and alike for any number of threads.
    fast = {found[isa, threads, "fast"] for isa, threads in targets if isa == FUSED[0]}
    assert len(fast) == 1
    assert fast != {found[FUSED[0], 1, "reproducible"]}
