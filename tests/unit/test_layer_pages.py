"""docs/layers/ is current, and its examples do what the pages say: each compiles, runs and passes `verify`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import onnx
import pytest

import cnngen
from cnngen.frontends.layers import LAYERS
from scripts import layer_pages
from scripts.layer_pages import DATA, FOLDER, Entry, example, nodes_of, summary

entries = cache(layer_pages.entries)
pages = cache(layer_pages.pages)


def test_the_committed_pages_are_current() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    stale = [name for name in pages().keys() | committed.keys() if pages().get(name) != committed.get(name)]
    assert stale == [], "run `make docs`"


def test_a_layer_without_an_entry_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYERS, "new_layer", LAYERS["relu"])
    with pytest.raises(SystemExit, match=r"without an entry: \['new_layer'\], entries without a layer: \[\]"):
        layer_pages.entries()


def test_entries_are_in_groups() -> None:
    """A layer that the author forgot to group would show up among the activation functions."""
    text = DATA.read_text(encoding="utf-8")
    functions = {kind for kind, layer in LAYERS.items() if entries()[kind].group == Entry.model_fields["group"].default}
    assert {kind for kind in LAYERS if kind not in functions} == set(
        re.findall(r"^(\w+):\n  group:", text, re.MULTILINE)
    )
    assert functions <= set(cnngen.frontends.activations.ACTIVATIONS)


@pytest.mark.parametrize("kind", LAYERS)
def test_every_page_says_what_the_layer_is(kind: str) -> None:
    assert f"\n\n{summary(LAYERS[kind])}\n\n" in pages()[f"{kind}.md"]
    assert "ops." not in summary(LAYERS[kind])
    assert f"[{kind}]({kind}.md)" in pages()["README.md"]
    assert entries()[kind].formula or "`" in summary(LAYERS[kind]), "a formula, here or in the docstring"


@pytest.mark.parametrize("kind", LAYERS)
def test_every_example_compiles_runs_and_verifies(kind: str, tmp_path: Path) -> None:
    spec = tmp_path / f"{kind}.yaml"
    spec.write_text(example(kind, entries()[kind]), encoding="utf-8")
    assert nodes_of(cnngen.load_graph(spec), example(kind, entries()[kind]), kind), "shows the layer"
    with cnngen.compile(spec, isa="scalar", threads=1) as net:
        report = cnngen.verify(net)
    assert report.ok, report.summary()


@pytest.mark.parametrize("kind", LAYERS)
def test_onnx_names_exist(kind: str) -> None:
    names = re.findall(r"`([A-Z]\w+)", entries()[kind].onnx)
    assert names
    assert [name for name in names if not onnx.defs.has(name)] == []
