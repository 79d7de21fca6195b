"""Faults of the manifests, by which a network starts warm: whatever happens to them costs time only."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cnngen
from cnngen import store
from cnngen.errors import CacheError, CacheWarning
from cnngen.ir import Array
from tests.specs import network, write

REPOSITORY = Path(__file__).parents[2]
COMPILE = "import cnngen, sys; net = cnngen.compile(sys.argv[1], isa='scalar'); print(net.name)"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for name in ("CNNGEN_CACHE_SIZE", "CNNGEN_CC", "CC"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "xdg/cnngen"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return write(tmp_path, network("conv2d: {filters: 2, kernel: 3}"))


def result(spec: Path) -> Array:
    with cnngen.compile(spec, isa="scalar") as net:
        return np.asarray(net(np.ones((1, 8, 8, 3), np.float32)))


def silent(spec: Path) -> Array:
    """The result, without any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return result(spec)


def is_warm(spec: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    with monkeypatch.context() as patch:
        patch.setattr("cnngen.pipeline.load_graph", lambda *_, **__: pytest.fail("the spec was read"))
        silent(spec)
    return True


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def flip_bit(path: Path) -> None:
    """In a new file: the old one may be a library that this process has mapped."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.unlink()
    path.write_bytes(data)


def evil(path: Path) -> None:
    """Another library, without the digest that would go with it."""
    first, _, text = path.read_text().partition("\n")
    path.write_text(f"{first}\n{json.dumps({**json.loads(text), 'library': '../../evil'})}\n")


class TestCase73Damage:
    @pytest.mark.parametrize(
        "damage",
        [
            flip_bit,
            evil,
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            lambda path: path.write_bytes(b""),
            lambda path: path.write_bytes(b"\xff" * 100),
            lambda path: path.write_bytes(path.read_bytes() + b"\n"),
            lambda path: (path.unlink(), os.mkfifo(path)),
        ],
    )  # fmt: skip
    def test_case_73_damaged_manifest_is_put_aside_and_written_again(
        self, spec: Path, root: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
    ) -> None:
        y = silent(spec)
        damage(only(root / "manifests"))
        with pytest.warns(CacheWarning, match="cached manifest .* moved to") as caught:
            assert np.array_equal(result(spec), y)
        assert len(caught) == 1
        assert len(list((root / "quarantine").iterdir())) == 1
        assert is_warm(spec, monkeypatch)

    def test_case_73_manifest_of_another_request(
        self, spec: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        silent(spec)
        first = only(root / "manifests")
        spec.write_text(network("conv2d: {filters: 2, kernel: 3, activation: relu}"))
        relu = silent(spec)
        (second,) = set((root / "manifests").iterdir()) - {first}
        second.write_bytes(first.read_bytes())
        with pytest.warns(CacheWarning, match="cached manifest"):
            assert np.array_equal(result(spec), relu)
        assert is_warm(spec, monkeypatch)

    @pytest.mark.parametrize("kind", ["link", "folder"])
    def test_case_73_something_else_in_its_place(self, spec: Path, root: Path, tmp_path: Path, kind: str) -> None:
        y = silent(spec)
        path = only(root / "manifests")
        path.rename(tmp_path / "moved")
        if kind == "link":
            path.symlink_to(tmp_path / "moved")
        else:
            path.mkdir()
        with pytest.warns(CacheWarning, match="cached manifest .* moved to"):
            assert np.array_equal(result(spec), y)
        assert path.is_file()
        assert not path.is_symlink()
        assert np.array_equal(silent(spec), y)

    def test_case_73_damaged_library_behind_a_good_manifest(
        self, spec: Path, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        y = silent(spec)
        flip_bit(next(root.glob("entries/*/*.so")))
        with pytest.warns(CacheWarning, match="does not have the digest"):
            assert np.array_equal(result(spec), y)
        assert is_warm(spec, monkeypatch)

    def test_case_73_missing_library(self, spec: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        y = silent(spec)
        only(root / "entries").rename(root / "gone")
        assert np.array_equal(silent(spec), y)
        assert is_warm(spec, monkeypatch)

    def test_case_73_damage_that_somebody_else_mends_meanwhile(
        self, spec: Path, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look and the lock another process has written a good one: it must not go to quarantine."""
        y = silent(spec)
        path = only(root / "manifests")
        good = path.read_bytes()
        flip_bit(path)
        lock = store.Store.lock

        def mend(self: store.Store, key: str, seconds: float) -> object:
            path.write_bytes(good)
            return lock(self, key, seconds)

        monkeypatch.setattr(store.Store, "lock", mend)
        assert np.array_equal(silent(spec), y)
        assert not (root / "quarantine").exists()


class TestCase77FolderOfOthers:
    def test_case_77_writable_folder(self, spec: Path, root: Path) -> None:
        silent(spec)
        root.chmod(0o777)
        with pytest.raises(CacheError, match="can be written by others"):
            result(spec)

    def test_case_77_linked_folder(self, spec: Path, root: Path) -> None:
        silent(spec)
        root.rename(root.with_name("real"))
        root.symlink_to("real")
        with pytest.raises(CacheError, match="symbolic link"):
            result(spec)

    def test_case_77_foreign_folder(self, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        silent(spec)
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(CacheError, match="belongs to user"):
            result(spec)


class TestCase75Writing:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
    def test_case_75_manifest_cannot_be_written(
        self, spec: Path, root: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(number, os.strerror(number), "manifests")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            patch.setattr(store, "_sync", lambda path: None)
            with pytest.warns(CacheWarning, match=f"next start will not be quick: .*{os.strerror(number)}"):
                y = result(spec)
        assert list((root / "manifests").iterdir()) == []
        assert np.array_equal(silent(spec), y)
        assert is_warm(spec, monkeypatch)

    def test_case_74_killed_while_writing(self, spec: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is left is no manifest, and goes with a later build."""
        code = (
            "import os, signal\nfrom pathlib import Path\nimport cnngen.store\n"
            "replace = Path.replace\n"
            "def die(self, other):\n"
            "    if 'manifests' in self.parts: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return replace(self, other)\n"
            "Path.replace = die\n" + COMPILE
        )
        done = subprocess.run([sys.executable, "-c", code, spec], cwd=REPOSITORY, check=False)
        assert done.returncode == -signal.SIGKILL
        left = only(root / "manifests")
        silent(spec)
        monkeypatch.setattr(store, "GRACE", -1.0)
        spec.write_text(network("conv2d: {filters: 3, kernel: 3}"))
        silent(spec)
        assert not left.exists()
        assert is_warm(spec, monkeypatch)

    def test_case_74_many_processes_one_request(self, spec: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        command = [sys.executable, "-W", "error", "-c", COMPILE, spec]
        processes = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        assert [process.communicate(timeout=120)[0] for process in processes] == ["net\n"] * 4
        assert len(list((root / "manifests").iterdir())) == 1
        assert is_warm(spec, monkeypatch)
