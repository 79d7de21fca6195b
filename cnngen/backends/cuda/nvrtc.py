"""Compiles device code with NVRTC, CUDA's compiler as a library; a program of its own.

It runs in a process of its own, so that a build with NVRTC has a time limit and cannot take the caller with it, as one
with nvcc. Needs Python's standard library only:

    python -I nvrtc.py LIBRARY                           prints version, file and architectures of NVRTC
    python -I nvrtc.py LIBRARY sm_80 lenet.cu OUT        writes a cubin (or PTX for compute_80), prints what was said
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

OPTIONS = ("-std=c++17", "-I.", "--fmad=false")
COMPILED = 0
COMPILATION_FAILED = 6


class NvrtcError(Exception):
    """NVRTC cannot be loaded, or refused something."""


class Nvrtc:
    """The functions of the library `name`, a path or what the system's loader finds."""

    def __init__(self, name: str) -> None:
        try:
            folder = Path(name).parent
            if folder != Path():
                # NVRTC opens this one by name: in a wheel's folder it is found only if it is loaded already.
                for builtins in sorted(folder.glob("libnvrtc-builtins.so*")):
                    ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
            self._library = ctypes.CDLL(name)
            self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        except (OSError, AttributeError) as error:
            raise NvrtcError(str(error)) from error

    def _call(self, function: str, *arguments: object) -> None:
        try:
            result = getattr(self._library, f"nvrtc{function}")(*arguments)
        except AttributeError as error:
            raise NvrtcError(f"it is too old: {error}") from error
        if result != COMPILED:
            raise NvrtcError(f"nvrtc{function}: {self._library.nvrtcGetErrorString(result).decode()}")

    @property
    def version(self) -> tuple[int, int]:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("Version", ctypes.byref(major), ctypes.byref(minor))
        return major.value, minor.value

    @property
    def architectures(self) -> list[int]:
        """Compute capabilities that it compiles for, such as 80."""
        count = ctypes.c_int()
        self._call("GetNumSupportedArchs", ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self._call("GetSupportedArchs", found)
        return sorted(found)

    def compile(self, text: bytes, name: str, architecture: str) -> tuple[bytes | None, str]:
        """The cubin for `sm_NN` or the PTX for `compute_NN`, and what the compiler said; no code where it failed."""
        program = ctypes.c_void_p()
        self._call("CreateProgram", ctypes.byref(program), text, name.encode(), 0, None, None)
        try:
            words = [f"--gpu-architecture={architecture}", *OPTIONS]
            cubin = architecture.startswith("sm_")
            if cubin:
                words.append("--ptxas-options=-v")
            options = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
            result = self._library.nvrtcCompileProgram(program, len(words), options)
            log = self._fetch("ProgramLog", program).rstrip(b"\0").decode(errors="replace")
            if result not in (COMPILED, COMPILATION_FAILED):
                log += f"\nnvrtc: {self._library.nvrtcGetErrorString(result).decode()}"
            return (self._fetch("CUBIN" if cubin else "PTX", program) if result == COMPILED else None), log
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _fetch(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"Get{what}Size", program, ctypes.byref(size))
        data = ctypes.create_string_buffer(size.value)
        self._call(f"Get{what}", program, data)
        return data.raw


def file_of(name: str) -> str:
    """The file that a loaded library comes from, as far as the system says."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return name
    return next((line.split(maxsplit=5)[5] for line in lines if line.endswith(Path(name).name)), name)


def main(arguments: list[str]) -> int:
    """Run the program with these arguments; returns its exit code."""
    try:
        library = Nvrtc(arguments[0])
        if len(arguments) == 1:
            major, minor = library.version
            print(f"nvrtc {major}.{minor}\n{file_of(arguments[0])}\n{' '.join(map(str, library.architectures))}")
            return 0
        architecture, source, output = arguments[1:]
        code, log = library.compile(Path(source).read_bytes(), source, architecture)
    except (NvrtcError, OSError) as error:
        print(f"nvrtc: {error}")
        return 1
    print(log)
    # As nvcc's -Werror all-warnings, which NVRTC does not have.
    if code is None or ": warning " in log:
        return 1
    Path(output).write_bytes(code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
