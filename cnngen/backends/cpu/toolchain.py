"""Compiles the sources of a network and links them to a shared library.

No shell, relative file names, the build folder as the working directory: the commands are the same text wherever the
folder lies, and `command.txt` in it runs them again.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cnngen.backends.cpu.compiler import INSTALL, Compiler, find_compiler
from cnngen.backends.files import FolderError, check_name, make_folder, put, write_tree
from cnngen.backends.process import Finished, Processes
from cnngen.backends.sources import SourceTree
from cnngen.errors import ToolchainError

__all__ = ["Compiler", "build", "commands", "find_compiler", "time_limit"]

BASE_FLAGS = (
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    # Where a product is rounded before it is added decides the last bit: the kernels say it, not the compiler.
    "-ffp-contract=off",
    "-fno-math-errno",
    "-Wall",
    "-Wextra",
    # Not -I: <math.h> would find the header of a network called math.
    "-iquote.",
)
REFUSED_FLAGS = ("-ffast-math", "-Ofast", "-funsafe-math-optimizations")
"""With gcc these link a start-up file that makes the whole process flush denormals to zero."""

LINK_TOO = ("-fopenmp", "-fsanitize", "-pthread", "-g", "-flto", "--coverage")
TIME_LIMIT_VARIABLE = "CNNGEN_BUILD_TIMEOUT"
TIME_LIMIT = 600.0
TAIL_LINES = 15

DISK_FULL = r"No space left on device|Disk quota exceeded"
MEMORY_HINT = "it most likely ran out of memory: free some, or compile a smaller network"
HINTS = (
    (DISK_FULL, "free some disk space"),
    (r"out of memory|Cannot allocate memory|memory exhausted|Killed signal", MEMORY_HINT),
    (r"internal compiler error|PLEASE submit|Segmentation fault", "the compiler has a defect: try another (CNNGEN_CC)"),
    (r"omp\.h|lgomp|libgomp|libomp|lomp\b|GOMP_|__kmpc_", "install OpenMP for this compiler, or use threads=1"),
    (
        r"unrecognized command.line option|unknown (argument|(target )?CPU)|bad value|unsupported option",
        "this compiler is too old for the ISA or not made for it: choose another isa, or a newer compiler (CNNGEN_CC)",
    ),
    (r"undefined reference|undefined symbol|cannot find -l|unable to find", "a library to link with is missing"),
)

_openmp_works: set[str] = set()
"""Identities of the compilers that have built an OpenMP program in this process."""

OPENMP_PROBE = """#include <omp.h>
int probe(void);
int probe(void) {
    int threads = 0;
#pragma omp parallel reduction(+ : threads)
    threads += 1;
    return threads + omp_get_max_threads();
}
"""


def build(
    tree: SourceTree,
    compiler: Compiler,
    folder: Path,
    *,
    timeout: float | None = None,
    jobs: int | None = None,
    keep_log_in: Path | None = None,
) -> Path:
    """Write `tree` to `folder`, compile its units in parallel, link `<folder>/<tree.name>.so` and return that path.

    `command.txt` and `build.log` (what the compiler said, with times) stay beside it. `timeout` is in seconds for
    everything together (default: `$CNNGEN_BUILD_TIMEOUT`, or 600). Where the folder will not outlive a failure,
    `keep_log_in` names one that gets a copy of the two files then.

    Raises ToolchainError, with the command, how it ended, the end of what it said, and where the log is; FolderError
    where the folder cannot be written. After any failure, KeyboardInterrupt included, no object or library is left.
    """
    compilations, link = commands(tree, compiler)
    library = folder / f"{tree.name}.so"
    outputs = [*(folder / _object(unit) for unit in tree.units), library]
    write_tree(tree, folder)
    scratch: Path | None = None
    try:
        try:
            for path in outputs:  # also where a link or an earlier library stands: never written through
                path.unlink(missing_ok=True)
            put(folder / "build.log", memoryview(b""))
            put(folder / "command.txt", memoryview(_script(compiler, [*compilations, link]).encode()))
            scratch = Path(tempfile.mkdtemp(prefix=".scratch-", dir=folder.absolute()))
        except OSError as error:
            raise FolderError.of(folder, error) from error
        processes = Processes(
            seconds=time_limit() if timeout is None else timeout, cwd=folder, env=_environment(compiler, scratch)
        )
        logs = folder if keep_log_in is None else keep_log_in
        try:
            if "-fopenmp" in tree.flags:
                _check_openmp(compiler, processes, scratch)
            _run(processes, compilations, _cpus() if jobs is None else jobs, folder, logs)
            _run(processes, [link], 1, folder, logs)
        except ToolchainError:
            if keep_log_in is not None:
                _keep_logs(folder, keep_log_in)
            raise
    except BaseException:
        with suppress(OSError):
            library.unlink(missing_ok=True)
        raise
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        for path in outputs[:-1]:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    return library


def commands(tree: SourceTree, compiler: Compiler) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """The commands that compile each unit, and the one that links them; file names are relative to the build folder.

    Raises ToolchainError where the tree asks for flags that break what cnngen promises.
    """
    for flag in (*tree.flags, *tree.links):
        if flag in REFUSED_FLAGS or flag.endswith("=native"):
            raise ToolchainError(
                f"{flag} makes results or cached code depend on more than the network and its target",
                remedy="report this as a defect of cnngen",
            )
    for name in (tree.name, *tree.units):
        check_name(name)
    flags = tree.flags
    base: tuple[str, ...] = (f"-std={tree.standard}", *BASE_FLAGS)
    if compiler.kind == "zig":
        # Without a CPU `zig cc` compiles for the one it runs on; and it writes x86_64_v3 where others write x86-64-v3.
        base = (*base, "-mcpu=baseline")
        flags = tuple(f"-march={f[7:].replace('-', '_')}" if f.startswith("-march=") else f for f in flags)
    compilations = [(*compiler.command, *base, *flags, "-c", unit, "-o", _object(unit)) for unit in tree.units]
    options = _link_options(compiler)
    if compiler.kind != "gcc" and any(flag.startswith("-fsanitize") for flag in flags):
        options = options[:-1]  # clang leaves the sanitizer's symbols to the program that loads the library
    link = (
        *compiler.command,
        "-shared",
        *(flag for flag in flags if flag.startswith(LINK_TOO)),
        *(_object(unit) for unit in tree.units),
        *tree.links,
        *options,
        "-o",
        f"{tree.name}.so",
    )
    return compilations, link


def time_limit() -> float:
    """Seconds that a build may take: `$CNNGEN_BUILD_TIMEOUT`, or 600. Raises ToolchainError where it is no number."""
    text = os.environ.get(TIME_LIMIT_VARIABLE, "").strip()
    try:
        seconds = float(text) if text else TIME_LIMIT
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise ToolchainError(
            f"{TIME_LIMIT_VARIABLE}={text!r} is not a number of seconds", remedy=f"use for example {TIME_LIMIT:.0f}"
        )
    return seconds


def _run(processes: Processes, todo: Sequence[Sequence[str]], jobs: int, folder: Path, logs: Path) -> None:
    """Run commands whose last word is their output; raises ToolchainError for the first that fails."""
    try:
        done = processes.run_all(todo, jobs)
    except OSError as error:
        raise _cannot_start(todo[0], error) from error
    try:
        with (folder / "build.log").open("a", encoding="utf-8") as log:
            for finished in done:
                log.write(f"$ {shlex.join(finished.command)}\n{finished.output}")
                log.write(f"# {finished.ending}, {finished.seconds:.3f} s\n")
    except OSError as error:
        if all(finished.ok for finished in done):
            raise FolderError.of(folder, error) from error
    for finished in done:
        if not finished.ok:
            raise _failure(finished, finished.ending, logs)
        if problem := _output_problem(folder / finished.command[-1]):
            raise _failure(finished, f"exit code 0, but {problem}", logs)


def _run_one(processes: Processes, command: tuple[str, ...]) -> Finished:
    try:
        return processes.run(command)
    except OSError as error:
        raise _cannot_start(command, error) from error


def _cannot_start(command: Sequence[str], error: OSError) -> ToolchainError:
    return ToolchainError(f"`{shlex.join(command)}` cannot be run: {error.strerror}", remedy=INSTALL)


def _output_problem(path: Path) -> str | None:
    try:
        empty = path.stat().st_size == 0
    except OSError:
        return f"{path.name} is missing"
    return f"{path.name} is empty" if empty else None


def _failure(finished: Finished, ending: str, logs: Path) -> ToolchainError:
    if finished.timed_out:
        remedy = f"raise {TIME_LIMIT_VARIABLE}"
    elif finished.code == -signal.SIGKILL:
        remedy = MEMORY_HINT
    else:
        remedy = next((hint for pattern, hint in HINTS if re.search(pattern, finished.output)), "see what it said")
    kind = FolderError if re.search(DISK_FULL, finished.output) else ToolchainError
    return kind(
        f"the compiler failed: {ending}: `{shlex.join(finished.command)}`",
        remedy=f"{remedy}; the whole log is {logs / 'build.log'}{_tail(finished)}",
    )


def _tail(finished: Finished) -> str:
    return "".join(f"\n  | {line}" for line in finished.output.splitlines()[-TAIL_LINES:])


def _check_openmp(compiler: Compiler, processes: Processes, scratch: Path) -> None:
    """Build a small OpenMP program before the network: a missing libgomp is then named, not guessed."""
    if compiler.identity in _openmp_works:
        return
    source, library = scratch / "openmp.c", scratch / "openmp.so"
    put(source, memoryview(OPENMP_PROBE.encode()))
    flags = ("-fPIC", "-shared", "-fopenmp", *_link_options(compiler))
    files = (f"{scratch.name}/{source.name}", "-o", f"{scratch.name}/{library.name}")
    finished = _run_one(processes, (*compiler.command, *flags, *files))
    if finished.ok and _output_problem(library) is None:
        _openmp_works.add(compiler.identity)
        return
    if finished.timed_out:
        raise ToolchainError(
            f"the compiler failed: {finished.ending}: `{shlex.join(finished.command)}`",
            remedy=f"raise {TIME_LIMIT_VARIABLE}",
        )
    package = {"gcc": "libgomp", "clang": "libomp-dev"}.get(compiler.kind)
    install = f"install {package}" if package else "zig brings no OpenMP: install gcc"
    raise ToolchainError(
        f"{shlex.join(compiler.command)} cannot build OpenMP programs: its OpenMP header or library (libgomp, libomp) "
        f"is missing or does not work ({finished.ending})",
        remedy=f"{install}, or use threads=1{_tail(finished)}",
    )


def _link_options(compiler: Compiler) -> tuple[str, ...]:
    """No executable stack, and no symbol left for the loading program to supply.

    No build id either: it is a slow hash over all the weights, and the cache has its own.
    """
    if "apple" in compiler.target or "darwin" in compiler.target:
        return ("-Wl,-undefined,error",)
    return ("-Wl,--build-id=none", "-Wl,-z,noexecstack", "-Wl,--no-undefined")


def _environment(compiler: Compiler, scratch: Path) -> dict[str, str]:
    """What the compiler sees: messages in English, and its temporary files inside the build folder.

    A compiler that is killed leaves its temporary files behind; there they go when the folder is cleaned, and one file
    system holds everything. Zig's local cache must be empty at the start of every build: its entry for an assembler
    file does not change when the file that `.incbin` embeds does, so that it would link the weights of another network.
    """
    env = {**os.environ, "LC_ALL": "C", "TMPDIR": str(scratch), "ZIG_LOCAL_CACHE_DIR": str(scratch / "zig")}
    if compiler.kind == "zig" and not any(env.get(v) for v in ("HOME", "XDG_CACHE_HOME", "ZIG_GLOBAL_CACHE_DIR")):
        env["ZIG_GLOBAL_CACHE_DIR"] = str(scratch / "zig-global")
    return env


def _script(compiler: Compiler, todo: Sequence[Sequence[str]]) -> str:
    lines = [
        f"# {compiler.version}, {compiler.target}",
        "# sh -e command.txt, in this folder, builds the library again.",
    ]
    if compiler.kind == "zig":
        lines.append('export ZIG_LOCAL_CACHE_DIR="$(mktemp -d)"')
    return "\n".join([*lines, *(shlex.join(command) for command in todo)]) + "\n"


def _keep_logs(folder: Path, destination: Path) -> None:
    with suppress(OSError, FolderError):
        make_folder(destination)
        for name in ("command.txt", "build.log"):
            put(destination / name, memoryview((folder / name).read_bytes()))


def _object(unit: str) -> str:
    return f"{unit}.o"


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
