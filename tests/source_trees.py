"""Hand-made source trees and compilers for the tests of the toolchain and the cache."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
from pathlib import Path

import numpy as np

from cnngen.backends.cpu.toolchain import Compiler
from cnngen.backends.sources import SourceTree

ADD = """#include "shared.h"
EXPORT int add(int a, int b) { return a + b + OFFSET; }
"""
WEIGHTS = """#include "shared.h"
extern const int32_t weights[];
EXPORT int weight(int i) { return weights[i]; }
"""
SHARED = """#include <stdint.h>
#define OFFSET 0
#define EXPORT __attribute__((visibility("default")))
"""
EMBED = """.section .rodata
.globl weights
.hidden weights
.balign 64
weights:
.incbin "weights.bin"
.section .note.GNU-stack,"",%progbits
"""


def adder(
    name: str = "adder", *, weights: tuple[int, ...] = (7, 8, 9), offset: int = 0, **changes: object
) -> SourceTree:
    """A library with `add(a, b)` and `weight(i)`, the latter from a blob that the assembler embeds."""
    fields: dict[str, object] = {
        "name": name,
        "files": {
            "shared.h": SHARED.replace("OFFSET 0", f"OFFSET {offset}"),
            "add.c": ADD,
            "units/weights.c": WEIGHTS,
            "weights.S": EMBED,
        },
        "blobs": {"weights.bin": np.array(weights, np.int32)},
        "units": ("add.c", "units/weights.c", "weights.S"),
        "flags": (),
        "links": (),
    }
    return SourceTree(**{**fields, **changes})  # type: ignore[arg-type]


def call(library: Path, function: str, *arguments: int) -> int:
    """Call a function of a library. A copy is loaded: the loader would return an older one of the same path."""
    copy = library.with_name(f"{library.stem}-{os.urandom(4).hex()}.so")
    shutil.copyfile(library, copy)
    try:
        return int(ctypes.CDLL(str(copy))[function](*arguments))
    finally:
        copy.unlink()


def script(path: Path, body: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def wrapper(path: Path, body: str, real: Compiler) -> Compiler:
    """A compiler that runs `body` for each file or link, with the real compiler as `$REAL`."""
    script(path, f"REAL={shlex.quote(real.command[0])}\n{body}")
    return Compiler((str(path),), "gcc", "gcc version 0 (a test)", "x86_64-linux-gnu", f"test {path} {body}")


def snapshot(folder: Path) -> set[str]:
    """The names of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
