"""What compiles device code: which compiler, which commands, what a build leaves; with false compilers mostly."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import warnings
from pathlib import Path

import pytest

from cnngen import cache
from cnngen.backends.cuda import compiler as compilers
from cnngen.backends.cuda import fatbin, kernel_report
from cnngen.backends.cuda.architectures import architecture_for
from cnngen.backends.cuda.compiler import CudaCompiler, find_compiler
from cnngen.backends.cuda.toolchain import build, commands
from cnngen.errors import CacheWarning, DeviceError, ToolchainError
from tests.cuda_compilers import ELF, PTX, REPORT, image, nvcc, nvrtc, tree
from tests.source_trees import script, snapshot

SYSTEM_PATH = "/usr/bin:/bin"


@pytest.fixture(autouse=True)
def _nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*compilers.ENVIRONMENT, "CNNGEN_BUILD_TIMEOUT", "CNNGEN_CACHE_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", SYSTEM_PATH)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(compilers, "USUAL_TOOLKIT", tmp_path / "usual")
    monkeypatch.setattr(compilers, "SONAMES", ("libnvrtc.so.0",))
    monkeypatch.setattr(compilers, "_in_packages", lambda pattern: [])


def use(path: Path, monkeypatch: pytest.MonkeyPatch) -> CudaCompiler:
    monkeypatch.setenv("CNNGEN_NVCC", str(path))
    return find_compiler()


def failure(compiler: CudaCompiler, folder: Path, *, timeout: float = 60, text: str = "") -> str:
    """Build, see it fail in bounded time, and check what holds of every failure."""
    started = time.monotonic()
    with pytest.raises(ToolchainError) as caught:
        build(tree(text=text), compiler, folder, timeout=timeout)
    assert time.monotonic() - started < 30
    assert not [name for name in snapshot(folder) if re.search(r"fatbin|\.sm_|\.compute_|scratch|\.cnngen-", name)]
    assert caught.value.exit_code == 3
    assert str(folder / "build.log") in str(caught.value)
    return str(caught.value)


class TestFindCompiler:
    def test_the_order(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def found() -> str:
            return find_compiler().command[0]

        monkeypatch.setattr(compilers, "_in_packages", lambda pattern: [tmp_path / "packages/bin/nvcc"])
        for name in ("packages", "usual", "on_path", "path", "home", "own"):
            nvcc(tmp_path / name / "bin/nvcc")
        assert found() == str(tmp_path / "usual/bin/nvcc")
        (tmp_path / "usual/bin/nvcc").unlink()
        assert found() == str(tmp_path / "packages/bin/nvcc")
        monkeypatch.setenv("PATH", f"{tmp_path}/on_path/bin:{SYSTEM_PATH}")
        assert found() == str(tmp_path / "on_path/bin/nvcc")
        monkeypatch.setenv("CUDA_PATH", str(tmp_path / "path"))
        assert found() == str(tmp_path / "path/bin/nvcc")
        monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
        assert found() == str(tmp_path / "home/bin/nvcc")
        monkeypatch.setenv("CNNGEN_NVCC", f"{tmp_path / 'own/bin/nvcc'} -ccbin g++")
        assert find_compiler().command == (str(tmp_path / "own/bin/nvcc"), "-ccbin", "g++")

    def test_what_it_learns(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        compiler = use(nvcc(tmp_path / "nvcc"), monkeypatch)
        assert (compiler.kind, compiler.version) == ("nvcc", (13, 0))
        assert compiler.architectures == ("sm_75", "sm_80", "sm_90")
        assert str(compiler) == f"nvcc 13.0 ({tmp_path / 'nvcc'})"

    def test_without_any(self) -> None:
        with pytest.raises(ToolchainError, match="neither nvcc nor NVRTC works here") as caught:
            find_compiler()
        assert "pip install nvidia-cuda-nvrtc" in str(caught.value)
        assert "--emit-only" in str(caught.value)
        assert caught.value.exit_code == 3

    def test_a_broken_one_is_passed_over_and_named_where_there_is_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = script(tmp_path / "home/bin/nvcc", "echo ld: no such library >&2; exit 127")
        monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
        with pytest.raises(
            ToolchainError, match=re.escape(f"`{broken} --version`: exit code 127: ld: no such library")
        ):
            find_compiler()
        nvcc(tmp_path / "usual/bin/nvcc")
        assert find_compiler().command == (str(tmp_path / "usual/bin/nvcc"),)

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("no-such-nvcc", "there is no program no-such-nvcc"),
            ("true", "`/usr/bin/true --version` does not answer like nvcc"),
            ("false", "exit code 1"),
            ("nvcc 'unbalanced", "No closing quotation"),
            ("/nowhere/libnvrtc.so.12", "cannot open shared object file"),
        ],
    )
    def test_a_variable_decides(self, value: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        nvcc(tmp_path / "usual/bin/nvcc")
        monkeypatch.setenv("CNNGEN_NVCC", value)
        with pytest.raises(ToolchainError, match=said) as caught:
            find_compiler()
        assert str(caught.value).startswith("CNNGEN_NVCC=")
        assert "or unset it" in str(caught.value)

    def test_not_executable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "nvcc").write_text("")
        with pytest.raises(ToolchainError, match="is not executable"):
            use(tmp_path / "nvcc", monkeypatch)

    def test_one_that_hangs_when_asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(compilers, "PROBE_SECONDS", 0.3)
        with pytest.raises(ToolchainError, match="time limit"):
            use(script(tmp_path / "nvcc", "sleep 60 & wait"), monkeypatch)

    def test_one_that_names_no_architecture(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = script(tmp_path / "nvcc", "echo release 9.0, V9.0.1")
        with pytest.raises(ToolchainError, match="names no architecture"):
            use(path, monkeypatch)

    def test_a_toolkit_that_changes_behind_a_wrapper(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = nvcc(tmp_path / "nvcc")
        script(tmp_path / "toolkit/bin/ptxas", "exit")
        first = use(path, monkeypatch)
        assert str(tmp_path / "toolkit/bin/ptxas") in first.programs
        compilers._ask_nvcc.cache_clear()
        script(tmp_path / "toolkit/bin/ptxas", "exit # another one")
        assert find_compiler().identity != first.identity

    def test_flags_from_the_environment_are_part_of_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = use(nvcc(tmp_path / "nvcc"), monkeypatch)
        assert first == find_compiler()
        monkeypatch.setenv("NVCC_APPEND_FLAGS", "-G")
        assert find_compiler().identity != first.identity

    def test_surroundings_change_with_what_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        nothing = compilers.surroundings()
        nvcc(tmp_path / "usual/bin/nvcc")
        usual = compilers.surroundings()
        assert nothing != usual
        monkeypatch.setenv("CNNGEN_NVCC", str(nvcc(tmp_path / "nvcc")))
        assert compilers.surroundings() != usual

    def test_nvrtc_where_there_is_no_nvcc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        library = nvrtc(tmp_path / "usual/lib64")
        compiler = find_compiler()
        assert (compiler.kind, compiler.version, compiler.programs) == ("nvrtc", (12, 4), (str(library),))
        assert compiler.architectures == ("sm_80", "sm_90")
        nvcc(tmp_path / "usual/bin/nvcc")
        assert find_compiler().kind == "nvcc"
        assert use(library, monkeypatch).kind == "nvrtc"


class TestCommands:
    def test_nvcc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = nvcc(tmp_path / "nvcc")
        ((command,),) = commands(tree(), use(path, monkeypatch))
        assert command == (
            *(str(path), "-fatbin", "-std=c++17", "-fmad=false", "-Werror", "all-warnings", "-Xptxas", "-v"),
            *("--threads", "0", "--split-compile", "0"),
            *("-gencode", "arch=compute_80,code=sm_80", "-gencode", "arch=compute_90,code=sm_90"),
            *("-gencode", "arch=compute_90,code=compute_90", "adder.cu", "-o", "adder.fatbin"),
        )

    def test_an_old_nvcc_optimises_one_kernel_after_the_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = nvcc(tmp_path / "nvcc", release="11.8, V11.8.89")
        assert "--split-compile" not in commands(tree(), use(path, monkeypatch))[0][0]

    def test_nvrtc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        compilations, (link,) = commands(tree(), use(nvrtc(tmp_path), monkeypatch))
        assert [command[-3:] for command in compilations] == [
            ("sm_80", "adder.cu", "adder.sm_80"),
            ("sm_90", "adder.cu", "adder.sm_90"),
            ("compute_90", "adder.cu", "adder.compute_90"),
        ]
        assert link[-4:] == ("adder.sm_80", "adder.sm_90", "adder.compute_90", "adder.fatbin")

    def test_an_architecture_that_the_compiler_does_not_know(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compiler = use(nvcc(tmp_path / "nvcc"), monkeypatch)
        with pytest.raises(ToolchainError, match=r"does not compile for sm_100, sm_120; it knows sm_75, .*--arch"):
            commands(tree(architectures=("sm_80", "sm_100", "sm_120")), compiler)


class TestBuild:
    def test_what_it_leaves(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        compiler = use(nvcc(tmp_path / "nvcc"), monkeypatch)
        product = build(tree(), compiler, tmp_path / "b")
        assert product == tmp_path / "b/adder.fatbin"
        assert product.read_bytes() == image()
        assert snapshot(tmp_path / "b") == {
            *("adder.cu", "adder_launches.json", "adder_weights.bin", "adder.fatbin"),
            *("command.txt", "build.log", "kernels.txt"),
        }
        log = (tmp_path / "b/build.log").read_text()
        assert "Used 128 registers" in log
        assert "# exit code 0, " in log

    def test_the_report(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        build(tree(), use(nvcc(tmp_path / "nvcc"), monkeypatch), tmp_path / "b")
        lines = (tmp_path / "b/kernels.txt").read_text().splitlines()
        assert [line.split() for line in lines[2:5]] == [
            ["kernel", "sm_80", "sm_90"],
            ["conv", "96", "+16", "128", "spill", "16"],
            ["pool", "-", "24"],
        ]
        assert lines[-1] == "2 kernels, 1 with spills"

    def test_the_command_runs_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for compiler in (use(nvcc(tmp_path / "nvcc"), monkeypatch), use(nvrtc(tmp_path / "n"), monkeypatch)):
            folder = tmp_path / f"built by {compiler.kind}"
            made = build(tree(), compiler, folder).read_bytes()
            (folder / "adder.fatbin").unlink()
            subprocess.run(["sh", "-e", "command.txt"], cwd=folder, check=True, timeout=60, capture_output=True)
            assert (folder / "adder.fatbin").read_bytes() == made

    def test_nvrtc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        product = build(tree(), use(nvrtc(tmp_path / "n"), monkeypatch), tmp_path / "b")
        assert [code.name for code in fatbin.read(product.read_bytes())] == ["sm_80", "sm_90", "compute_90"]
        assert (tmp_path / "b/kernels.txt").read_text().splitlines()[3].split() == ["conv", "40", "40"]
        assert not list((tmp_path / "b").glob("adder.sm_*"))


class TestFailures:
    """Each gives a ToolchainError with the command, how it ended, its last words and the log."""

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("echo 'adder.cu(3): error: identifier \"x\" is undefined'; exit 2", r'exit code 2.*\| .*"x" is undefined'),
            ("echo 'ptxas fatal   : Internal error'; kill -SEGV $$", "killed by SIGSEGV"),
            ("echo 'nvcc error : internal error: x died'; exit 1", "has a defect: try another"),
            ("kill -KILL $$", "ran out of memory"),
            (
                "echo 'error: -- unsupported GNU version! gcc versions later than 14'; exit 1",
                "CNNGEN_NVCC='nvcc -ccbin",
            ),
            ("echo \"nvcc fatal   : Unsupported gpu architecture 'compute_90'\"; exit 1", "choose others"),
            ("echo 'adder.cu(1): error #177-D: warning treated as error'; exit 1", "report this as a defect of cnngen"),
            ("echo 'cannot write: No space left on device'; exit 1", "free some disk space"),
            ("exit 0", "adder.fatbin is missing"),
            (': > "$out"', "adder.fatbin is empty"),
            ('echo "not a fatbin at all" > "$out"', "is no whole fatbin: it does not begin as a fatbin"),
            ('echo no > "$out"', "is no whole fatbin: 3 bytes are no fatbin"),
            ('head -c 100 "$0.made" > "$out"', "is no whole fatbin: it is cut off: 100 of"),
        ],
    )
    def test_nvcc_fails(self, body: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "nvcc.made").write_bytes(image())
        compiler = use(nvcc(tmp_path / "nvcc", body), monkeypatch)
        assert re.search(said, failure(compiler, tmp_path / "b"), re.DOTALL)

    def test_a_fatbin_without_an_architecture(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        compiler = use(nvcc(tmp_path / "nvcc", made=image((80,))), monkeypatch)
        assert "adder.fatbin has no code for sm_90" in failure(compiler, tmp_path / "b")

    def test_only_the_end_of_a_long_message(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = failure(use(nvcc(tmp_path / "nvcc", "seq 1000; exit 7"), monkeypatch), tmp_path / "b").splitlines()
        assert [line.strip() for line in lines[1:]] == [f"| {i}" for i in range(986, 1001)]

    def test_the_time_limit_kills_what_it_has_started(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        word = f"7{os.getpid()}"
        compiler = use(nvcc(tmp_path / "nvcc", f"sleep {word} & sleep {word}; wait"), monkeypatch)
        text = failure(compiler, tmp_path / "b", timeout=0.5)
        assert "stopped at the time limit" in text
        assert "CNNGEN_BUILD_TIMEOUT" in text
        found = subprocess.run(["pgrep", "-f", f"sleep {word}"], capture_output=True, text=True, check=False)
        assert found.stdout == ""

    def test_it_vanishes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        compiler = use(nvcc(tmp_path / "nvcc"), monkeypatch)
        (tmp_path / "nvcc").unlink()
        with pytest.raises(ToolchainError, match=r"cannot be run: No such file or directory; install the CUDA toolkit"):
            build(tree(), compiler, tmp_path / "b")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("#error", r"exit code 1.*\| adder.cu\(1\): error: broken"),
            ("#pragma", "warning is an error here"),
            ("#crash", "killed by SIGABRT"),
        ],
    )
    def test_nvrtc_fails(self, text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where it takes its process with it."""
        compiler = use(nvrtc(tmp_path / "n"), monkeypatch)
        assert re.search(said, failure(compiler, tmp_path / "b", text=text), re.DOTALL)


