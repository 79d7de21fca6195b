"""Faults of the toolchain: each gives a ToolchainError with the command, how it ended, its last words and the log."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnngen import cache
from cnngen.backends import files
from cnngen.backends.cpu import compiler as compilers
from cnngen.backends.cpu.toolchain import Compiler, build, find_compiler
from cnngen.errors import CacheWarning, ToolchainError
from tests.source_trees import ADD, adder, call, script, snapshot, wrapper

LEAVINGS = re.compile(r"\.o$|\.so$|\.scratch|\.cnngen-")


@pytest.fixture(autouse=True)
def _variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CNNGEN_CC", "CC", "CNNGEN_BUILD_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def real() -> Compiler:
    return find_compiler()


def broken(text: str = "int x = ;") -> dict[str, str]:
    return {**adder().files, "add.c": text}


def leavings(folder: Path) -> set[str]:
    return {name for name in snapshot(folder) if LEAVINGS.search(name)}


def failure(compiler: Compiler, folder: Path, *, timeout: float = 60, **changes: object) -> ToolchainError:
    """Build, see it fail in bounded time, and check what holds of every failure."""
    started = time.monotonic()
    with pytest.raises(ToolchainError) as caught:
        build(adder(**changes), compiler, folder, timeout=timeout)
    assert time.monotonic() - started < 30
    assert leavings(folder) == set()
    assert caught.value.exit_code == 3
    return caught.value


def processes_with(word: str) -> list[str]:
    """Command lines of running processes that contain `word`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if word in line and state != "Z":
                found.append(line)
    return found


def gone(word: str) -> bool:
    """Whether no such process is left, after a moment for the kernel."""
    for _ in range(200):
        if not processes_with(word):
            return True
        time.sleep(0.02)
    return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to look at processes")


class TestCase61NoCompiler:
    def test_case_61_no_compiler(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(compilers, "_zig_package", lambda: None)
        with pytest.raises(ToolchainError, match=re.escape("pip install 'cnngen[zig]'")) as caught:
            find_compiler()
        assert "install gcc" in str(caught.value)

    def test_case_61_not_executable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "mycc").write_text("")
        monkeypatch.setenv("CNNGEN_CC", str(tmp_path / "mycc"))
        with pytest.raises(ToolchainError, match=r"CNNGEN_CC=.*mycc.*is not executable"):
            find_compiler()

    def test_case_61_executable_that_is_no_program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "mycc").write_bytes(b"\x00\x01 nothing")
        (tmp_path / "mycc").chmod(0o755)
        monkeypatch.setenv("CC", str(tmp_path / "mycc"))
        with pytest.raises(ToolchainError, match=r"CC=.*cannot be run: Exec format error"):
            find_compiler()

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("no-such-compiler", "there is no program no-such-compiler"),
            ("true", "does not answer like gcc or clang"),
            ("false", "exit code 1"),
            ("gcc 'unbalanced", "No closing quotation"),
        ],
    )
    def test_case_61_wrong_cc(self, monkeypatch: pytest.MonkeyPatch, value: str, said: str) -> None:
        monkeypatch.setenv("CC", value)
        with pytest.raises(ToolchainError, match=said) as caught:
            find_compiler()
        assert str(caught.value).startswith("CC=")
        assert "unset it" in str(caught.value)

    def test_case_61_compiler_that_hangs_when_asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(compilers, "PROBE_SECONDS", 0.3)
        monkeypatch.setenv("CC", str(script(tmp_path / "mycc", "sleep 60 & wait")))
        with pytest.raises(ToolchainError, match="time limit"):
            find_compiler()

    def test_case_61_compiler_removed_after_it_was_found(self, tmp_path: Path, real: Compiler) -> None:
        compiler = wrapper(tmp_path / "mycc", 'exec "$REAL" "$@"', real)
        (tmp_path / "mycc").unlink()
        assert "No such file" in str(failure(compiler, tmp_path / "b"))


