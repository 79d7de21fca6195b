"""`benchmarks/export_models.py` on small images: well-known networks as modules and as ONNX, against ONNX Runtime.

`make check-models` does it at full size. Run in an environment with PyTorch: ``make test-torch``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

REASON = "is not installed; make test-torch installs it"
pytest.importorskip("torch", reason=f"PyTorch {REASON}")
pytest.importorskip("onnxruntime", reason=f"onnxruntime {REASON}")

from benchmarks import export_models  # noqa: E402
from benchmarks.models import MODELS, build  # noqa: E402
from tests.torch.modules import inputs, verify_reading  # noqa: E402

pytestmark = pytest.mark.torch

SIZE = 64
PARAMETERS = {
    "alexnet": 61.10,
    "vgg16": 138.36,
    "resnet18": 11.69,
    "resnet50": 25.56,
    "mobilenet_v2": 3.50,
    "squeezenet1_1": 1.24,
    "densenet121": 7.98,
    "efficientnet_b0": 5.29,
    "shufflenet_v2": 2.28,
    "regnet_x_400mf": 5.50,
}
"""Millions, as torchvision's documentation has them; its GoogLeNet has other branches than the paper."""


def options(name: str) -> dict[str, int]:
    return {"classes": 10, **({"hidden": 32} if name in ("alexnet", "vgg16") else {})}


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_is_the_module(name: str) -> None:
    verify_reading(build(name, size=SIZE, **options(name)), inputs((1, 3, SIZE, SIZE)), rtol=1e-9)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_networks_have_the_parameters_of_the_papers(name: str) -> None:
    import torch

    with torch.device("meta"):
        model = MODELS[name]()
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2"])
@pytest.mark.parametrize("exporter", export_models.EXPORTERS)
def test_native_code_agrees_with_onnx_runtime(name: str, exporter: str, tmp_path: Path) -> None:
    if exporter == "dynamo":
        pytest.importorskip("onnxscript", reason=f"onnxscript {REASON}")
    result = export_models.check(name, tmp_path, size=SIZE, exporter=exporter, options=options(name))
    assert result.ok, export_models.row(result)


def test_a_wrong_network_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    far = export_models.Result("resnet18", 1, 2e-5, 1e-7, 1e-7, 1.0, 1.0, True)
    other = replace(far, module_error=1e-7, same_spec=False)
    for wrong in (far, other):
        monkeypatch.setattr(export_models, "check", lambda *_, result=wrong, **__: result)
        assert export_models.main(["resnet18", "--folder", str(tmp_path)]) == 1
        assert "fails" in capsys.readouterr().out
