"""The names that docs/layers.yaml gives layers in PyTorch and Keras exist there."""

from __future__ import annotations

import importlib
import os
import re

import pytest

from scripts.layer_pages import entries

REASON = "is not installed; make test-torch installs it"
pytest.importorskip("torch", reason=f"PyTorch {REASON}")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason=f"Keras {REASON}")

pytestmark = pytest.mark.torch

ENTRIES = entries()


@pytest.mark.parametrize("kind", ENTRIES)
def test_names_exist(kind: str) -> None:
    entry = ENTRIES[kind]
    names = re.findall(r"\b(?:torch|keras)(?:\.\w+)+", f"{entry.pytorch} {entry.keras}")
    for name in names:
        package, *parts = name.split(".")
        found = importlib.import_module(package)
        for part in parts:
            found = getattr(found, part)
    for activation in re.findall(r'`"(\w+)"`', entry.keras):
        assert callable(keras.activations.get(activation))
    assert names or entry.pytorch.startswith("`x1")
