"""The cache: what is a hit, what is kept, what is put into the user's folder."""

from __future__ import annotations

import os
import shutil
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cnngen import cache, store
from cnngen.backends.cpu.toolchain import Compiler, find_compiler
from cnngen.digest import PIECE, SMALL, digest_bytes, digest_file
from cnngen.errors import CacheError
from tests.source_trees import adder, call, snapshot

STAGES = {"shared.h", "add.c", "units/weights.c", "weights.S", "weights.bin", "command.txt", "build.log", "adder.so"}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("CNNGEN_CACHE_SIZE", raising=False)
    return tmp_path / "xdg/cnngen"


@pytest.fixture
def compiler() -> Compiler:
    return find_compiler()


@pytest.fixture
def no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*args: object, **options: object) -> Path:
        raise AssertionError("built although the cache has it")

    monkeypatch.setattr(cache, "build", build)


def age(key: str, root: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(root / "entries" / key / "entry.json", (then, then))


class TestLibrary:
    def test_a_second_call_builds_nothing(self, compiler: Compiler, root: Path, request: pytest.FixtureRequest) -> None:
        first = cache.library(adder(), compiler)
        request.getfixturevalue("no_build")
        assert cache.library(adder(), compiler) == first
        assert first.parent == root / "entries" / cache.key(adder(), compiler)
        assert call(first, "add", 2, 3) == 5

    def test_an_entry_keeps_neither_sources_nor_weights(self, compiler: Compiler, root: Path) -> None:
        path = cache.library(adder(), compiler)
        assert snapshot(path.parent) == {"adder.so", "entry.json", "command.txt", "build.log"}
        assert snapshot(root / "building") == set()
        assert compiler.identity in (path.parent / "entry.json").read_text()

    def test_nobody_else_may_read_it(self, compiler: Compiler, root: Path) -> None:
        cache.library(adder(), compiler)
        assert root.stat().st_mode & 0o777 == 0o700

    def test_without_the_cache(self, compiler: Compiler, root: Path) -> None:
        path = cache.library(adder(), compiler, use_cache=False)
        assert call(path, "add", 2, 3) == 5
        assert snapshot(path.parent) == {"adder.so", "command.txt", "build.log"}
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert not root.exists()

    @pytest.mark.parametrize("use_cache", [True, False])
    def test_the_users_folder_gets_every_stage(self, compiler: Compiler, tmp_path: Path, use_cache: bool) -> None:
        for name in ("miss", "hit"):
            path = cache.library(adder(), compiler, folder=tmp_path / name, use_cache=use_cache)
            assert snapshot(tmp_path / name) == STAGES
            assert (tmp_path / name / "adder.so").read_bytes() == path.read_bytes()
            assert (tmp_path / name / "adder.so").stat().st_nlink == 1
            assert os.access(tmp_path / name / "adder.so", os.X_OK)

    def test_the_users_folder_is_left_alone_when_nothing_changed(self, compiler: Compiler, tmp_path: Path) -> None:
        folder = tmp_path / "out"
        cache.library(adder(), compiler, folder=folder)
        before = {name: (folder / name).stat().st_mtime_ns for name in STAGES}
        cache.library(adder(), compiler, folder=folder)
        assert {name: (folder / name).stat().st_mtime_ns for name in STAGES} == before

    def test_a_write_into_the_users_copy_does_not_reach_the_cache(self, compiler: Compiler, tmp_path: Path) -> None:
        path = cache.library(adder(), compiler, folder=tmp_path / "out")
        (tmp_path / "out/adder.so").write_bytes(b"broken")
        assert cache.library(adder(), compiler, folder=tmp_path / "out") == path
        assert call(tmp_path / "out/adder.so", "add", 2, 3) == 5


class TestKey:
    def test_what_changes_it(self, compiler: Compiler) -> None:
        files = dict(adder().files)
        trees = [
            adder(),
            adder("other"),
            adder(weights=(7, 8, 10)),
            adder(weights=(7, 8)),
            adder(offset=1),
            adder(flags=("-mavx2",)),
            adder(links=("-lm",)),
            adder(units=("add.c", "weights.S", "units/weights.c")),
            adder(files={**files, "more.h": ""}),
            adder(files={**{k: v for k, v in files.items() if k != "add.c"}, "add.cc": files["add.c"]}),
            adder(blobs={"weights.bin": adder().blobs["weights.bin"], "more.bin": np.zeros(0)}),
        ]
        assert len({cache.key(tree, compiler) for tree in trees}) == len(trees)

    def test_the_order_of_files_does_not_matter(self, compiler: Compiler) -> None:
        tree = adder()
        turned = adder(files=dict(reversed(tree.files.items())))
        assert cache.key(turned, compiler) == cache.key(tree, compiler)

    def test_text_cannot_move_between_files(self, compiler: Compiler) -> None:
        one, two = adder(files={"a": "xb", "c": ""}), adder(files={"a": "x", "bc": ""})
        assert cache.key(one, compiler) != cache.key(two, compiler)

    def test_the_version_of_cnngen(self, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
        before = cache.key(adder(), compiler)
        monkeypatch.setattr(cache, "__version__", "999")
        assert cache.key(adder(), compiler) != before

    def test_large_blobs_are_not_copied(self, compiler: Compiler) -> None:
        blob = np.zeros(64 << 20, np.uint8)
        tree = adder(blobs={"weights.bin": blob})
        tracemalloc.start()
        try:
            cache.key(tree, compiler)
            assert tracemalloc.get_traced_memory()[1] < blob.nbytes // 1.5
        finally:
            tracemalloc.stop()


class TestDigest:
    @pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, SMALL + 3])
    def test_memory_and_file_agree(self, tmp_path: Path, size: int) -> None:
        data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
        data.tofile(tmp_path / "x")
        with (tmp_path / "x").open("rb") as file:
            assert digest_file(file.fileno()) == digest_bytes(data.data)

    def test_every_piece_counts(self) -> None:
        data = np.zeros(SMALL + 3, np.uint8)
        digests = {digest_bytes(data.data), digest_bytes(data[:-1].data)}
        for position in (0, PIECE - 1, PIECE, SMALL, SMALL + 2):
            data[position] ^= 1
            digests.add(digest_bytes(data.data))
            data[position] ^= 1
        assert len(digests) == 7


