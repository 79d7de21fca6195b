"""The contenders of `benchmarks/cuda.py`, on the CPU: that they build the same networks and give the same answers.

Their captures, events and torch.compile need a GPU. Run in an environment with PyTorch: ``make test-torch``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

REASON = "is not installed; make test-torch installs it"
torch = pytest.importorskip("torch", reason=f"PyTorch {REASON}")

from benchmarks import cuda  # noqa: E402
from benchmarks.gpu import Gpu  # noqa: E402
from benchmarks.models import lenet  # noqa: E402

pytestmark = pytest.mark.torch


class OnTheCpu(Gpu):
    """The same contenders, timed by nobody."""

    def __init__(self) -> None:
        super().__init__("cpu")

    def facts(self) -> dict[str, object]:
        return {"device": "no GPU"}

    def measure(self, call: Callable[[], object], calls: int) -> float:
        call()
        return 1e-3


def test_both_answer_alike(tmp_path: Path) -> None:
    path = tmp_path / "cpu.json"
    values = ["lenet", "--batch", "3", "--precision", "fp32", "--contender", "cudnn-graph", "--slices", "2"]
    assert cuda.main([*values, "--slice-seconds", "0.001", "--json", str(path)], OnTheCpu()) == 0
    (only,) = json.loads(path.read_text())["races"]
    assert set(only["contenders"]) == {"cnngen", "cudnn-graph"}
    assert only["contenders"]["cnngen"]["relative_error"] < 1e-6
    assert only["ratio"] == pytest.approx(1.0)
    assert only["contenders"]["cnngen"]["latency_s"] > 0


def test_what_fails_to_build_is_said() -> None:
    gpu = OnTheCpu()
    x = gpu.input((1, 3, 28, 28))  # LeNet takes grey images
    found = dict(gpu.contenders(lenet().eval(), x, "fp32", ("cnngen", "cudnn-graph")))
    assert all(isinstance(reason, str) and ": " in reason for reason in found.values()), found


@pytest.mark.parametrize("name", cuda.NETWORKS)
def test_the_models_are_those_of_their_papers(name: str) -> None:
    parameters = {"lenet": 61_706, "resnet18": 11_689_512, "resnet50": 25_557_032, "vgg16": 138_357_544,
                  "mobilenet_v2": 3_504_872, "efficientnet_b0": 5_288_548}  # fmt: skip
    with torch.device("meta"):
        from benchmarks.models import MODELS

        model = (lenet if name == "lenet" else MODELS[name])()
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters[name]


def test_lenet_is_the_shipped_one() -> None:
    model = cuda.model_of("lenet")
    y = model(OnTheCpu().input((2, *cuda.NETWORKS["lenet"])))
    assert y.shape == (2, 10)
    np.testing.assert_allclose(y.detach().sum(dim=1).numpy(), 1.0, rtol=1e-5)
