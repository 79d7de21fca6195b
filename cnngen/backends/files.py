"""Writes what a backend emits: whole files or none, only where something changed, never through a symbolic link."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np

from cnngen.backends.sources import SourceTree, StoredBlob, as_bytes
from cnngen.errors import ToolchainError

CHUNK = 1 << 20


class FolderError(ToolchainError):
    """The folder of a build cannot be written: full, read-only, not a folder, or a symbolic link."""

    @classmethod
    def of(cls, folder: Path, problem: str | OSError) -> Self:
        """The error for `folder`, from what the system or we have against it."""
        if isinstance(problem, OSError):
            problem = problem.strerror or str(problem)
        return cls(f"cannot write to {folder}: {problem}", remedy="free some space, or choose another folder")


def write_tree(tree: SourceTree, folder: Path) -> None:
    """Write every text and blob of `tree` below `folder`; files that hold the same bytes already stay untouched.

    Raises FolderError.
    """
    make_folder(folder)
    try:
        for name, text in tree.files.items():
            put(_inside(folder, name), memoryview(text.encode()))
        for name, blob in tree.blobs.items():
            path = _inside(folder, name)
            if isinstance(blob, StoredBlob):
                _copy(blob.descriptor, path)
            else:
                put(path, as_bytes(blob))
    except OSError as error:
        raise FolderError.of(folder, error) from error


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents. Raises FolderError, also where it is a symbolic link."""
    try:
        if folder.is_symlink():
            raise FolderError.of(folder, "it is a symbolic link, which is not followed")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError.of(folder, error) from error


def put(path: Path, data: memoryview) -> None:
    """Make `path` a regular file of these bytes, unless it is one; a symbolic link there is replaced."""
    if not _holds(path, data):
        _replace(path, lambda descriptor: write_all(descriptor, data))


def copy(source: Path, path: Path) -> None:
    """Make `path` a copy of `source` that shares nothing with it, unless it is one already.

    Never a hard link: a write through the copy would then reach the original.
    """
    with source.open("rb") as file:
        if _copy(file.fileno(), path):
            shutil.copymode(source, path)


def _copy(source: int, path: Path) -> bool:
    """Make `path` a regular file with the bytes of the open file `source`; False where it was one already."""
    if _same(path, source):
        return False
    _replace(path, lambda descriptor: _pump(source, descriptor))
    return True


def check_name(name: str) -> None:
    """Refuse a name that would lead out of its folder or be read as an option: a defect of a backend."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or name.startswith("-") or "\0" in name:
        raise ToolchainError(f"a backend emitted a file called {name!r}", remedy="report this as a defect of cnngen")


def write_all(descriptor: int, data: memoryview) -> None:
    """Write every byte, however many calls that takes."""
    while data:
        data = data[os.write(descriptor, data) :]


def _inside(folder: Path, name: str) -> Path:
    """The path of a tree's file, its parent folders made; none of them may be a symbolic link."""
    check_name(name)
    path = folder / name
    for parent in reversed(path.relative_to(folder).parents[:-1]):
        make_folder(folder / parent)
    return path


def _replace(path: Path, write: Callable[[int], None]) -> None:
    """Write beside `path`, then rename over it: readers see the old file or the new one, whole."""
    beside = path.parent / f".cnngen-{os.getpid()}-{secrets.token_hex(4)}"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        try:
            write(descriptor)
        finally:
            os.close(descriptor)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _open_regular(path: Path) -> int | None:
    """A descriptor of a regular file, or None; waits for no FIFO and follows no link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with suppress(OSError):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
    os.close(descriptor)
    return None


def _holds(path: Path, data: memoryview) -> bool:
    """Whether `path` is a regular file of these bytes; not where it cannot be read."""
    descriptor = _open_regular(path)
    if descriptor is None:
        return False
    try:
        if os.fstat(descriptor).st_size != len(data):
            return False
        for start in range(0, len(data), CHUNK):
            piece = data[start : start + CHUNK]
            held = os.pread(descriptor, len(piece), start)
            # NumPy compares at the speed of memory; memoryview == goes byte by byte.
            if len(held) != len(piece) or not np.array_equal(np.frombuffer(held, np.uint8), np.asarray(piece)):
                return False
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _same(path: Path, source: int) -> bool:
    descriptor = _open_regular(path)
    if descriptor is None:
        return False
    try:
        size = os.fstat(source).st_size
        return os.fstat(descriptor).st_size == size and all(
            os.pread(descriptor, CHUNK, start) == os.pread(source, CHUNK, start) for start in range(0, size, CHUNK)
        )
    finally:
        os.close(descriptor)


def _pump(source: int, descriptor: int) -> None:
    place = 0
    while piece := os.pread(source, CHUNK, place):
        write_all(descriptor, memoryview(piece))
        place += len(piece)