class TestPruning:
    def test_what_was_used_least_recently_goes_first(
        self, compiler: Compiler, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trees = [adder(offset=i) for i in range(3)]
        keys = [cache.key(tree, compiler) for tree in trees]
        for i, tree in enumerate(trees):
            cache.library(tree, compiler)
            age(keys[i], root, 10_000 - i)
        cache.library(trees[0], compiler)
        age(keys[0], root, 5_000)
        size = cache.entries()[0].size
        monkeypatch.setenv("CNNGEN_CACHE_SIZE", str(int(2.5 * size)))
        newest = adder(offset=3)
        cache.library(newest, compiler)
        assert [entry.key for entry in cache.entries()] == [cache.key(newest, compiler), keys[0]]
        assert snapshot(root / "quarantine") == set()

    def test_what_may_be_about_to_be_loaded_stays(self, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CNNGEN_CACHE_SIZE", "1")
        paths = [cache.library(adder(offset=i), compiler) for i in range(2)]
        assert all(path.exists() for path in paths)

    def test_builds_that_died_are_swept_and_running_ones_are_not(self, compiler: Compiler, root: Path) -> None:
        cache.library(adder(), compiler)
        opened = store.Store(root)
        for name in ("dead", "alive"):
            (opened.start_build(name) / "weights.bin").write_bytes(b"x")
        with opened.lock("alive", 1):
            cache.library(adder(offset=1), compiler)
            assert snapshot(root / "building") == {"alive/weights.bin"}

    @pytest.mark.parametrize(
        ("text", "size"), [("", 10**10), ("1000", 1000), ("500M", 5 * 10**8), ("1.5 gb", 15 * 10**8), ("0", 0)]
    )
    def test_sizes(self, monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
        monkeypatch.setenv("CNNGEN_CACHE_SIZE", text)
        assert cache.size_limit() == size

    @pytest.mark.parametrize("text", ["much", "-1", "10X", "1e3"])
    def test_sizes_that_are_none(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv("CNNGEN_CACHE_SIZE", text)
        with pytest.raises(CacheError, match="not a size"):
            cache.size_limit()


class TestInspection:
    def test_entries_and_clear(self, compiler: Compiler, root: Path) -> None:
        assert cache.entries() == []
        path = cache.library(adder(), compiler)
        (entry,) = cache.entries()
        assert (entry.name, entry.library, entry.compiler) == ("adder", path, compiler.identity)
        assert entry.size == sum(file.stat().st_size for file in path.parent.iterdir())
        assert abs(entry.used - time.time()) < 60
        assert cache.clear() == entry.size
        assert cache.entries() == []
        assert not path.exists()
        assert call(cache.library(adder(), compiler), "add", 2, 3) == 5

    def test_clear_leaves_no_large_file(self, compiler: Compiler, root: Path) -> None:
        path = cache.library(adder(), compiler)
        store.Store(root).quarantine(path.parent.name)
        cache.clear()
        assert {Path(name).suffix for name in snapshot(root)} <= {".lock"}

    def test_entries_that_cannot_be_read_are_left_out(self, compiler: Compiler, root: Path) -> None:
        cache.library(adder(), compiler)
        (root / "entries/empty").mkdir()
        shutil.copytree(cache.entries()[0].library.parent, root / "entries/garbled")
        (root / "entries/garbled/entry.json").write_bytes(b"\xff{")
        assert len(cache.entries()) == 1


def test_a_hit_is_fast(compiler: Compiler) -> None:
    cache.library(adder(), compiler)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        cache.library(adder(), compiler)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.005
