"""Every call that a compilation makes to the system fails in turn: a typed error or a warning, and nothing broken."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import cnngen
from cnngen.backends.cpu import compiler as compilers
from cnngen.backends.cpu.toolchain import find_compiler
from cnngen.errors import CnngenError
from cnngen.ir import Array
from tests.faults.injection import CLEANING, CODES, Calls, injected
from tests.source_trees import script
from tests.specs import network

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to tell files from pipes")

SPEC = network("conv2d: {name: c, filters: 2, kernel: 3}", header="cnngen: 1\ninput: {shape: [4, 4, 1]}\nWEIGHTS\n")
X = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)


class Workplace:
    """A spec, its weights, a cache, a build folder and a compiler that takes no time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spec = folder / "net.yaml"
        self.out = folder / "out"
        self.cache = folder / "xdg/cnngen"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.spec.write_text(SPEC.replace("WEIGHTS", "weights: {file: w.npz, format: keras}"))
        rng = np.random.default_rng(0)
        weights = {"c.weight": rng.standard_normal((3, 3, 1, 2), np.float32), "c.bias": np.ones(2, np.float32)}
        np.savez(folder / "w.npz", **weights)
        self.expected: Array = np.empty(0)
        self.library = b""

    def compile(self, *, folder: bool) -> Array:
        """The result of the compiled network; every memory of the compiler is wiped before."""
        compilers._ask.cache_clear()
        with cnngen.compile(self.spec, threads=1, build_dir=self.out if folder else None) as net:
            return np.asarray(net(X))

    def entries(self) -> list[Path]:
        folder = self.cache / "entries"
        return sorted(folder.iterdir()) if folder.exists() else []

    def empty(self) -> None:
        """Nothing compiled, nothing cached."""
        for place in (self.out, self.cache):
            shutil.rmtree(place, ignore_errors=True)
        self.forget()

    def forget(self) -> None:
        """Delete what was built apart: it would stay until this process ends."""
        for place in self.temporary.iterdir():
            shutil.rmtree(place)

    def check(self, failed: str, works: bool) -> None:
        """No file is half written, and nothing is left in passing."""
        for entry in self.entries():
            assert {path.name for path in entry.iterdir()} == {"net.so", "entry.json", "command.txt", "build.log"}
            json.loads((entry / "entry.json").read_text())
        for manifest in (self.cache / "manifests").glob("*"):
            assert manifest.stat().st_size > 100, failed
        if failed.startswith(CLEANING):
            return
        left = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*")]
        assert not [name for name in left if ".cnngen-" in name or ".scratch" in name or name.endswith(".o")], failed
        assert not list((self.cache / "building").glob("*")), failed
        library = self.out / "net.so"
        assert not library.exists() or library.read_bytes() == self.library, failed
        if not works:  # the logs of a build that failed, at most
            assert {path.name for path in self.temporary.rglob("*.*")} <= {"build.log", "command.txt"}, failed


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    folder = tmp_path_factory.mktemp("injection")
    with pytest.MonkeyPatch.context() as patch:
        work = Workplace(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "xdg"))
        patch.setattr(tempfile, "tempdir", str(work.temporary))
        for name in ("CNNGEN_CC", "CC"):
            patch.delenv(name, raising=False)
        real = find_compiler()
        work.expected = work.compile(folder=True)
        library = folder / "compiled-before"
        work.library = (work.out / "net.so").read_bytes()
        library.write_bytes(work.library)
        # What it compiles is always the same, so it need not be compiled each time.
        script(
            folder / "cc",
            f'case "$*" in *-v) echo "Target: {real.target}"; echo "gcc version 12"; exit;; esac\n'
            f'for out; do :; done; case "$out" in -*) ;; *.so) cp "{library}" "$out";; *) echo object > "$out";; esac',
        )
        patch.setenv("CC", str(folder / "cc"))
        yield work


def outcome(work: Workplace, calls: Calls, *, folder: bool) -> bool:
    """Compile with a fault; whether it worked. Anything but a `CnngenError` or a right result fails the test."""
    with injected(calls), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = work.compile(folder=folder)
        except CnngenError:
            return False
    assert np.array_equal(result, work.expected), calls.failed
    return True


def recovers(work: Workplace, failed: str, *, folder: bool) -> None:
    """The next compilation works, and says nothing of what was before."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(work.compile(folder=folder), work.expected), failed
    assert len(work.entries()) == 1, failed


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for-good"])
@pytest.mark.parametrize("folder", [False, True], ids=["cache", "folder"])
@pytest.mark.parametrize("cold", [True, False], ids=["cold", "warm"])
def test_case_66_and_80_every_call_fails_in_turn(
    workplace: Workplace, cold: bool, folder: bool, for_good: bool, request: pytest.FixtureRequest
) -> None:
    """Every call with `--every-fault`, else every eleventh, beginning elsewhere in each of the eight runs."""
    work = workplace
    work.empty()
    if not cold:
        work.compile(folder=folder)
    whole = Calls(work.folder)
    assert outcome(work, whole, folder=folder)
    total = len(whole.made)
    kinds = {call.split()[0] for call in whole.made}
    assert total > (60 if cold else 8)
    assert {"open", "fstat", "CDLL"} <= kinds
    assert not cold or {"write", "fsync", "mkdir", "rename", "Popen", "flock"} <= kinds
    every = request.config.getoption("--every-fault")
    first, step = (1, 1) if every else (1 + 4 * cold + 2 * folder + for_good, 11)
    refused = 0
    for number in range(first, total + 1, step):
        work.forget()
        if cold:
            work.empty()
        calls = Calls(work.folder, number, CODES[number % len(CODES)], for_good)
        works = outcome(work, calls, folder=folder)
        assert calls.failed, number
        refused += not works
        work.check(calls.failed, works)
        recovers(work, calls.failed, folder=folder)
    assert refused > 0 or not every
