"""docs/first_network.md: weights from PyTorch and Keras give the network that they were saved from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnngen
from tests.unit.test_first_network import BLOCKS, SPEC

REASON = "is not installed; make test-torch installs it"
pytest.importorskip("torch", reason=f"PyTorch {REASON}")
os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras", reason=f"Keras {REASON}")

pytestmark = pytest.mark.torch


def write_spec(form: str) -> None:
    weights = f"weights: {{file: digits.safetensors, format: {form}}}"
    Path("digits.yaml").write_text(SPEC.replace("weights: random", weights), encoding="utf-8")


def test_weights_from_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_spec("torch")
    exec(BLOCKS["PyTorch: train_digits.py"] + BLOCKS["PyTorch: compare"], {"__name__": "train_digits"})
    found = re.fullmatch(r"largest difference (\S+)\n", capsys.readouterr().out)
    assert found
    assert float(found[1]) < 1e-6, "about 1e-7 is what the page says"


def test_weights_from_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_spec("keras")
    names: dict[str, Any] = {}
    exec(BLOCKS["Keras: train_digits_keras.py"], names)
    images = np.random.default_rng(0).standard_normal((16, 28, 28, 1), np.float32)
    with cnngen.compile("digits.yaml") as net:
        native = net(images)
    np.testing.assert_allclose(native, names["model"].predict(images, verbose=0), rtol=0, atol=1e-6)
