"""The generator itself: everything that the spec language has is drawn, every network is valid, all is reproducible."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cnngen.frontends.layers import LAYERS
from cnngen.passes import optimise
from tests.fuzz import campaign, coverage, document
from tests.fuzz.check import feed, onnx_differences
from tests.fuzz.document import Document
from tests.fuzz.fields import FIELDS

SEED = 23
NETWORKS = 420


@functools.cache
def networks() -> tuple[Document, ...]:
    return tuple(campaign.draw(SEED, number) for number in range(NETWORKS))


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """Everything that the networks have in them; all of them are valid, or loading them fails."""
    folder = tmp_path_factory.mktemp("fuzz")
    counts: Counter[str] = Counter()
    for number, drawn in enumerate(networks()):
        drawn.write(folder / str(number))
        counts.update(coverage.observations(drawn, drawn.graph(folder / str(number), 1)))
    return counts


def test_every_layer_kind_has_a_generator() -> None:
    """A kind that is added to the language is added to `tests/fuzz/fields.py`, too."""
    assert set(FIELDS) == set(LAYERS)


@pytest.mark.parametrize("kind", LAYERS)
def test_every_field_is_drawn(kind: str, met: Counter[str]) -> None:
    assert met[kind] > 2
    wanted = [name for name in LAYERS[kind].model_fields if name not in coverage.COMMON]
    assert not [name for name in wanted if not met[f"{kind}.{name}"]], coverage.table(met)


def test_every_value_and_situation_is_drawn(met: Counter[str]) -> None:
    """Over all kinds together: an activation behind every kind that takes one needs longer runs."""
    wanted = {name.split(".", 1)[-1] for name in coverage.expected()}
    found = {name.split(".", 1)[-1] for name, count in met.items() if count}
    assert not wanted - found


@pytest.mark.parametrize("number", range(0, NETWORKS, 10))
def test_the_reference_agrees_with_onnxruntime(number: int, tmp_path: Path) -> None:
    """More networks than are compiled: this takes no compiler."""
    drawn = networks()[number]
    drawn.write(tmp_path)
    graph = drawn.graph(tmp_path, drawn.batches[-1])
    assert not list(onnx_differences(graph, feed(graph, seed=number))), drawn.text


def test_a_number_stands_for_a_network() -> None:
    assert campaign.draw(SEED, 3) == networks()[3]
    assert len({drawn.text for drawn in networks()}) > 0.95 * NETWORKS


def test_a_saved_network_is_the_same_network(tmp_path: Path) -> None:
    """Written, read and written again: the same graph with the same weights, whatever their format and type."""
    formats = set()
    for number, drawn in enumerate(networks()[:40]):
        first = drawn.write(tmp_path / f"{number}")
        again = document.read(first)
        assert again.batches == drawn.batches
        again.write(tmp_path / f"{number}_again")
        one, two = drawn.graph(tmp_path / f"{number}", 2), again.graph(tmp_path / f"{number}_again", 2)
        assert [(node.name, node.op, node.inputs) for node in one.nodes] == [
            (node.name, node.op, node.inputs) for node in two.nodes
        ]
        for a, b in zip(one.nodes, two.nodes, strict=True):
            assert all(np.array_equal(array, b.weights[role]) for role, array in a.weights.items())
        weights = drawn.spec["weights"]
        formats.add((weights if isinstance(weights, str) else weights["format"], drawn.stored))
    assert len(formats) > 3


def test_most_networks_survive_the_passes(tmp_path: Path) -> None:
    """Layers that lead to no output are drawn, but most networks are not made of them."""
    layers = []
    for number, drawn in enumerate(networks()[:40]):
        drawn.write(tmp_path / f"{number}")
        layers.append(len(optimise(drawn.graph(tmp_path / f"{number}", 1)).nodes))
    assert np.mean(layers) > 2.5
    assert np.mean(np.array(layers) == 0) < 0.2
