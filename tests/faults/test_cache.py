"""Faults of the cache: warn, quarantine and rebuild; refuse what others could have written."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from cnngen import cache, store
from cnngen.backends.cpu.toolchain import Compiler, find_compiler
from cnngen.backends.files import FolderError
from cnngen.errors import CacheError, CacheWarning
from tests.source_trees import adder, call, script, snapshot, wrapper

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for name in ("CNNGEN_CACHE_SIZE", "CNNGEN_CC", "CC"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "xdg/cnngen"


@pytest.fixture
def compiler() -> Compiler:
    return find_compiler()


def works(path: Path) -> bool:
    return call(path, "add", 2, 3) == 5 and call(path, "weight", 2) == 9


def silent(compiler: Compiler, **options: object) -> Path:
    """The library, without any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return cache.library(adder(), compiler, **options)  # type: ignore[arg-type]


class TestCase32Symlink:
    """The output folder of a build."""

    def test_case_32_folder_that_is_a_link(self, tmp_path: Path, compiler: Compiler) -> None:
        (tmp_path / "target").mkdir()
        (tmp_path / "out").symlink_to(tmp_path / "target")
        with pytest.raises(FolderError, match="symbolic link"):
            cache.library(adder(), compiler, folder=tmp_path / "out")
        assert snapshot(tmp_path / "target") == set()

    def test_case_32_folder_within_it_that_is_a_link(self, tmp_path: Path, compiler: Compiler) -> None:
        (tmp_path / "target").mkdir()
        (tmp_path / "out").mkdir()
        (tmp_path / "out/units").symlink_to(tmp_path / "target")
        with pytest.raises(FolderError, match="symbolic link"):
            cache.library(adder(), compiler, folder=tmp_path / "out")
        assert snapshot(tmp_path / "target") == set()

    @pytest.mark.parametrize("name", ["adder.so", "add.c", "weights.bin", "build.log", "command.txt"])
    @pytest.mark.parametrize("use_cache", [True, False])
    def test_case_32_file_that_is_a_link(self, tmp_path: Path, compiler: Compiler, name: str, use_cache: bool) -> None:
        (tmp_path / "precious").write_text("precious")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / name).symlink_to(tmp_path / "precious")
        cache.library(adder(), compiler, folder=tmp_path / "out", use_cache=use_cache)
        assert (tmp_path / "precious").read_text() == "precious"
        assert not (tmp_path / "out" / name).is_symlink()
        assert works(tmp_path / "out/adder.so")

    def test_case_32_link_to_a_file_of_the_same_contents(self, tmp_path: Path, compiler: Compiler) -> None:
        cache.library(adder(), compiler, folder=tmp_path / "out")
        for name in ("adder.so", "add.c"):
            (tmp_path / "out" / name).rename(tmp_path / name)
            (tmp_path / "out" / name).symlink_to(tmp_path / name)
        cache.library(adder(), compiler, folder=tmp_path / "out")
        assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


class TestCase73Damage:
    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (flip_bit, "digest"),
            (lambda path: path.write_bytes(path.read_bytes()[:-100]), "digest"),
            (lambda path: path.write_bytes(b""), "digest"),
            (lambda path: path.unlink(), "a file is missing"),
            (lambda path: (path.unlink(), os.mkfifo(path)), "is not a file"),
            (lambda path: (path.rename(f"{path}.x"), path.symlink_to(f"{path}.x")), "symbolic links"),
            (lambda path: path.with_name("entry.json").write_text("{"), "entry.json is damaged"),
            (lambda path: path.with_name("entry.json").write_text("[]"), "entry.json is damaged"),
            (lambda path: path.with_name("entry.json").write_bytes(b"\xff\xfe"), "entry.json is damaged"),
            (lambda path: path.with_name("build.log").unlink(), "a log is missing"),
        ],
    )
    def test_case_73_damaged_entry_is_put_aside_and_built_again(
        self, compiler: Compiler, root: Path, damage: object, said: str
    ) -> None:
        path = cache.library(adder(), compiler)
        damage(path)  # type: ignore[operator]
        with pytest.warns(CacheWarning, match=said):
            assert works(cache.library(adder(), compiler))
        assert len(list((root / "quarantine").iterdir())) == 1
        assert silent(compiler) == path

    def test_case_73_name_that_leads_out_of_the_entry(self, tmp_path: Path, compiler: Compiler) -> None:
        path = cache.library(adder(), compiler)
        (tmp_path / "evil.so").write_bytes(path.read_bytes())
        record = json.loads(path.with_name("entry.json").read_text())
        (digest,) = record["digests"].values()
        path.with_name("entry.json").write_text(json.dumps({**record, "digests": {str(tmp_path / "evil.so"): digest}}))
        with pytest.warns(CacheWarning, match="damaged"):
            assert cache.library(adder(), compiler) == path

    def test_case_73_quarantine_does_not_grow_for_ever(self, compiler: Compiler, root: Path) -> None:
        for _ in range(store.KEPT_IN_QUARANTINE + 2):
            flip_bit(cache.library(adder(), compiler, use_cache=True))
            with pytest.warns(CacheWarning):
                cache.library(adder(), compiler)
        assert len(list((root / "quarantine").iterdir())) == store.KEPT_IN_QUARANTINE


