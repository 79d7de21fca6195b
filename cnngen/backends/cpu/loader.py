"""Loads a generated library into this process through cffi."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cffi

from cnngen.errors import RunError


@dataclass(frozen=True, eq=False)
class Library:
    """The functions of a generated library. They release the GIL while they run."""

    ffi: Any
    handle: Any
    run: Any
    run_steps: Any
    arena_bytes: int


def load(path: Path, name: str, inputs: int, outputs: int, threads: int) -> Library:
    """Load the library of the network `name` with so many inputs and outputs."""
    ffi = cffi.FFI()
    arguments = ["const void *"] * inputs + ["void *"] * (outputs + 1)
    ffi.cdef(
        f"size_t {name}_arena_size(void);"
        f"void {name}_run({', '.join(arguments)});"
        f"void {name}_run_steps(int, int, const void **, void **, void *, const void *);"
    )
    try:
        # OpenMP's worker threads outlive a call, even the interpreter: such code is never unmapped.
        stay = ffi.RTLD_NODELETE if threads > 1 else 0
        handle = ffi.dlopen(str(path.absolute()), ffi.RTLD_NOW | stay)
    except OSError as error:
        raise RunError(f"cannot load {path}: {error}", remedy="delete the file and compile again") from error
    return Library(
        ffi,
        handle,
        getattr(handle, f"{name}_run"),
        getattr(handle, f"{name}_run_steps"),
        int(getattr(handle, f"{name}_arena_size")()),
    )
