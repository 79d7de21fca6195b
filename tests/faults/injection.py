"""Makes the calls to the system that may fail do so: the n-th of them, for every n."""

from __future__ import annotations

import builtins
import ctypes
import errno
import fcntl
import io
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CALLS: tuple[tuple[Any, str], ...] = (
    *((os, name) for name in ("open", "write", "read", "pread", "preadv", "fsync", "fstat", "stat", "lstat")),
    *((os, name) for name in ("mkdir", "rmdir", "unlink", "rename", "replace", "utime", "chmod", "statvfs")),
    *((os, name) for name in ("listdir", "scandir")),
    (io, "open"),
    (builtins, "open"),
    (fcntl, "flock"),
    (subprocess, "Popen"),
    (ctypes, "CDLL"),
)  # fmt: skip
ALWAYS = ("Popen", "CDLL")
"""Calls that count wherever their files are."""

CLEANING = ("unlink", "rmdir", "scandir", "listdir", "rename", "replace")
"""Where one of these fails, something may be left behind: what was to be removed or put in place by it."""

WRITING = ("write", "fsync", "mkdir", "rename", "replace", "utime", "flock", "Popen")
"""What a file system that is full or read-only refuses from some moment on."""

CODES = (errno.ENOSPC, errno.EACCES, errno.EIO)


@dataclass
class Calls:
    """Counts calls that touch files below `folder`; fails number `failing` and, `for_good`, all writes after it."""

    folder: Path
    failing: int = 0
    code: int = errno.EIO
    for_good: bool = False
    made: list[str] = field(default_factory=list)
    _inside: int = 0

    @property
    def failed(self) -> str:
        """The call that failed, in words; empty where none has."""
        return self.made[self.failing - 1] if 0 < self.failing <= len(self.made) else ""

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            # One of these functions may call others: the outermost counts.
            if self._inside or not (name in ALWAYS or self._concerns(arguments)):
                return real(*arguments, **options)
            self.made.append(f"{name} {arguments[0]}")
            number = len(self.made)
            later = self.for_good and 0 < self.failing < number and name in WRITING
            if number == self.failing or later:
                raise OSError(self.code, os.strerror(self.code), str(arguments[0]))
            self._inside += 1
            try:
                return real(*arguments, **options)
            finally:
                self._inside -= 1

        return call

    def _concerns(self, arguments: tuple[Any, ...]) -> bool:
        """Whether the call is about a file below the folder."""
        if not arguments:
            return False
        first = arguments[0]
        if isinstance(first, int):
            try:
                first = _readlink(f"/proc/self/fd/{first}")
            except OSError:
                return False
        return isinstance(first, str | os.PathLike) and str(first).startswith(str(self.folder))


_readlink = os.readlink


@contextmanager
def injected(calls: Calls) -> Iterator[Calls]:
    """Count and fail calls while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in CALLS:
            patch.setattr(module, name, calls.wrap(name, getattr(module, name)))
        yield calls
