"""Loads a generated library into this process through cffi."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any, NamedTuple

import _cffi_backend  # cffi without its C parser in Python, which takes longer to import than a network to load

from cnngen.backends.cpu import huge_pages
from cnngen.errors import RunError

FFI = _cffi_backend.FFI()


class Library(NamedTuple):
    """The functions of a generated library. They release the GIL while they run."""

    run: Any
    run_steps: Any
    arena_bytes: int


def load(path: Path, name: str, inputs: int, outputs: int, *, checked: bool = False) -> Library:
    """Load the library of the network `name` with so many inputs and outputs.

    A library that is already loaded from the same path is shared. Weights of a large one are moved into huge pages
    (`huge_pages`). Raises `RunError`. The code stays
    mapped until the process ends: OpenMP's worker threads, and calls in other threads, outlive the
    last reference to a network. A `checked` library says after each run what it found wrong, which then
    is a `RunError`.
    """
    try:
        handle = ctypes.CDLL(str(path.absolute()), os.RTLD_NOW | os.RTLD_LOCAL)
        functions = [getattr(handle, f"{name}_{part}") for part in ("run", "run_steps", "arena_size")]
    except (OSError, AttributeError) as error:
        raise RunError(f"cannot load {path}: {error}", remedy="delete the file and compile again") from error
    huge_pages.move(path)
    run, run_steps, arena_size = (ctypes.cast(function, ctypes.c_void_p).value for function in functions)
    found = Library(
        _entry(run, inputs + outputs + 1),
        FFI.cast("void(*)(int, int, const void **, void **, void *, const void *)", run_steps),
        int(FFI.cast("size_t(*)(void)", arena_size)()),
    )
    return _checked(found, getattr(handle, f"{name}_error")) if checked else found


def _entry(address: Any, pointers: int) -> Any:
    """The function at `address`, which takes so many pointers."""
    try:
        return FFI.cast(f"void(*)({', '.join(['void *'] * pointers)})", address)
    except _cffi_backend.FFI.error:  # cffi describes types of up to about 1,000 words
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * pointers)(address)
        return lambda *arguments: function(*(int(FFI.cast("uintptr_t", argument)) for argument in arguments))


def _checked(library: Library, error: Any) -> Library:
    """The same functions, but with an exception for what they found wrong."""
    error.restype = ctypes.c_char_p

    def raising(function: Any) -> Any:
        def run(*arguments: Any) -> None:
            function(*arguments)
            if found := error():
                raise RunError(found.decode(), remedy="report this as a defect of cnngen")

        return run

    return Library(raising(library.run), raising(library.run_steps), library.arena_bytes)
