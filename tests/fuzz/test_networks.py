"""A short run of the fuzzer with a fixed seed, on every ISA; `make fuzz` runs it as long as one likes."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from tests.fuzz import campaign
from tests.fuzz.build_cuda import CUDA
from tests.native import RUNNABLE

SEED = 1
NETWORKS = 6


def test_random_networks_are_right() -> None:
    found: list[str] = []
    result = campaign.run(
        SEED,
        networks=NETWORKS,
        on_failure=lambda failure: found.append(f"{failure.document.text}{failure.failures[0]}"),
    )
    assert not found, "\n\n".join(found)
    assert result.networks == NETWORKS
    assert result.tally.variants == NETWORKS * len(RUNNABLE) * 2 * 2, "every ISA, two batch sizes, one and two threads"
    assert result.tally.exact > result.tally.layers / 3


def test_random_networks_are_right_on_the_cuda_emulation() -> None:
    found: list[str] = []
    result = campaign.run(
        SEED,
        networks=NETWORKS,
        options=campaign.Options(isas=CUDA, drawn=True),
        on_failure=lambda failure: found.append(f"{failure.document.text}{failure.failures[0]}"),
    )
    assert not found, "\n\n".join(found)
    assert result.networks == NETWORKS
    assert result.tally.variants == NETWORKS * 2 * 2, "two batch sizes, two orders"
    assert result.tally.exact > result.tally.layers / 3
