"""A sample of random networks as plain C programs under AddressSanitizer and UndefinedBehaviourSanitizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnngen.backends.cpu.target import host_isas
from cnngen.passes import optimise
from tests.differential.test_sanitizers import run_sanitized
from tests.fuzz import campaign

SEED = 4
NETWORKS = 4


@pytest.mark.parametrize("number", range(NETWORKS))
def test_a_random_network_runs_clean(number: int, tmp_path: Path) -> None:
    drawn = campaign.draw(SEED, number)
    drawn.write(tmp_path / "spec")
    graph = optimise(drawn.graph(tmp_path / "spec", drawn.batches[-1]))
    isa = host_isas()[number % len(host_isas())]
    run_sanitized(graph, isa, tmp_path)