PROCESS = """
import os, sys, warnings
from pathlib import Path
import cnngen.cache as cache
from cnngen.backends.cpu.toolchain import Compiler
from tests.source_trees import adder, call
warnings.simplefilter("error")
compiler = Compiler((sys.argv[1],), "gcc", "gcc version 0", "t", "shared identity")
sys.stdin.read()
path = cache.library(adder(), compiler, folder=Path(sys.argv[2]) if len(sys.argv) > 2 else None)
assert call(path, "add", 2, 3) == 5
print(path)
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    """A process that waits for the end of its stdin, then asks the cache for the library."""
    command = [sys.executable, "-c", PROCESS, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)


class TestCase74Together:
    def test_case_74_sixteen_processes_one_key(self, tmp_path: Path, compiler: Compiler, root: Path) -> None:
        counting = wrapper(
            tmp_path / "mycc",
            f'case "$*" in *-shared*) echo link >> "{tmp_path}/links";; esac; exec "$REAL" "$@"',
            compiler,
        )
        processes = [start(counting.command[0], tmp_path / "out") for _ in range(16)]
        try:
            for process in processes:  # all are started before any is let go
                assert process.stdin is not None
                process.stdin.close()
                process.stdin = None
            paths = [process.communicate(timeout=60)[0].strip() for process in processes]
        finally:
            for process in processes:
                process.kill()
        assert [process.returncode for process in processes] == [0] * 16
        assert len(set(paths)) == 1
        assert len(list((root / "entries").iterdir())) == 1
        assert snapshot(root / "building") == set()
        assert (tmp_path / "links").read_text().splitlines() == ["link"]
        assert works(tmp_path / "out/adder.so")
        assert not [name for name in snapshot(tmp_path / "out") if ".cnngen-" in name]


class TestCase75Killed:
    def test_case_75_sigkill_while_holding_the_lock(self, tmp_path: Path, compiler: Compiler, root: Path) -> None:
        body = f'test -e "{tmp_path}/go" && exec "$REAL" "$@"\necho $$ > "{tmp_path}/pid.new"\n'
        body += f'mv "{tmp_path}/pid.new" "{tmp_path}/pid"; exec sleep 60'
        hanging = wrapper(tmp_path / "mycc", body, compiler)
        victim = start(hanging.command[0])
        assert victim.stdin is not None
        victim.stdin.close()
        try:
            for _ in range(2000):
                if (tmp_path / "pid").exists():
                    break
                time.sleep(0.01)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
        finally:
            victim.kill()
            victim.wait()
            assert victim.stdout is not None
            victim.stdout.close()
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        assert list((root / "building").iterdir())
        (tmp_path / "go").touch()
        heir = Compiler(hanging.command, "gcc", "gcc version 0", "t", "shared identity")
        started = time.monotonic()
        assert works(silent(heir))
        assert time.monotonic() - started < 10
        assert not list((root / "building").iterdir())

    def test_case_75_lock_that_is_held_too_long(
        self, compiler: Compiler, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cache, "LOCK_MARGIN", -59.5)
        name = cache.key(adder(), compiler)
        (root / "locks").mkdir(parents=True)
        root.chmod(0o700)
        with (root / f"locks/{name}.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.warns(CacheWarning, match="another process has held"):
                assert works(cache.library(adder(), compiler, timeout=60))
        assert not (root / "entries").exists()


class TestCase76Deleted:
    @pytest.mark.parametrize("step", ["open", "digest_file"])
    def test_case_76_entry_deleted_between_check_and_open(
        self, compiler: Compiler, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        path = cache.library(adder(), compiler)
        module, real = (os, os.open) if step == "open" else (store, store.digest_file)
        deleted = []

        def delete_first(*arguments: object, **options: object) -> object:
            if not deleted and (step != "open" or arguments[0] == path):
                deleted.append(cache.clear())
            return real(*arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(module, step, delete_first)
        assert works(silent(compiler))
        assert deleted

    def test_case_76_entry_deleted_while_it_is_copied(
        self, tmp_path: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache.library(adder(), compiler)
        real, deleted = cache.copy, []

        def delete_first(source: Path, path: Path) -> None:
            if not deleted:
                deleted.append(cache.clear())
            real(source, path)

        monkeypatch.setattr(cache, "copy", delete_first)
        assert works(silent(compiler, folder=tmp_path / "out"))
        assert works(tmp_path / "out/adder.so")
        assert deleted


class TestCase77Unsafe:
    @pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
    def test_case_77_others_may_write(self, compiler: Compiler, root: Path, mode: int) -> None:
        path = cache.library(adder(), compiler)
        root.chmod(mode)
        for use in (lambda: cache.library(adder(), compiler), cache.entries, cache.clear):
            with pytest.raises(CacheError, match=f"mode {mode:04o}.*chmod 700"):
                use()
        assert path.exists()

    def test_case_77_foreign_owner(self, compiler: Compiler, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cache.library(adder(), compiler)
        if os.geteuid() == 0:
            os.chown(root, 12345, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(CacheError, match="belongs to user"):
            cache.library(adder(), compiler)

    def test_case_77_symlink(self, tmp_path: Path, compiler: Compiler, root: Path) -> None:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        root.parent.mkdir()
        root.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(CacheError, match="symbolic link"):
            cache.library(adder(), compiler)
        assert snapshot(tmp_path / "elsewhere") == set()

    def test_case_77_exit_code_and_the_way_out(self, compiler: Compiler, root: Path) -> None:
        root.mkdir(parents=True)
        root.chmod(0o777)
        with pytest.raises(CacheError) as caught:
            cache.library(adder(), compiler)
        assert caught.value.exit_code == 2
        assert works(silent(compiler, use_cache=False))


class TestCase78NoLocks:
    @pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
    def test_case_78_no_flock(self, compiler: Compiler, root: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        def flock(descriptor: int, operation: int) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(fcntl, "flock", flock)
        with pytest.warns(CacheWarning, match="no locks"):
            path = cache.library(adder(), compiler)
        assert works(path)
        assert not path.is_relative_to(root)
        assert not (root / "entries").exists()


class TestCase79Surroundings:
    @pytest.mark.parametrize("skew", [-(10**9), 10**8])
    def test_case_79_clock_skew(
        self, compiler: Compiler, root: Path, monkeypatch: pytest.MonkeyPatch, skew: float
    ) -> None:
        path = cache.library(adder(), compiler)
        then = time.time() + skew
        for file in (*path.parent.iterdir(), path.parent):
            os.utime(file, (then, then))
        assert silent(compiler) == path
        os.utime(path.with_name("entry.json"), (then, then))
        assert cache.entries()[0].used <= time.time()

    def test_case_79_changed_uid(self, compiler: Compiler, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cache.library(adder(), compiler)
        me = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
        with pytest.raises(CacheError, match=f"belongs to user {me}, and you are user {me + 1}.*XDG_CACHE_HOME"):
            cache.library(adder(), compiler)

    def test_case_79_no_home(self, tmp_path: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
        import pwd

        def unknown(uid: int) -> None:
            raise KeyError(uid)

        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(pwd, "getpwuid", unknown)
        monkeypatch.chdir(tmp_path)
        with pytest.warns(CacheWarning, match="no home folder"):
            path = cache.library(adder(), compiler)
        assert works(path)
        assert cache.entries() == []
        assert cache.clear() == 0
        assert snapshot(tmp_path) == set()

    def test_case_79_relative_cache_home(
        self, tmp_path: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            assert works(cache.library(adder(), compiler))
        assert not (tmp_path / "relative").exists()

    def test_case_79_home_without_xdg(
        self, tmp_path: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        path = silent(compiler)
        assert works(path)
        assert path.is_relative_to(tmp_path / "home")


class TestCase80Unwritable:
    def test_case_80_file_in_place_of_the_folder(self, compiler: Compiler, root: Path) -> None:
        root.parent.mkdir()
        root.write_text("a file")
        with pytest.warns(CacheWarning, match="built without the cache"):
            path = cache.library(adder(), compiler)
        assert works(path)
        assert root.read_text() == "a file"

    @pytest.mark.parametrize("call_that_fails", ["mkdir", "rename", "fsync"])
    def test_case_80_each_step_in_turn(
        self, compiler: Compiler, root: Path, monkeypatch: pytest.MonkeyPatch, call_that_fails: str
    ) -> None:
        root.mkdir(parents=True, mode=0o700)
        real = getattr(os, call_that_fails)

        def refuse(path: object, *arguments: object, **options: object) -> object:
            where = Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else Path(str(path))
            if where.is_relative_to(root):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return real(path, *arguments, **options)

        monkeypatch.setattr(os, call_that_fails, refuse)
        with pytest.warns(CacheWarning, match="Read-only file system"):
            path = cache.library(adder(), compiler)
        assert works(path)
        assert not path.is_relative_to(root)
        assert not list((root / "entries").glob("*"))

    def test_case_80_hit_in_a_cache_that_cannot_be_written(
        self, compiler: Compiler, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = cache.library(adder(), compiler)

        def refuse(*arguments: object, **options: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        for name in ("mkdir", "rename", "utime", "unlink"):
            monkeypatch.setattr(os, name, refuse)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert cache.library(adder(), compiler) == path

    def test_case_80_private_build_goes_with_its_process(self, tmp_path: Path, compiler: Compiler, root: Path) -> None:
        root.parent.mkdir()
        root.write_text("a file")
        code = PROCESS.replace('warnings.simplefilter("error")', 'warnings.simplefilter("ignore")')
        code += "pid = os.fork()\nif not pid: sys.exit()\nos.waitpid(pid, 0)\nassert path.exists()\n"
        real = script(tmp_path / "mycc", f'exec {compiler.command[0]} "$@"')
        done = subprocess.run(
            [sys.executable, "-c", code, real],
            input="", capture_output=True, text=True, cwd=REPOSITORY, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (path,) = set(re.findall(r"^/.*\.so$", done.stdout, re.MULTILINE))
        assert not Path(path).parent.exists()