class TestCase62ReturnCode:
    def test_case_62_error_in_a_source(self, tmp_path: Path, real: Compiler) -> None:
        text = str(failure(real, tmp_path / "b", files=broken()))
        assert "exit code 1" in text
        assert "-c add.c -o add.c.o" in text
        assert "add.c:1:9: error: expected expression" in text
        assert str(tmp_path / "b/build.log") in text
        assert "expected expression" in (tmp_path / "b/build.log").read_text()
        assert "add.c" in (tmp_path / "b/command.txt").read_text()

    def test_case_62_only_the_end_of_a_long_message(self, tmp_path: Path, real: Compiler) -> None:
        compiler = wrapper(tmp_path / "mycc", "seq 1000 >&2; exit 7", real)
        lines = str(failure(compiler, tmp_path / "b")).splitlines()
        assert "exit code 7" in lines[0]
        assert [line.strip() for line in lines[1:]] == [f"| {i}" for i in range(986, 1001)]
        assert "\n500\n" in (tmp_path / "b/build.log").read_text()

    def test_case_62_the_library_of_an_earlier_build_goes(self, tmp_path: Path, real: Compiler) -> None:
        cache.library(adder(), real, folder=tmp_path / "b")
        with pytest.raises(ToolchainError):
            cache.library(adder(files=broken()), real, folder=tmp_path / "b")
        assert leavings(tmp_path / "b") == set()

    @pytest.mark.parametrize("use_cache", [True, False])
    def test_case_62_the_log_outlives_the_build_folder(self, real: Compiler, use_cache: bool) -> None:
        with pytest.raises(ToolchainError) as caught:
            cache.library(adder(files=broken()), real, use_cache=use_cache)
        log = re.search(r"the whole log is (.*)$", str(caught.value), re.MULTILINE)
        assert log is not None
        assert "expected expression" in Path(log[1]).read_text()
        assert snapshot(Path(log[1]).parent) == {"build.log", "command.txt"}
        if not use_cache:
            shutil.rmtree(Path(log[1]).parent)


class TestCase63Signal:
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("kill -SEGV $$", "killed by SIGSEGV"),
            ("kill -KILL $$", "killed by SIGKILL.*ran out of memory"),
            ("echo 'gcc: fatal error: Killed signal terminated program cc1' >&2; exit 1", "ran out of memory"),
            ("echo 'virtual memory exhausted: Cannot allocate memory' >&2; exit 1", "ran out of memory"),
            ("echo 'add.c:1: internal compiler error: in expand' >&2; exit 1", "the compiler has a defect"),
        ],
    )
    def test_case_63_compiler_dies(self, tmp_path: Path, real: Compiler, body: str, said: str) -> None:
        error = failure(wrapper(tmp_path / "mycc", body, real), tmp_path / "b")
        assert re.search(said, str(error), re.DOTALL)

    def test_case_63_real_compiler_out_of_memory(self, tmp_path: Path, real: Compiler) -> None:
        compiler = wrapper(tmp_path / "mycc", 'ulimit -v 60000; exec "$REAL" "$@"', real)
        big = ADD + "".join(f"int f{i}(int x) {{ return x * {i} + (x >> {i % 31}); }}\n" for i in range(20_000))
        assert "the compiler failed" in str(failure(compiler, tmp_path / "b", files=broken(big)))


