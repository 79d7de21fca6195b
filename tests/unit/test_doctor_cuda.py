"""`cnngen doctor --cuda`: what it finds, and the commands it names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cnngen import cli, doctor_cuda
from cnngen.backends.cuda import compiler as compilers
from tests.cuda_compilers import nvcc
from tests.source_trees import script


@pytest.fixture(autouse=True)
def _no_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in compilers.ENVIRONMENT:
        if name != "PATH":
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(compilers, "USUAL_TOOLKIT", tmp_path / "usual")


def toolkit(folder: Path, *files: str) -> Path:
    for name in ("include/cuda.h", *files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    script(folder / "bin/nvcc", "exit")
    return folder


def test_pycuda_needs_nothing_where_all_is_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = toolkit(tmp_path / "cuda", "include/curand.h", "lib64/stubs/libcuda.so")
    monkeypatch.setenv("PATH", str(root / "bin"))
    assert doctor_cuda.siteconf() == []


def test_a_wrapper_and_a_small_toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toolkit(tmp_path / "usual", "lib64/libcuda.so")
    script(tmp_path / "bin/nvcc", "exit")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert doctor_cuda.siteconf() == [f'CUDA_ROOT = "{tmp_path / "usual"}"', "CUDA_ENABLE_CURAND = False"]


def test_the_command_writes_what_pycuda_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run but for its last part, the installation."""
    monkeypatch.setattr(doctor_cuda, "LINK_FOLDER", tmp_path / "stub")
    lines = ['CUDA_ROOT = "/somewhere"', "CUDA_ENABLE_CURAND = False", f'CUDADRV_LIB_DIR = ["{tmp_path / "stub"}"]']
    monkeypatch.setattr(doctor_cuda, "siteconf", lambda: lines)
    command, _, last = doctor_cuda._remedy("pycuda", "cuda").rpartition(" && ")
    assert last == "pip install 'cnngen[cuda]'"
    subprocess.run(["sh", "-c", command], env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=True)
    assert (tmp_path / ".aksetup-defaults.py").read_text().splitlines() == lines
    assert (tmp_path / "stub/libcuda.so").stat().st_size > 0


@pytest.mark.parametrize(
    ("code", "status", "detail"),
    [
        ("print('1.2')", "ok", "1.2"),
        ("import no_such_module", "optional", "installed, but cannot be imported: ModuleNotFoundError"),
        ("import pycuda_is_not_here", "optional", "not installed; calls the driver"),
        ("import os; os.kill(os.getpid(), 11)", "optional", "cannot be imported: killed by SIGSEGV"),
    ],
)
def test_packages_are_tried_in_a_process_of_their_own(code: str, status: str, detail: str) -> None:
    found = doctor_cuda._package("pycuda", code, "cuda")
    assert found.status == status
    assert detail in found.detail


def test_a_package_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_cuda, "PROBE_SECONDS", 0.3)
    assert "time limit" in doctor_cuda._package("pycuda", "import time; time.sleep(60)", "cuda").detail


def test_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNGEN_NVCC", str(nvcc(tmp_path / "nvcc")))
    assert "nvcc 13.0" in doctor_cuda._compiler().detail
    monkeypatch.setenv("CNNGEN_NVCC", "/nowhere/nvcc")
    missing = doctor_cuda._compiler()
    assert missing.status == "optional"
    assert "unset it" in (missing.remedy or "")


def test_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a driver nothing fails: networks for CPUs compile all the same."""
    monkeypatch.setattr(doctor_cuda, "LIBRARY", "libno-such-driver.so.1")
    result = CliRunner().invoke(cli.app, ["doctor", "--cuda"])
    assert result.exit_code == 0, result.stderr
    assert "libno-such-driver.so.1 cannot be loaded" in result.stdout
    assert "none can be seen without a driver" in result.stdout
    assert sys.executable in result.stdout
