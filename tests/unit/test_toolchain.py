"""The toolchain: which compiler, which commands, and what a build leaves."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cnngen.backends.cpu import compiler as compilers
from cnngen.backends.cpu.toolchain import Compiler, build, commands, find_compiler
from cnngen.backends.process import Processes
from cnngen.errors import ToolchainError
from tests.source_trees import ADD, adder, call, script, snapshot, wrapper

GCC = Compiler(("gcc",), "gcc", "gcc version 12.2.0", "x86_64-linux-gnu", "gcc")
ZIG = Compiler(("zig", "cc"), "zig", "clang version 22", "x86_64-unknown-linux-musl", "zig")
APPLE = Compiler(("clang",), "clang", "Apple clang version 16", "arm64-apple-darwin24", "apple")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CNNGEN_CC", "CC", "CNNGEN_BUILD_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)


def fake(path: Path, version: str) -> Path:
    return script(path, f"echo 'Target: test-target' >&2\necho '{version}' >&2")


class TestFindCompiler:
    def test_the_variables_come_before_the_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("one", "two", "bin/gcc"):
            fake(tmp_path / name, f"gcc version 1.{len(name)} ({name})")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
        assert find_compiler().command == (str(tmp_path / "bin/gcc"),)
        monkeypatch.setenv("CC", str(tmp_path / "two"))
        assert find_compiler().version == "gcc version 1.3 (two)"
        monkeypatch.setenv("CNNGEN_CC", str(tmp_path / "one"))
        assert find_compiler().version == "gcc version 1.3 (one)"
        monkeypatch.setenv("CNNGEN_CC", "  ")
        assert find_compiler().version == "gcc version 1.3 (two)"

    def test_a_command_of_several_words(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        inner = fake(tmp_path / "my gcc", "gcc version 9.1")
        outer = script(tmp_path / "ccache", 'exec "$@"')
        monkeypatch.setenv("CC", f"{outer} '{inner}' -m64")
        assert find_compiler().command == (str(outer), str(inner), "-m64")

    @pytest.mark.parametrize(
        ("version", "kind"),
        [
            ("gcc version 12.2.0 (Debian 12.2.0-14)", "gcc"),
            ("Debian clang version 14.0.6", "clang"),
            ("Apple clang version 16.0.0 (clang-1600.0.26.4)", "clang"),
        ],
    )
    def test_kinds(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, kind: str) -> None:
        monkeypatch.setenv("CC", str(fake(tmp_path / "mycc", version)))
        compiler = find_compiler()
        assert (compiler.kind, compiler.version, compiler.target) == (kind, version, "test-target")

    def test_a_broken_candidate_on_the_path_is_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script(tmp_path / "gcc", "exit 69")
        fake(tmp_path / "clang", "clang version 15.0.0")
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(compilers, "_zig_package", lambda: None)
        assert find_compiler().kind == "clang"

    def test_the_zig_package_comes_last(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        script(
            tmp_path / "site/ziglang/zig",
            'test "$1 $2" = "cc -v" || exit 9\necho "clang version 22.1.8\nTarget: x86_64-unknown-linux-musl" >&2',
        )
        (tmp_path / "site/ziglang/__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.setenv("PATH", str(tmp_path))
        compiler = find_compiler()
        assert compiler.kind == "zig"
        assert compiler.command == (str(tmp_path / "site/ziglang/zig"), "cc")
        monkeypatch.setenv("CNNGEN_CC", f"{sys.executable} -m ziglang cc")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
        (tmp_path / "site/ziglang/__main__.py").write_text("print('clang version 22.1.8\\nTarget: any')")
        assert find_compiler().kind == "zig"

    def test_asked_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        log = tmp_path / "log"
        monkeypatch.setenv("CC", str(script(tmp_path / "mycc", f"echo run >> {log}; echo 'gcc version 5\nTarget: t'")))
        assert find_compiler() == find_compiler()
        assert log.read_text().splitlines() == ["run"]


class TestCommands:
    def test_flags_of_the_tree_come_after_the_base(self) -> None:
        compilations, link = commands(adder(flags=("-mavx2", "-fopenmp", "-O1"), links=("-lm",)), GCC)
        first = compilations[0]
        assert first[0] == "gcc"
        assert first.index("-O3") < first.index("-O1")
        assert first[-4:] == ("-c", "add.c", "-o", "add.c.o")
        assert link == (
            *("gcc", "-shared", "-fopenmp", "add.c.o", "units/weights.c.o", "weights.S.o", "-lm"),
            *("-Wl,--build-id=none", "-Wl,-z,noexecstack", "-Wl,--no-undefined", "-o", "adder.so"),
        )

    def test_contraction_is_off_and_no_flag_is_for_this_machine(self) -> None:
        for compiler in (GCC, ZIG):
            words = {word for command in commands(adder(), compiler)[0] for word in command}
            assert "-ffp-contract=off" in words
            assert not {"-ffast-math", "-march=native", "-Ofast"} & words

    def test_zig_compiles_for_the_named_cpu_only(self) -> None:
        first = commands(adder(flags=("-march=x86-64-v3",)), ZIG)[0][0]
        assert "-march=x86_64_v3" in first
        assert first.index("-mcpu=baseline") < first.index("-march=x86_64_v3")

    def test_link_options_of_a_mac(self) -> None:
        assert "-Wl,-undefined,error" in commands(adder(), APPLE)[1]

    @pytest.mark.parametrize("flag", ["-march=native", "-mtune=native", "-ffast-math", "-Ofast"])
    def test_flags_that_break_promises(self, flag: str) -> None:
        with pytest.raises(ToolchainError, match=flag):
            commands(adder(flags=(flag,)), GCC)

    @pytest.mark.parametrize("name", ["../x.c", "/x.c", "-x.c", "a/../../x.c", ""])
    def test_names_that_leave_the_folder(self, name: str, tmp_path: Path) -> None:
        for tree in (adder(units=(name,)), adder(files={name: ""}), adder(name=name)):
            with pytest.raises(ToolchainError, match="emitted a file"):
                build(tree, GCC, tmp_path / "b")


class TestBuild:
    def test_library_works_and_stages_stay(self, tmp_path: Path) -> None:
        library = build(adder(), find_compiler(), tmp_path / "b")
        assert library == tmp_path / "b/adder.so"
        assert call(library, "add", 2, 3) == 5
        assert [call(library, "weight", i) for i in range(3)] == [7, 8, 9]
        assert snapshot(tmp_path / "b") == {
            *("shared.h", "add.c", "units/weights.c", "weights.S", "weights.bin"),
            *("adder.so", "command.txt", "build.log"),
        }

    def test_another_blob_is_embedded_anew(self, tmp_path: Path) -> None:
        compiler = find_compiler()
        for value in (1, 2):
            assert call(build(adder(weights=(value,)), compiler, tmp_path), "weight", 0) == value

    def test_commands_are_the_same_text_anywhere_and_run_again(self, tmp_path: Path) -> None:
        compiler = find_compiler()
        folders = [tmp_path / "one", tmp_path / "two words"]
        for folder in folders:
            build(adder(), compiler, folder)
        texts = [(folder / "command.txt").read_text() for folder in folders]
        assert texts[0] == texts[1]
        assert str(tmp_path) not in texts[0]
        (folders[1] / "adder.so").unlink()
        subprocess.run(["sh", "-e", "command.txt"], cwd=folders[1], check=True, timeout=60)
        assert call(folders[1] / "adder.so", "add", 1, 1) == 2

    def test_the_log_has_warnings_and_times(self, tmp_path: Path) -> None:
        tree = adder()
        tree = adder(files={**tree.files, "add.c": "static int unused;\n" + ADD})
        build(tree, find_compiler(), tmp_path)
        log = (tmp_path / "build.log").read_text()
        assert "-Wunused-variable" in log
        assert log.count("# exit code 0, ") == 4

    def test_unchanged_files_are_not_rewritten(self, tmp_path: Path) -> None:
        compiler = find_compiler()
        build(adder(), compiler, tmp_path)
        before = {name: (tmp_path / name).stat().st_mtime_ns for name in ("add.c", "weights.bin", "shared.h")}
        build(adder(offset=1), compiler, tmp_path)
        after = {name: (tmp_path / name).stat().st_mtime_ns for name in before}
        assert {name for name in before if before[name] != after[name]} == {"shared.h"}

    def test_units_compile_side_by_side(self, tmp_path: Path) -> None:
        # Each of the two waits for the other to have started: one after the other would never end.
        body = (
            'case "$*" in *-shared*) exec "$REAL" "$@";; esac\n'
            f'touch "{tmp_path}/started.$$"\n'
            f'until [ "$(ls "{tmp_path}" | grep -c started)" -ge 2 ]; do sleep 0.01; done\nexec "$REAL" "$@"'
        )
        compiler = wrapper(tmp_path / "cc", body, find_compiler())
        tree = adder(units=("add.c", "more.c"), files={**adder().files, "more.c": "int more;"})
        assert call(build(tree, compiler, tmp_path / "b", timeout=20, jobs=2), "add", 2, 3) == 5

    def test_the_compiler_sees_english_and_a_temporary_folder_of_its_own(self, tmp_path: Path) -> None:
        body = f'echo "$LC_ALL $TMPDIR" > {tmp_path}/seen; exec "$REAL" "$@"'
        build(adder(), wrapper(tmp_path / "cc", body, find_compiler()), tmp_path / "b")
        language, folder = (tmp_path / "seen").read_text().split()
        assert language == "C"
        assert Path(folder).parent == tmp_path / "b"
        assert not Path(folder).exists()

    def test_arrays_are_written_in_c_order(self, tmp_path: Path) -> None:
        blob = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
        build(adder(blobs={"weights.bin": blob, "empty.bin": np.zeros(0)}), find_compiler(), tmp_path)
        assert (tmp_path / "weights.bin").read_bytes() == blob.tobytes("C")
        assert (tmp_path / "empty.bin").read_bytes() == b""

    def test_openmp(self, tmp_path: Path) -> None:
        source = (
            '#include <omp.h>\n#include "shared.h"\n'
            "EXPORT int add(int a, int b) { int s = 0;\n#pragma omp parallel for reduction(+ : s)\n"
            "for (int i = a; i < b; i++) s += i;\nreturn s + 0 * omp_get_max_threads(); }\n"
        )
        tree = adder(files={**adder().files, "add.c": source}, flags=("-fopenmp",))
        assert call(build(tree, find_compiler(), tmp_path), "add", 1, 5) == 10


class TestProcesses:
    def test_results_are_in_the_order_given(self) -> None:
        done = Processes(seconds=20).run_all([["sh", "-c", f"sleep 0.{9 - i}; echo {i}"] for i in range(7, 9)], 2)
        assert [finished.output for finished in done] == ["7\n", "8\n"]

    def test_a_failure_stops_the_others(self) -> None:
        started = time.monotonic()
        done = Processes(seconds=60).run_all([["sleep", "50"], ["sh", "-c", "exit 3"], ["sleep", "51"]], 2)
        assert time.monotonic() - started < 10
        assert [finished.code for finished in done] == [3]

    def test_a_background_process_that_keeps_the_output_open_delays_nobody(self) -> None:
        started = time.monotonic()
        assert Processes(seconds=60).run(["sh", "-c", "sleep 5 & echo done"]).output == "done\n"
        assert time.monotonic() - started < 4

    def test_endless_output_is_cut_in_the_middle(self) -> None:
        output = Processes(seconds=60).run(["sh", "-c", "echo first; yes | head -c 3000000; echo last"]).output
        assert output.startswith("first\n")
        assert output.endswith("last\n")
        assert len(output) < 1_100_000

    def test_deadlines_leave_no_thread(self) -> None:
        before = threading.active_count()
        assert Processes(seconds=0.2).run(["sleep", "60"]).timed_out
        assert not Processes(seconds=60).run(["true"]).timed_out
        for _ in range(100):
            if threading.active_count() <= before:
                break
            time.sleep(0.01)
        assert threading.active_count() <= before
