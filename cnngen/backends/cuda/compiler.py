"""Finds what compiles device code: nvcc, or NVRTC where there is no nvcc; asks it who it is, in two short runs."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cnngen.backends.cpu.compiler import PROBE_SECONDS, file_facts
from cnngen.errors import ToolchainError

Kind = Literal["nvcc", "nvrtc"]

VARIABLE = "CNNGEN_NVCC"
TOOLKIT_VARIABLES = ("CUDA_HOME", "CUDA_PATH")
STEERING = ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS", "NVCC_CCBIN", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH")
"""Variables that change what a compiler makes of the same command."""
ENVIRONMENT = (VARIABLE, *TOOLKIT_VARIABLES, "PATH", "LD_LIBRARY_PATH", *STEERING)
"""These, and the ones that decide which compiler it is."""

USUAL_TOOLKIT = Path("/usr/local/cuda")
SONAMES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2")
"""Under which the system's loader may find NVRTC."""
INSTALL = (
    "install the CUDA toolkit, or NVRTC as a Python package (pip install nvidia-cuda-nvrtc), "
    f"or set {VARIABLE} to an nvcc; --emit-only writes the sources without a compiler, "
    "and --target cuda-emulated checks them on the CPU"
)


@dataclass(frozen=True)
class CudaCompiler:
    """nvcc, or NVRTC through a program of ours. `identity` changes whenever it may generate other code.

    `architectures` are those that it compiles for, such as sm_90; `programs` the files that it is made of.
    """

    command: tuple[str, ...]
    kind: Kind
    version: tuple[int, int]
    architectures: tuple[str, ...]
    programs: tuple[str, ...]
    identity: str

    def __str__(self) -> str:
        return f"{self.kind} {self.version[0]}.{self.version[1]} ({self.programs[0]})"


def find_compiler() -> CudaCompiler:
    """The compiler to use: `$CNNGEN_NVCC`, or nvcc in `$CUDA_HOME`, `$CUDA_PATH`, on the PATH, in /usr/local/cuda or
    from the nvidia-cuda-nvcc package; else NVRTC in the same places.

    `$CNNGEN_NVCC` (the command of an nvcc, or the path of a libnvrtc) decides where it is set, and must work. Raises
    ToolchainError.
    """
    if text := os.environ.get(VARIABLE, "").strip():
        return _from_variable(text)
    failures: list[str] = []
    for path in nvcc_candidates():
        try:
            return _nvcc((path,))
        except ToolchainError as error:
            failures.append(error.problem)
    for name in nvrtc_candidates():
        try:
            return _nvrtc(name)
        except ToolchainError as error:
            if "/" in name:
                failures.append(error.problem)
    tried = f" ({'; '.join(failures)})" if failures else ""
    raise ToolchainError(f"no compiler for CUDA: neither nvcc nor NVRTC works here{tried}", remedy=INSTALL)


def surroundings() -> list[str]:
    """All that `find_compiler` goes by, as text, without running anything: the same text, the same answer."""
    facts = [f"{name}={os.environ.get(name)}" for name in ENVIRONMENT]
    text = os.environ.get(VARIABLE, "").strip()
    try:
        words = shlex.split(text)
    except ValueError:
        return facts  # `find_compiler` refuses it
    programs = [found for word in words if (found := shutil.which(word) or word)]
    return facts + [file_facts(path) for path in programs or (*nvcc_candidates(), *nvrtc_candidates())]


def nvcc_candidates() -> Iterator[str]:
    """Every nvcc that there is, the preferred one first."""
    places = [folder / "bin/nvcc" for folder in _toolkits()]
    if found := shutil.which("nvcc"):
        places.append(Path(found).absolute())
    places += [USUAL_TOOLKIT / "bin/nvcc", *_in_packages("*/bin/nvcc")]
    seen: set[Path] = set()
    for place in places:
        if place not in seen and os.access(place, os.X_OK) and place.is_file():
            seen.add(place)
            yield str(place)


def nvrtc_candidates() -> Iterator[str]:
    """Every NVRTC that may be there, the preferred one first; the last are names for the system's loader."""
    for folder in (*_toolkits(), USUAL_TOOLKIT):
        for path in sorted((folder / "lib64").glob("libnvrtc.so.*"), reverse=True):
            yield str(path)
    for path in _in_packages("*/lib/libnvrtc.so.*"):
        yield str(path)
    yield from SONAMES


def _toolkits() -> list[Path]:
    return [Path(folder) for name in TOOLKIT_VARIABLES if (folder := os.environ.get(name, "").strip())]


def _in_packages(pattern: str) -> list[Path]:
    """Files of the nvidia-* packages, which share the folder nvidia/ (nvidia/cu13/..., nvidia/cuda_nvcc/...)."""
    spec = importlib.util.find_spec("nvidia")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return [path for folder in folders for path in sorted(Path(folder).glob(pattern), reverse=True)]


