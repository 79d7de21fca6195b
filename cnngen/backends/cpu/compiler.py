"""Finds the C compiler, and learns who it is in one short run."""

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

from cnngen.backends.process import Processes
from cnngen.errors import ToolchainError

Kind = Literal["gcc", "clang", "zig"]

VARIABLES = ("CNNGEN_CC", "CC")
CANDIDATES = ("gcc", "cc", "clang")
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


def _from_variable(variable: str, text: str) -> Compiler:
    remedy = f"set {variable} to the command of a gcc or clang, or unset it"
    place = f"{variable}={text!r}"
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ToolchainError(f"{place} cannot be split into words: {error}", remedy=remedy) from error
    found = shutil.which(words[0])
    if found is None:
        exists = Path(words[0]).exists()
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
