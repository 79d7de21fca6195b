"""Compiles the CUDA source of a network to one fatbin: a cubin for each architecture, and PTX for later ones.

nvcc does so in one command. With NVRTC, which makes one piece at a time, each architecture is a command, and one more
puts the pieces together.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnngen.backends.building import Command, Recipe, carry_out, failure
from cnngen.backends.cuda import fatbin, kernel_report
from cnngen.backends.cuda.compiler import INSTALL, CudaCompiler
from cnngen.backends.files import FolderError, check_name, put
from cnngen.backends.process import Finished
from cnngen.backends.sources import SourceTree
from cnngen.errors import ToolchainError

REPORT = "kernels.txt"
"""The table of registers and spills, beside the fatbin."""

FLAGS = (
    "-std=c++17",
    # Where a product is rounded before it is added decides the last bit: the kernels say it, not the compiler.
    "-fmad=false",
    "-Werror",
    "all-warnings",
    "-Xptxas",
    "-v",
)
PARALLEL_SINCE = (12, 1)
"""Version of nvcc from which the kernels of a file are optimised side by side."""

HINTS = (
    (
        r"unsupported GNU version|unsupported clang version|unsupported Microsoft",
        "this nvcc does not take the C++ compiler on the PATH: name an older one with CNNGEN_NVCC='nvcc -ccbin g++-NN'",
    ),
    (
        r"Failed to preprocess host compiler|gcc: (not found|command not found)|No such file or directory.*g\+\+",
        "nvcc needs a C++ compiler: install g++",
    ),
    (
        r"[Uu]nsupported gpu architecture|Value '\S+' is not defined for option 'gpu-|invalid value for --gpu-arch",
        "this compiler is too old, or too new, for one of the architectures: choose others (--arch)",
    ),
    (r"cuda_runtime\.h: No such file|cannot open source file", "the toolkit is not complete: install it again"),
    (
        r"internal error|Segmentation fault|nvcc error\s*: '\w+' died",
        "the compiler has a defect: try another (CNNGEN_NVCC)",
    ),
    (r"warning", "a warning is an error here: report this as a defect of cnngen"),
)


def build(
    tree: SourceTree,
    compiler: CudaCompiler,
    folder: Path,
    *,
    timeout: float | None = None,
    jobs: int | None = None,
    keep_log_in: Path | None = None,
) -> Path:
    """Write `tree` to `folder`, compile its unit to `<folder>/<tree.name>.fatbin`, and return that path.

    `command.txt`, `build.log` and `kernels.txt` (registers and spills of every kernel) stay beside it. The arguments,
    and what holds after a failure, are those of `cnngen.backends.building.carry_out`.

    Raises ToolchainError, also where the fatbin lacks an architecture or is not whole; FolderError.
    """
    recipe = _recipe(tree, compiler)
    product = folder / recipe.outputs[-1]

    def check(finished: Sequence[Finished]) -> None:
        if problem := _problem(product, tree):
            logs = folder if keep_log_in is None else keep_log_in
            raise failure(finished[-1], f"exit code 0, but {problem}", logs)
        uses = kernel_report.parse("\n".join(command.output for command in finished))
        try:
            put(folder / REPORT, memoryview(kernel_report.table(uses).encode()))
        except OSError as error:
            raise FolderError.of(folder, error) from error

    return carry_out(
        recipe,
        tree,
        folder,
        environment=_environment,
        timeout=timeout,
        jobs=jobs,
        keep_log_in=keep_log_in,
        after=check,
    )


def commands(tree: SourceTree, compiler: CudaCompiler) -> tuple[tuple[Command, ...], ...]:
    """The commands in their stages; file names are relative to the build folder.

    Raises ToolchainError where the compiler does not know an architecture.
    """
    check_name(tree.name)
    (unit,) = tree.units
    check_name(unit)
    missing = [name for name in tree.architectures if name not in compiler.architectures]
    if missing:
        raise ToolchainError(
            f"{compiler} does not compile for {', '.join(missing)}; it knows {', '.join(compiler.architectures)}",
            remedy="choose others (--arch), or another version of CUDA (CNNGEN_NVCC)",
        )
    newest = max(tree.architectures, key=_number)
    output = f"{tree.name}.fatbin"
    ptx = newest.replace("sm_", "compute_")
    if compiler.kind == "nvcc":
        pairs = [(name.replace("sm_", "compute_"), name) for name in tree.architectures]
        pairs.append((ptx, ptx))
        words = [word for virtual, real in pairs for word in ("-gencode", f"arch={virtual},code={real}")]
        parallel = ("--threads", "0", *(("--split-compile", "0") if compiler.version >= PARALLEL_SINCE else ()))
        return (((*compiler.command, "-fatbin", *FLAGS, *parallel, *words, unit, "-o", output),),)
    pieces = [(name, f"{tree.name}.{name}") for name in (*tree.architectures, ptx)]
    compilations = tuple((*compiler.command, name, unit, piece) for name, piece in pieces)
    link = (sys.executable, "-I", fatbin.__file__, *(piece for _, piece in pieces), output)
    return (compilations, (link,))


def _recipe(tree: SourceTree, compiler: CudaCompiler) -> Recipe:
    stages = commands(tree, compiler)
    lines = [f"# {compiler}", "# sh -e command.txt, in this folder, builds the fatbin again."]
    lines += [shlex.join(command) for stage in stages for command in stage]
    return Recipe(stages, "\n".join(lines) + "\n", INSTALL, HINTS)


def _problem(product: Path, tree: SourceTree) -> str | None:
    """What is wrong with the fatbin."""
    try:
        codes = fatbin.read(product.read_bytes())
    except OSError as error:
        return f"{product.name} cannot be read: {error.strerror}"
    except ValueError as error:
        return f"{product.name} is no whole fatbin: {error}"
    made = {code.name for code in codes}
    missing = [name for name in tree.architectures if name not in made]
    return f"{product.name} has no code for {', '.join(missing)}" if missing else None


def _environment(scratch: Path) -> Mapping[str, str]:
    """Messages in English, temporary files where they are deleted after a failure."""
    return {**os.environ, "LC_ALL": "C", "TMPDIR": str(scratch)}


def _number(architecture: str) -> int:
    return int(re.sub(r"\D", "", architecture))