class TestCache:
    @pytest.fixture
    def compiler(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CudaCompiler:
        return use(nvcc(tmp_path / "nvcc", f'echo run >> {tmp_path}/runs; cp "$0.made" "$out"'), monkeypatch)

    @pytest.fixture(autouse=True)
    def made(self, tmp_path: Path) -> None:
        (tmp_path / "nvcc.made").write_bytes(image())

    def runs(self, tmp_path: Path) -> int:
        return len((tmp_path / "runs").read_text().split())

    def test_one_entry_holds_what_is_loaded(self, tmp_path: Path, compiler: CudaCompiler) -> None:
        path = cache.library(tree(), compiler)
        assert path.name == "adder.fatbin"
        assert snapshot(path.parent) == {
            *("adder.fatbin", "adder_weights.bin", "adder_launches.json", "kernels.txt"),
            *("command.txt", "build.log", "entry.json"),
        }
        assert cache.library(tree(), compiler) == path
        assert self.runs(tmp_path) == 1
        assert cache.library(tree(architectures=("sm_80",)), compiler) != path
        (entry,) = (entry for entry in cache.entries() if entry.library == path)
        assert entry.name == "adder"

    @pytest.mark.parametrize("name", ["adder.fatbin", "adder_weights.bin", "adder_launches.json"])
    def test_every_file_is_checked(self, name: str, tmp_path: Path, compiler: CudaCompiler) -> None:
        path = cache.library(tree(), compiler).with_name(name)
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.warns(CacheWarning, match=f"{name} does not have the digest it was stored with"):
            again = cache.library(tree(), compiler)
        assert again.with_name(name).read_bytes() == data
        assert self.runs(tmp_path) == 2

    def test_a_folder_gets_copies(self, tmp_path: Path, compiler: CudaCompiler) -> None:
        for attempt in range(2):
            folder = tmp_path / f"b{attempt}"
            cache.library(tree(), compiler, folder=folder)
            assert snapshot(folder) == {
                *("adder.cu", "adder.fatbin", "adder_weights.bin", "adder_launches.json"),
                *("kernels.txt", "command.txt", "build.log"),
            }
        assert self.runs(tmp_path) == 1

    def test_without_the_cache(self, tmp_path: Path, compiler: CudaCompiler) -> None:
        path = cache.library(tree(), compiler, use_cache=False)
        assert {"adder.fatbin", "adder_weights.bin", "adder_launches.json"} <= snapshot(path.parent)
        assert not (tmp_path / "xdg/cnngen/entries").exists()

    def test_a_home_that_cannot_be_written_costs_time_only(
        self, tmp_path: Path, compiler: CudaCompiler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        with pytest.warns(CacheWarning, match="built without the cache"):
            assert cache.library(tree(), compiler).read_bytes() == image()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
            cache.library(tree(), compiler)


class TestFatbin:
    CODES = (fatbin.Code("cubin", 80, ELF), fatbin.Code("ptx", 90, PTX))

    def test_what_is_written_is_read(self) -> None:
        first, second = fatbin.read(fatbin.write(self.CODES))
        assert first == self.CODES[0]
        assert (second.name, second.data.rstrip(b"\0")) == ("compute_90", PTX)

    @pytest.mark.parametrize("length", [0, 10, 16, 40, 100, -1])
    def test_cut_off(self, length: int) -> None:
        with pytest.raises(ValueError, match=r"fatbin|cut off|leaves it"):
            fatbin.read(fatbin.write(self.CODES)[:length])

    def test_an_entry_that_leaves_the_file(self) -> None:
        data = bytearray(fatbin.write(self.CODES))
        data[24] ^= 0xFF
        with pytest.raises(ValueError, match="an entry leaves it"):
            fatbin.read(bytes(data))

    @pytest.mark.parametrize("code", [fatbin.Code("cubin", 80, b"text"), fatbin.Code("ptx", 80, b"text")])
    def test_what_is_no_code(self, code: fatbin.Code) -> None:
        with pytest.raises(ValueError, match=r"PTX without a version|a cubin is an ELF file"):
            fatbin.write([code])

    def test_it_equals_what_nvidia_writes(self, tmp_path: Path) -> None:
        ptxas, fatbinary = (shutil.which(name, path="/usr/local/cuda/bin") for name in ("ptxas", "fatbinary"))
        if ptxas is None or fatbinary is None:
            pytest.skip("there is no CUDA toolkit in /usr/local/cuda")
        (tmp_path / "code.ptx").write_bytes(PTX)
        subprocess.run([ptxas, "-arch=sm_90", "code.ptx", "-o", "code.cubin"], cwd=tmp_path, check=True)
        command = [fatbinary, "--create=made.fatbin", "-64", "--compress-mode=none"]
        command += ["--image3=kind=elf,sm=90,file=code.cubin", "--image3=kind=ptx,sm=90,file=code.ptx"]
        subprocess.run(command, cwd=tmp_path, check=True)
        cubin = fatbin.Code("cubin", 90, (tmp_path / "code.cubin").read_bytes())
        assert (tmp_path / "made.fatbin").read_bytes() == fatbin.write([cubin, self.CODES[1]])


def test_report_of_both_compilers() -> None:
    """NVRTC writes other beginnings of lines."""
    uses = kernel_report.parse(REPORT)
    assert uses == kernel_report.parse(REPORT.replace("\n    ", "\nptxas         .     "))
    assert kernel_report.spilling(uses) == [kernel_report.KernelUse("conv", "sm_90", 128, 8, 4, 12, 0)]
    assert uses[0].shared == 16


@pytest.mark.parametrize(
    ("capability", "architecture"),
    [
        ((7, 5), "sm_75"),
        ((8, 0), "sm_80"),
        ((8, 7), "sm_86"),
        ((9, 0), "sm_90"),
        ((10, 3), "sm_100"),
        ((13, 0), "sm_120"),
    ],
)
def test_architecture_of_a_gpu(capability: tuple[int, int], architecture: str) -> None:
    assert architecture_for(capability) == architecture


def test_a_gpu_that_is_too_old() -> None:
    with pytest.raises(DeviceError, match=r"compute capability 7.0; kernels are written for sm_75 and newer"):
        architecture_for((7, 0))
