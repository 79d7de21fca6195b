"""``torch.compile(module, backend="cnngen")``: graphs as networks, what falls back to PyTorch, and changed weights.

Run in an environment with PyTorch: ``make test-torch``.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnngen
from cnngen.errors import ModelError, TargetError
from cnngen.tensors import as_array

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch installs it")

from torch import nn  # noqa: E402

from cnngen import torch_backend  # noqa: E402
from cnngen.torch_backend import compile_graph  # noqa: E402
from tests.torch.modules import Of, inputs, seeded  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> list[cnngen.Network]:
    """What the backend compiles during a test."""
    compiled: list[cnngen.Network] = []
    original = torch_backend.compile_network

    def compile_network(*args: Any, **options: Any) -> cnngen.Network:
        compiled.append(original(*args, **options))
        return compiled[-1]

    monkeypatch.setattr(torch_backend, "compile_network", compile_network)
    return compiled


def small() -> nn.Module:
    return seeded(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten(),
            nn.Linear(8 * 25, 4),
        )
    )  # fmt: skip


def agree(actual: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-5)


def test_a_module_becomes_a_network(networks: list[cnngen.Network]) -> None:
    module = small()
    compiled = torch.compile(module, backend=compile_graph)
    (x,) = inputs((2, 3, 5, 5))
    with torch.no_grad():
        agree(compiled(x), module(x))
        agree(compiled(2 * x), module(2 * x))
    assert len(networks) == 1
    assert networks[0].input_shapes == ((2, 3, 5, 5),)


def test_another_batch_is_another_network(networks: list[cnngen.Network]) -> None:
    module = small()
    compiled = torch.compile(module, backend=compile_graph)
    with torch.no_grad():
        for batch in (2, 3, 5, 3, 2):
            (x,) = inputs((batch, 3, 5, 5))
            agree(compiled(x), module(x))
    assert sorted(network.batch for network in networks) == [2, 3, 5]


def test_channels_last_is_read_as_it_lies(networks: list[cnngen.Network]) -> None:
    module = small()
    compiled = torch.compile(module, backend=compile_graph)
    (x,) = inputs((2, 3, 5, 5))
    y = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        agree(compiled(y), module(x))
        agree(compiled(x), module(x))
    assert [network.input_shapes for network in networks] == [((2, 5, 5, 3),), ((2, 3, 5, 5),)]
    graph = networks[0].source_graph
    assert not any(graph.inputs[0].name in node.inputs and node.op.kind == "transpose" for node in graph.nodes)
    assert np.shares_memory(as_array("x", torch_backend._as_it_lies(y)), y.numpy())


def test_changed_weights_are_noticed(networks: list[cnngen.Network], caplog: pytest.LogCaptureFixture) -> None:
    module = small()
    compiled = torch.compile(module, backend=compile_graph)
    (x,) = inputs((2, 3, 5, 5))
    with torch.no_grad(), caplog.at_level(logging.INFO, "cnngen.torch"):
        before = compiled(x)
        module[4].bias += 1
        agree(compiled(x), before + 1)
        module.load_state_dict(small().state_dict())
        agree(compiled(x), before)
        module[0].weight = nn.Parameter(2 * module[0].weight)
        agree(compiled(x), module(x))
    assert "weights have changed" in caplog.text
    assert len(networks) == 4


def test_weights_that_change_all_the_time_fall_back(
    networks: list[cnngen.Network], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_backend, "MAX_RECOMPILATIONS", 1)
    module = small()
    compiled = torch.compile(module, backend=compile_graph)
    (x,) = inputs((2, 3, 5, 5))
    with torch.no_grad():
        for _ in range(4):
            module[4].bias += 1
            agree(compiled(x), module(x))
    assert len(networks) == 2
    assert "changed more than 1 times" in caplog.text


def test_a_graph_break_gives_two_networks(networks: list[cnngen.Network]) -> None:
    def forward(module: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = module.first(x)
        torch._dynamo.graph_break()
        return {"features": x, "scores": module.second(x.relu())}

    module = seeded(Of(forward, first=nn.Linear(6, 5), second=nn.Linear(5, 4)))
    (x,) = inputs((2, 6))
    with torch.no_grad():
        actual, wanted = torch.compile(module, backend=compile_graph)(x), module(x)
    for name in ("features", "scores"):
        agree(actual[name], wanted[name])
    assert len(networks) == 2


FALLBACKS: dict[str, tuple[Any, str]] = {
    "unsupported": (lambda m, x: torch.cummax(m.fc(x), 1).values, "aten.cummax"),
    "input_written_to": (lambda m, x: m.fc(x.add_(1)), "writes to"),
    "view_of_an_input": (lambda m, x: (x.view(3, 4), m.fc(x)), "shares memory"),
    "half": (lambda m, x: m.fc(x).half(), "float16"),
}


@pytest.mark.parametrize("name", FALLBACKS)
def test_fallback_with_a_reason(name: str, networks: list[cnngen.Network], caplog: pytest.LogCaptureFixture) -> None:
    function, reason = FALLBACKS[name]
    module = seeded(Of(function, fc=nn.Linear(6, 5)))
    (x,) = inputs((2, 6))
    y = x.clone()
    with torch.no_grad():
        actual, wanted = torch.compile(module, backend=compile_graph)(x), module(y)
    torch.testing.assert_close(actual, wanted, rtol=0, atol=0)
    torch.testing.assert_close(x, y, rtol=0, atol=0)
    assert not networks
    assert "runs in PyTorch" in caplog.text
    assert reason in caplog.text


def test_training_runs_in_pytorch(networks: list[cnngen.Network], caplog: pytest.LogCaptureFixture) -> None:
    module = small().train()
    (x,) = inputs((4, 3, 5, 5))
    torch.compile(module, backend=compile_graph)(x).sum().backward()
    assert module[0].weight.grad is not None
    assert not networks
    assert "gradients are wanted" in caplog.text


def test_without_fallback_the_reason_is_raised() -> None:
    module = Of(lambda m, x: torch.cummax(x, 1).values).eval()
    compiled = torch.compile(module, backend=compile_graph, options={"fallback": False})
    with torch.no_grad(), pytest.raises(Exception, match=r"aten\.cummax") as caught:
        compiled(torch.zeros(2, 6))
    assert isinstance(caught.value.inner_exception, ModelError)  # TorchDynamo wraps what a backend raises


def test_options(networks: list[cnngen.Network]) -> None:
    compiled = torch.compile(small(), backend=compile_graph, options={"isa": "scalar", "threads": 2})
    with torch.no_grad():
        compiled(torch.zeros(1, 3, 5, 5))
    assert networks[0].isa == "scalar"
    assert networks[0].threads == 2


def test_unknown_options_are_refused() -> None:
    with pytest.raises(TargetError, match="unknown options speed"):
        compile_graph(torch.fx.symbolic_trace(nn.ReLU()), [torch.zeros(1)], options={"speed": 9})


def test_the_entry_point(tmp_path: Path) -> None:
    """The backend by its name, as PyTorch finds it in an installed package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = tmp_path / "cnngen_entry-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: cnngen-entry\nVersion: 1\n", encoding="utf-8")
    points = project["entry-points"]["torch_dynamo_backends"]
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (metadata / "entry_points.txt").write_text(f"[torch_dynamo_backends]\n{lines}", encoding="utf-8")
    program = (
        "import torch\n"
        "assert 'cnngen' in torch.compiler.list_backends()\n"
        "net = torch.compile(torch.nn.Linear(3, 2).eval(), backend='cnngen', options={'fallback': False})\n"
        "with torch.no_grad(): print(tuple(net(torch.ones(1, 3)).shape))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.stdout == "(1, 2)\n", result.stderr
