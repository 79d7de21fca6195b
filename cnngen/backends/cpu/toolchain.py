"""Compiles the C sources of a network and links them to a shared library."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cnngen.backends.building import TIME_LIMIT_VARIABLE, Recipe, carry_out, output_problem, run_one, tail, time_limit
from cnngen.backends.cpu.compiler import INSTALL, Compiler, find_compiler
from cnngen.backends.files import check_name, put
from cnngen.backends.process import Processes
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
HINTS = (
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
    recipe = Recipe((tuple(compilations), (link,)), _script(compiler, [*compilations, link]), INSTALL, HINTS)

    def check(processes: Processes, scratch: Path) -> None:
        if "-fopenmp" in tree.flags:
            _check_openmp(compiler, processes, scratch)

    return carry_out(
        recipe,
        tree,
        folder,
        environment=partial(_environment, compiler),
        timeout=timeout,
        jobs=jobs,
        keep_log_in=keep_log_in,
        before=check,
    )


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


def _check_openmp(compiler: Compiler, processes: Processes, scratch: Path) -> None:
    """Build a small OpenMP program before the network: a missing libgomp is then named, not guessed."""
    if compiler.identity in _openmp_works:
        return
    source, library = scratch / "openmp.c", scratch / "openmp.so"
    put(source, memoryview(OPENMP_PROBE.encode()))
    flags = ("-fPIC", "-shared", "-fopenmp", *_link_options(compiler))
    files = (f"{scratch.name}/{source.name}", "-o", f"{scratch.name}/{library.name}")
    finished = run_one(processes, (*compiler.command, *flags, *files), INSTALL)
    if finished.ok and output_problem(library) is None:
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
        remedy=f"{install}, or use threads=1{tail(finished)}",
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


def _object(unit: str) -> str:
    return f"{unit}.o"