def _from_variable(text: str) -> CudaCompiler:
    remedy = f"set {VARIABLE} to the command of an nvcc or the path of a libnvrtc, or unset it"
    place = f"{VARIABLE}={text!r}"
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ToolchainError(f"{place} cannot be split into words: {error}", remedy=remedy) from error
    try:
        if Path(words[0]).name.startswith("libnvrtc"):
            return _nvrtc(words[0])
        found = shutil.which(words[0])
        if found is None:
            exists = os.path.exists(words[0])  # noqa: PTH110  # False, too, where the system does not say
            problem = f"{words[0]} is not executable" if exists else f"there is no program {words[0]}"
            raise ToolchainError(problem)
        return _nvcc((str(Path(found).absolute()), *words[1:]))
    except ToolchainError as error:
        raise ToolchainError(f"{place}: {error.problem}", remedy=remedy) from error


def _nvcc(command: tuple[str, ...]) -> CudaCompiler:
    return _ask_nvcc(command, file_facts(command[0]), _variables())


def _nvrtc(library: str) -> CudaCompiler:
    return _ask_nvrtc(library, file_facts(library))


def _variables() -> str:
    return "\n".join(f"{name}={os.environ.get(name)}" for name in STEERING)


@functools.cache
def _ask_nvcc(command: tuple[str, ...], facts: str, variables: str) -> CudaCompiler:
    """Who an nvcc is; asked again only when its file or the variables have changed."""
    said = _run((*command, "--version"))
    release = re.search(r"release (\d+)\.(\d+), V(\S+)", said)
    if release is None:
        raise ToolchainError(f"`{shlex.join((*command, '--version'))}` does not answer like nvcc", remedy=INSTALL)
    names = re.findall(r"^compute_(\w+)", _run((*command, "--list-gpu-arch")), re.MULTILINE)
    if not names:
        raise ToolchainError(f"`{shlex.join((*command, '--list-gpu-arch'))}` names no architecture", remedy=INSTALL)
    top = re.search(
        r"^#\$ TOP=(.+?)\s*$", _run((*command, "--dryrun", "-cubin", "-x", "cu", "/dev/null")), re.MULTILINE
    )
    programs = [command[0]]
    if top is not None:  # a wrapper stays the same when the toolkit behind it changes
        parts = (Path(os.path.normpath(top[1])) / part for part in ("bin/ptxas", "nvvm/bin/cicc"))
        programs += [str(path) for path in parts if path.is_file()]
    version = (int(release[1]), int(release[2]))
    architectures = tuple(f"sm_{name}" for name in names)
    return _compiler(command, "nvcc", version, architectures, programs, f"nvcc V{release[3]}\n{facts}\n{variables}")


@functools.cache
def _ask_nvrtc(library: str, facts: str) -> CudaCompiler:
    """Who an NVRTC is."""
    command = (sys.executable, "-I", str(Path(__file__).with_name("nvrtc.py")), library)
    said = _run(command)
    found = re.fullmatch(r"nvrtc (\d+)\.(\d+)\n(.+)\n([\d ]+)\n", said)
    if found is None:
        raise ToolchainError(f"{library} does not answer like NVRTC", remedy=INSTALL)
    architectures = tuple(f"sm_{number}" for number in found[4].split())
    version = (int(found[1]), int(found[2]))
    command = (*command[:-1], found[3] if "/" not in library else library)
    return _compiler(command, "nvrtc", version, architectures, [command[-1]], f"NVRTC {facts}\n{said}")


def _compiler(
    command: tuple[str, ...],
    kind: Kind,
    version: tuple[int, int],
    architectures: tuple[str, ...],
    programs: list[str],
    facts: str,
) -> CudaCompiler:
    files = "\n".join(file_facts(program) for program in programs)
    digest = hashlib.sha256(f"{command}\n{files}\n{facts}".encode()).hexdigest()
    identity = f"{kind}; {version[0]}.{version[1]}; {digest[:32]}"
    return CudaCompiler(command, kind, version, architectures, tuple(programs), identity)


def _run(command: tuple[str, ...]) -> str:
    """What a command says. Raises ToolchainError where it fails."""
    from cnngen.backends.process import Processes  # here: a warm start asks nobody

    shown = f"`{shlex.join(command)}`"
    try:
        finished = Processes(seconds=PROBE_SECONDS, env={**os.environ, "LC_ALL": "C"}).run(command)
    except OSError as error:
        raise ToolchainError(f"{shown} cannot be run: {error.strerror}", remedy=INSTALL) from error
    if not finished.ok:
        said = f": {finished.output.strip().splitlines()[-1]}" if finished.output.strip() else ""
        raise ToolchainError(f"{shown}: {finished.ending}{said}", remedy=INSTALL)
    return finished.output
