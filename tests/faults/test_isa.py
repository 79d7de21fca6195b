"""Case 70: code for an ISA that the machine lacks is refused before anything runs, wherever it would come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import cnngen
from cnngen.backends.cpu import loader
from cnngen.backends.cpu import target as cpu_target
from cnngen.backends.cpu.target import host_isas
from cnngen.cli import app
from cnngen.errors import TargetError
from cnngen.ops import Conv2D
from tests.graphs import chain

SPEC = """\
cnngen: 1
name: small
input: {shape: [8, 8, 1], layout: hwc}
weights: random
layers:
  - conv2d: {name: c1, filters: 4, kernel: 3}
"""
FASTEST = host_isas()[-1]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The libraries that are loaded into this process from now on."""
    seen: list[Path] = []
    load = loader.load

    def watched(path: Path, *arguments: object, **options: object) -> loader.Library:
        seen.append(path)
        return load(path, *arguments, **options)

    monkeypatch.setattr(loader, "load", watched)
    return seen


@pytest.mark.skipif(FASTEST == "scalar", reason="this machine has no ISA to lose")
def test_case_70_neither_a_cached_library_nor_one_in_the_build_folder_is_loaded(
    loads: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As when a cache lies on a disk that several machines share."""
    graph = chain((1, 4, 4, 2), Conv2D(3, (3, 3)), name="shared")
    cnngen.compile(graph, isa=FASTEST, threads=1, build_dir=tmp_path).close()
    assert len(loads) == 1
    monkeypatch.setattr(cpu_target, "host_isas", lambda: ("scalar",))
    with pytest.raises(TargetError, match=f"cannot run {FASTEST} code .it has scalar.; use isa='native'"):
        cnngen.compile(graph, isa=FASTEST, threads=1, build_dir=tmp_path)
    assert len(loads) == 1
    with cnngen.compile(graph, isa="native", threads=1, build_dir=tmp_path) as net:
        assert net.isa == "scalar"


@pytest.mark.skipif(FASTEST == "scalar", reason="this machine has no ISA to lose")
def test_case_70_nor_one_that_a_spec_gave_before(
    loads: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A spec that was compiled before is loaded without being read again; its ISA is looked at all the same."""
    spec = tmp_path / "small.yaml"
    spec.write_text(SPEC)
    for _ in range(2):
        cnngen.compile(spec, isa=FASTEST, threads=1).close()
    assert len(loads) == 2
    monkeypatch.setattr(cpu_target, "host_isas", lambda: ("scalar",))
    with pytest.raises(TargetError, match=f"cannot run {FASTEST} code"):
        cnngen.compile(spec, isa=FASTEST, threads=1)
    assert len(loads) == 2


@pytest.mark.parametrize("isa", ["sse4.1", "avx2", "avx512"])
@pytest.mark.parametrize("command", ["compile", "verify", "bench"])
def test_case_70_on_the_command_line(
    command: str, isa: str, loads: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SPEC)
    monkeypatch.setattr(cpu_target, "host_isas", lambda: ("scalar",))
    found = CliRunner().invoke(app, [command, "small.yaml", "--isa", isa])
    assert found.exit_code == 2
    assert f"this machine cannot run {isa} code (it has scalar); use isa='native'" in found.stderr
    assert found.stderr.count("\n") == 1
    assert not loads
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize("isa", ["sse4.1", "avx2", "avx512"])
def test_case_70_its_sources_can_be_written_all_the_same(
    isa: str, loads: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SPEC)
    monkeypatch.setattr(cpu_target, "host_isas", lambda: ("scalar",))
    found = CliRunner().invoke(app, ["compile", "small.yaml", "--isa", isa, "--emit-only", "-o", "out"])
    assert found.exit_code == 0, found.stderr
    assert f"for {isa}" in Path("out/small.c").read_text()
    assert not loads
