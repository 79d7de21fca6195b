"""The convolution of the example, against Keras's own layer on PyTorch. Run by ``make test-torch``."""

from __future__ import annotations

import os

import numpy as np
import pytest

from cnngen.backends.cpu.target import host_isas
from tests.unit.test_examples import check_module

os.environ["KERAS_BACKEND"] = "torch"  # Keras reads it when it is imported
pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch installs it")
pytest.importorskip("keras", reason="Keras is not installed; make test-torch installs it")

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("isa", host_isas())
def test_cnngen_agrees_with_keras_on_the_convolution(isa: str) -> None:
    check = check_module()
    arguments = check.data()
    ours, keras = check.by_cnngen(*arguments, isa=isa), check.by_keras(*arguments)
    assert keras.shape == ours.shape == (256, 24, 24, 3)
    assert keras.dtype == np.float32
    difference = np.abs(ours.astype(np.float64) - keras).mean()
    print(f"{isa}: mean absolute difference from Keras {difference:.2e}")
    assert difference <= check.LIMIT


def test_the_script_compares_with_keras_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_module().main() == 0
    out = capsys.readouterr().out
    assert out.count("mean absolute difference") == 3
    assert "cnngen   Keras" in out