@needs_proc
class TestCase64Hang:
    def test_case_64_time_limit_kills_the_group(self, tmp_path: Path, real: Compiler) -> None:
        word = f"6{os.getpid()}"  # seconds to sleep, and how to find the process
        compiler = wrapper(tmp_path / "mycc", f"sleep {word} & sleep {word}; wait", real)
        error = failure(compiler, tmp_path / "b", timeout=0.5)
        assert "stopped at the time limit" in str(error)
        assert "CNNGEN_BUILD_TIMEOUT" in str(error)
        assert gone(f"sleep {word}")

    def test_case_64_time_limit_from_the_environment(
        self, tmp_path: Path, real: Compiler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CNNGEN_BUILD_TIMEOUT", "0.4")
        with pytest.raises(ToolchainError, match="time limit"):
            build(adder(), wrapper(tmp_path / "mycc", "sleep 60", real), tmp_path / "b")
        monkeypatch.setenv("CNNGEN_BUILD_TIMEOUT", "soon")
        with pytest.raises(ToolchainError, match="CNNGEN_BUILD_TIMEOUT='soon'"):
            build(adder(), real, tmp_path / "b")


class TestCase65NoOutput:
    @pytest.mark.parametrize("step", ["-c", "-shared"])
    @pytest.mark.parametrize(("make", "said"), [("true", "is missing"), (': > "$out"', "is empty")])
    def test_case_65_success_without_output(
        self, tmp_path: Path, real: Compiler, step: str, make: str, said: str
    ) -> None:
        body = f'case " $* " in *" {step} "*) for out; do :; done; {make};; *) exec "$REAL" "$@";; esac'
        text = str(failure(wrapper(tmp_path / "mycc", body, real), tmp_path / "b"))
        assert "exit code 0, but" in text
        assert said in text


class TestCase66DiskFull:
    def test_case_66_each_write_in_turn(self, tmp_path: Path, real: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
        write_all = files.write_all
        writes = failed_at = 0

        def fails_once(descriptor: int, data: memoryview) -> None:
            nonlocal writes
            writes += 1
            if writes == failed_at:
                os.write(descriptor, data[:1])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write_all(descriptor, data)

        monkeypatch.setattr(files, "write_all", fails_once)
        build(adder(), real, tmp_path / "0")
        total = writes
        assert total >= 5
        for failed_at in range(1, total + 1):
            writes = 0
            error = failure(real, tmp_path / str(failed_at))
            assert "No space left on device" in str(error)
            assert not any((tmp_path / str(failed_at) / name).exists() for name in ("adder.so", "add.c.o"))

    def test_case_66_full_cache_disk_falls_back(
        self, tmp_path: Path, real: Compiler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_all = files.write_all

        def full(descriptor: int, data: memoryview) -> None:
            if "xdg" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write_all(descriptor, data)

        monkeypatch.setattr(files, "write_all", full)
        with pytest.warns(CacheWarning, match="No space left on device"):
            path = cache.library(adder(), real)
        assert call(path, "add", 2, 3) == 5
        assert snapshot(tmp_path / "xdg") == {f"cnngen/locks/{cache.key(adder(), real)}.lock"}

    def test_case_66_compiler_meets_a_full_disk(self, tmp_path: Path, real: Compiler) -> None:
        # The object file is /dev/full: every write of the compiler's assembler fails for real.
        body = 'for out; do :; done; case "$out" in *.o) rm -f "$out"; ln -s /dev/full "$out";; esac; exec "$REAL" "$@"'
        if not Path("/dev/full").exists():
            pytest.skip("needs /dev/full")
        text = str(failure(wrapper(tmp_path / "mycc", body, real), tmp_path / "b"))
        assert "No space left on device" in text
        assert "free some disk space" in text


class TestCase67Folder:
    def test_case_67_file_in_place_of_the_folder(self, tmp_path: Path, real: Compiler) -> None:
        (tmp_path / "b").write_text("a file")
        for folder in (tmp_path / "b", tmp_path / "b/c"):
            with pytest.raises(ToolchainError, match=r"cannot write to .*(File exists|Not a directory)"):
                build(adder(), real, folder)

    def test_case_67_read_only_folder(self, tmp_path: Path, real: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
        real_open = os.open

        def read_only(path: str | Path, flags: int, *args: int, **options: int) -> int:
            if flags & os.O_CREAT and "b" in Path(path).parts:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return real_open(path, flags, *args, **options)

        monkeypatch.setattr(os, "open", read_only)
        assert "Read-only file system" in str(failure(real, tmp_path / "b"))

    def test_case_67_noexec(self, tmp_path: Path, real: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
        statvfs, noexec = os.statvfs, {str(tmp_path / "xdg/cnngen")}

        class Answer:
            f_flag = getattr(os, "ST_NOEXEC", 8)

        monkeypatch.setattr(os, "ST_NOEXEC", Answer.f_flag, raising=False)
        monkeypatch.setattr(
            os, "statvfs", lambda p: Answer if any(str(p).startswith(prefix) for prefix in noexec) else statvfs(p)
        )
        with pytest.warns(CacheWarning, match="noexec"):
            assert call(cache.library(adder(), real), "add", 2, 3) == 5
        noexec.add("/")
        with pytest.raises(ToolchainError, match=r"noexec.*TMPDIR"):
            cache.library(adder(), real, use_cache=False)

    def test_case_67_directory_where_a_file_belongs(self, tmp_path: Path, real: Compiler) -> None:
        (tmp_path / "b/add.c/deep").mkdir(parents=True)
        assert "cannot write to" in str(failure(real, tmp_path / "b"))


class TestCase68Paths:
    @pytest.mark.parametrize("name", ["two words", 'quo\'te "double"', "naïve-网络-ñ", "dollar $HOME `id` ;#*", "-rf"])
    def test_case_68_path(self, tmp_path: Path, real: Compiler, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.chdir(tmp_path)
        for folder in (tmp_path / name / "b", Path(name)):
            assert call(build(adder(), real, folder).absolute(), "add", 2, 3) == 5
            subprocess.run(["sh", "-e", "command.txt"], cwd=folder, check=True, timeout=60)

    def test_case_68_name_of_the_network(self, tmp_path: Path, real: Compiler) -> None:
        library = build(adder("my net 'ü'"), real, tmp_path)
        assert library.name == "my net 'ü'.so"
        assert call(library, "add", 2, 3) == 5

    def test_case_68_compiler_with_spaces_in_its_path(
        self, tmp_path: Path, real: Compiler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script(tmp_path / "my tools/gcc", f'exec {real.command[0]} "$@"')
        monkeypatch.setenv("CC", f"'{tmp_path}/my tools/gcc'")
        assert call(build(adder(), find_compiler(), tmp_path / "b"), "add", 2, 3) == 5


class TestCase69Libraries:
    def test_case_69_libgomp_missing(self, tmp_path: Path, real: Compiler) -> None:
        body = (
            'case "$*" in *-fopenmp*) echo "cc1: fatal error: libgomp.spec: No such file or directory" >&2; exit 1;;'
            ' esac; exec "$REAL" "$@"'
        )
        compiler = wrapper(tmp_path / "mycc", body, real)
        error = failure(compiler, tmp_path / "b", flags=("-fopenmp",))
        assert "cannot build OpenMP programs" in str(error)
        assert "install libgomp, or use threads=1" in str(error)
        assert "libgomp.spec: No such file" in str(error)
        # Early: before the network's own units, which would take long.
        assert "add.c" not in (tmp_path / "b/build.log").read_text()
        assert call(build(adder(), compiler, tmp_path / "b"), "add", 2, 3) == 5

    def test_case_69_undefined_symbol(self, tmp_path: Path, real: Compiler) -> None:
        source = '#include "shared.h"\nint nowhere(int);\nEXPORT int add(int a, int b) { return nowhere(a + b); }\n'
        error = failure(real, tmp_path / "b", files=broken(source))
        assert re.search(r"undefined (reference|symbol).*nowhere", str(error))
        assert "a library to link with is missing" in str(error)

    def test_case_69_library_to_link_with_is_missing(self, tmp_path: Path, real: Compiler) -> None:
        assert "cannot find -lno_such" in str(failure(real, tmp_path / "b", links=("-lno_such",)))


class TestCase70Isa:
    @pytest.mark.parametrize("flag", ["-march=no-such-cpu", "-mno-such-extension"])
    def test_case_70_flag_that_the_compiler_does_not_know(self, tmp_path: Path, real: Compiler, flag: str) -> None:
        text = str(failure(real, tmp_path / "b", flags=(flag,)))
        assert flag.split("=")[-1] in text
        assert "choose another isa" in text


INTERRUPTED = """
import sys
from pathlib import Path
from cnngen import cache
from cnngen.backends.cpu.toolchain import Compiler
from tests.source_trees import adder
compiler = Compiler((sys.argv[1],), "gcc", "", "", "")
try:
    cache.library(adder(), compiler, folder=Path(sys.argv[2]))
except KeyboardInterrupt:
    sys.exit(42)
"""


@needs_proc
class TestCase71Interrupt:
    @pytest.fixture
    def interrupted(self, tmp_path: Path) -> Path:
        """A build that hangs in two units, started in a process of its own and interrupted there."""
        word = f"7{os.getpid()}"
        script(tmp_path / "mycc", f'for out; do :; done; echo > "$out"; sleep {word}')
        process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, tmp_path / "mycc", tmp_path / "b"])
        try:
            for _ in range(1000):
                if processes_with(f"sleep {word}"):
                    break
                time.sleep(0.01)
            else:
                pytest.fail("the compiler was not started")
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=10) == 42
            assert gone(f"sleep {word}")
        finally:
            process.kill()
            process.wait()
        return tmp_path

    def test_case_71_ctrl_c_kills_the_compiler_and_leaves_nothing(self, interrupted: Path, real: Compiler) -> None:
        assert leavings(interrupted / "b") == set()
        assert leavings(interrupted / "xdg") == set()
        assert not list((interrupted / "xdg/cnngen").glob("building/*"))
        # And nothing of it is in the way of the next build.
        assert call(cache.library(adder(), real, folder=interrupted / "b"), "add", 2, 3) == 5


class TestCase72Upgrade:
    def test_case_72_another_version_is_another_key(
        self, tmp_path: Path, real: Compiler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CC", str(tmp_path / "mycc"))
        paths = []
        for version in ("12.2.0", "12.2.1"):
            answer = f'test "$1" = -v && {{ echo "Target: t"; echo "gcc version {version}"; exit; }}'
            script(tmp_path / "mycc", f'{answer}\nexec {real.command[0]} "$@"')
            paths.append(cache.library(adder(), find_compiler()))
        assert paths[0] != paths[1]
        assert all(path.exists() for path in paths)

    def test_case_72_driver_replaced_by_one_that_says_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CC", str(tmp_path / "mycc"))
        identities = set()
        for extra in ("", "# another build"):
            script(tmp_path / "mycc", f'echo "Target: t"; echo "gcc version 5"\n{extra}')
            identities.add(find_compiler().identity)
        assert len(identities) == 2
