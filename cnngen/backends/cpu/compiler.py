"""Finds the C compiler, and learns who it is in one short run; or, from files alone, whether it is still the same."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cnngen.errors import ToolchainError

Kind = Literal["gcc", "clang", "zig"]

VARIABLES = ("CNNGEN_CC", "CC")
CANDIDATES = ("gcc", "cc", "clang")
ENVIRONMENT = (
    *VARIABLES,
    *("COMPILER_PATH", "GCC_EXEC_PREFIX", "CCC_OVERRIDE_OPTIONS", "CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH"),
    *("SDKROOT", "MACOSX_DEPLOYMENT_TARGET", "ZIG_LIB_DIR"),
)
"""Variables that change which compiler is run, or what it makes of the same command."""

LAUNCHERS = ("ccache", "distcc", "icecc", "sccache")

PROBE_SECONDS = 30.0
INSTALL = "install gcc or clang, or the compiler that comes as a Python package: pip install 'cnngen[zig]'"


@dataclass(frozen=True)
class Compiler:
    """A C compiler driver. `command` starts it; `identity` changes whenever it may generate other code."""

    command: tuple[str, ...]
    kind: Kind
    version: str
    target: str
    identity: str

    def __str__(self) -> str:
        return f"{self.version}, {self.target} ({shlex.join(self.command)})"


def find_compiler() -> Compiler:
    """The compiler to use: `$CNNGEN_CC`, `$CC`, gcc, cc or clang on the PATH, or the ziglang package.

    A variable that is set decides, and is never passed over: what it names must work. Raises ToolchainError.
    """
    for variable in VARIABLES:
        if text := os.environ.get(variable, "").strip():
            return _from_variable(variable, text)
    failures: list[str] = []
    for name in CANDIDATES:
        if found := shutil.which(name):
            try:
                return _probe((str(Path(found).absolute()),))
            except ToolchainError as error:
                failures.append(error.problem)
    if zig := _zig_package():
        return _probe(zig)
    tried = f" ({'; '.join(failures)})" if failures else ""
    raise ToolchainError(f"no C compiler: none of {', '.join(CANDIDATES)} works on the PATH{tried}", remedy=INSTALL)


def surroundings() -> list[str]:
    """All that `find_compiler` goes by, as text, without running anything: the same text, the same answer.

    That is the variables, and path, size and time of change of each program that may be asked. What a driver
    starts in its turn is not in it: see `generator`.
    """
    facts = [f"{name}={os.environ.get(name)}" for name in ENVIRONMENT]
    text = next((text for variable in VARIABLES if (text := os.environ.get(variable, "").strip())), "")
    try:
        words = shlex.split(text)
    except ValueError:
        return facts  # `find_compiler` refuses it
    found = [program for word in words or CANDIDATES if (program := shutil.which(word))]
    if not words:
        found += (_zig_package() or ())[:1]
    if any(_looks_further(program) for program in found):
        facts.append(f"PATH={os.environ.get('PATH')}")
    return facts + [file_facts(program) for program in found]


def _looks_further(program: str) -> bool:
    """Whether a program starts a compiler that it finds on the PATH: a known launcher, or a script."""
    path = Path(program).resolve()
    if path.stem in LAUNCHERS:
        return True
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def file_facts(path: str) -> str:
    """A file by path, size and time of change: what tells one installed program from the next.

    In whole seconds, as archives and container images keep it.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  # on every warm start
    except OSError as error:
        return f"{path}: {error.strerror}"
    return f"{os.path.realpath(path)} {status.st_size} {int(status.st_mtime)}"


def generator(compiler: Compiler) -> str:
    """The program that a driver, or a script in front of it, starts to generate code; the driver where it cannot say.

    It may change behind a wrapper such as ccache, whose own file stays the same.
    """
    program = {"gcc": "cc1", "clang": "clang"}.get(compiler.kind)
    if program is not None:
        from cnngen.backends.process import Processes

        try:
            finished = Processes(seconds=PROBE_SECONDS).run((*compiler.command, f"-print-prog-name={program}"))
        except OSError:
            return compiler.command[0]
        path = Path(finished.output.strip())
        if finished.ok and path.is_absolute() and os.access(path, os.X_OK):
            return str(path)
    return compiler.command[0]


def _from_variable(variable: str, text: str) -> Compiler:
    remedy = f"set {variable} to the command of a gcc or clang, or unset it"
    place = f"{variable}={text!r}"
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ToolchainError(f"{place} cannot be split into words: {error}", remedy=remedy) from error
    found = shutil.which(words[0])
    if found is None:
        exists = os.path.exists(words[0])  # noqa: PTH110  # False, too, where the system does not say
        problem = f"{words[0]} is not executable" if exists else f"there is no program {words[0]}"
        raise ToolchainError(f"{place}: {problem}", remedy=remedy)
    try:
        return _probe((str(Path(found).absolute()), *words[1:]))
    except ToolchainError as error:
        raise ToolchainError(f"{place}: {error.problem}", remedy=remedy) from error


def _zig_package() -> tuple[str, ...] | None:
    """The `zig cc` of the ziglang package, called directly: starting Python first would cost each compilation."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        return None
    zig = Path(next(iter(spec.submodule_search_locations))) / "zig"
    return (str(zig), "cc") if os.access(zig, os.X_OK) else None


def _probe(command: tuple[str, ...]) -> Compiler:
    """Ask a driver who it is; asked again only when its file has changed."""
    try:
        status = Path(command[0]).stat()
    except OSError as error:
        raise ToolchainError(f"{command[0]}: {error.strerror}", remedy=INSTALL) from error
    return _ask(command, status.st_size, status.st_mtime_ns)


@functools.cache
def _ask(command: tuple[str, ...], size: int, modified: int) -> Compiler:
    """Run `command -v`: the one option that prints version, target and configuration at once, in gcc and clang alike.

    The driver's size and time of change go into the identity because `zig cc -v` does not name zig's own version.
    """
    from cnngen.backends.process import Processes  # here: a warm start asks nobody

    shown = f"`{shlex.join((*command, '-v'))}`"
    try:
        finished = Processes(seconds=PROBE_SECONDS, env={**os.environ, "LC_ALL": "C"}).run((*command, "-v"))
    except OSError as error:
        raise ToolchainError(f"{shown} cannot be run: {error.strerror}", remedy=INSTALL) from error
    if not finished.ok:
        said = f": {finished.output.strip().splitlines()[-1]}" if finished.output.strip() else ""
        raise ToolchainError(f"{shown}: {finished.ending}{said}", remedy=INSTALL)
    version = re.search(r"^.*\b(gcc|clang) version \S.*$", finished.output, re.MULTILINE)
    target = re.search(r"^Target: *(\S+)", finished.output, re.MULTILINE)
    if version is None or target is None:
        raise ToolchainError(f"{shown} does not answer like gcc or clang", remedy=INSTALL)
    is_zig = any(Path(word).stem in ("zig", "ziglang") for word in command)
    kind: Kind = "zig" if is_zig else "gcc" if version[1] == "gcc" else "clang"
    digest = hashlib.sha256(f"{command}\n{size} {modified}\n{finished.output}".encode()).hexdigest()
    text = version[0].strip()
    return Compiler(command, kind, text, target[1], f"{kind}; {text}; {target[1]}; {digest[:32]}")
