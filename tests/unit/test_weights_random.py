"""Random weights: reproducible, independent of order, and of moderate results."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cnngen.ir import Graph
from cnngen.reference import reference
from tests.specs import network, parse

CONV = "conv2d: {name: c, filters: 64, kernel: 3, padding: 1}"


def arrays(graph: Graph) -> dict[str, np.ndarray]:
    return {f"{node.name}.{role}": array for node in graph.nodes for role, array in node.weights.items()}


def test_reproducible_and_by_name(tmp_path: Path) -> None:
    first = arrays(parse(tmp_path, network(CONV, "batch_norm: {name: b}")))
    again = arrays(parse(tmp_path, network("relu", CONV, "relu", "batch_norm: {name: b}")))
    assert {name: array.tobytes() for name, array in first.items()} == {k: a.tobytes() for k, a in again.items()}
    assert first["c.weight"].dtype == np.float32
    assert first["c.weight"].flags.c_contiguous
    assert not first["c.weight"].flags.writeable


def test_the_seed_and_the_name_change_the_weights(tmp_path: Path) -> None:
    one = arrays(parse(tmp_path, network(CONV)))["c.weight"]
    seeded = arrays(parse(tmp_path, network(CONV) + "seed: 1\n"))["c.weight"]
    renamed = arrays(parse(tmp_path, network(CONV.replace("name: c", "name: e"))))["e.weight"]
    assert not np.array_equal(one, seeded)
    assert not np.array_equal(one, renamed)
    assert np.array_equal(one, arrays(parse(tmp_path, network(CONV) + "seed: 0\n"))["c.weight"])


def test_distributions(tmp_path: Path) -> None:
    found = arrays(
        parse(tmp_path, network(CONV, "conv2d: {name: e, filters: 512, kernel: 3}", "batch_norm: {name: b}"))
    )
    assert abs(found["e.weight"].std() / np.sqrt(2 / (9 * 64)) - 1) < 0.01
    assert 0 < abs(found["e.bias"]).max() < 0.6
    for role in ("gamma", "variance"):
        assert found[f"b.{role}"].min() >= 0.5
        assert found[f"b.{role}"].max() <= 1.5
        assert found[f"b.{role}"].std() > 0.2
    assert 0.05 < found["b.mean"].std() < 0.2
    assert 0.05 < found["b.beta"].std() < 0.2


def test_a_deep_residual_network_does_not_explode(tmp_path: Path) -> None:
    blocks = """\
blocks:
  unit:
    layers:
      - conv2d: {filters: 8, kernel: 3, padding: 1, bias: false}
      - batch_norm
      - relu
      - conv2d: {filters: 8, kernel: 3, padding: 1, bias: false}
      - batch_norm: {name: last}
      - add: {inputs: [last, input], activation: relu}
"""
    text = network("conv2d: {filters: 8, kernel: 1}", "unit: {repeat: 40}") + blocks
    y = reference(parse(tmp_path, text), np.random.default_rng(0).standard_normal((8, 8, 3)))
    assert isinstance(y, np.ndarray)
    assert np.isfinite(y).all()
    assert 0.1 < y.std() < 30
