"""Opening what a user named: regular files only, through one handle, without following tricks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cnngen.errors import CnngenError, Source, SpecError
from cnngen.frontends.record import Place
from cnngen.resources import specs_folder

MAX_SPEC_BYTES = 1_000_000

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


@contextmanager
def open_regular(
    path: Path, error: type[CnngenError], *, source: Source | None = None, missing: str | None = None
) -> Iterator[BinaryIO]:
    """The regular file at `path`, open for reading; the size and identity are those of this handle.

    Raises `error` where it does not exist (with the remedy `missing`), cannot be read, is something
    else (a named pipe would block, a device never ends), or is changed while it is open.
    """
    subject = "" if source is None else f"{path} "
    source = source or Source(str(path))
    try:
        # O_NONBLOCK: opening a named pipe without a writer would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise error(f"{subject}does not exist", remedy=missing or "check the path", source=source) from None
    except (OSError, ValueError) as problem:
        remedy = "check the path and the permissions of the file"
        raise error(f"{subject}cannot be opened ({_reason(problem)})", remedy=remedy, source=source) from None
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            kind = KINDS.get(stat.S_IFMT(before.st_mode), "no regular file")
            raise error(f"{subject}is {kind}", remedy="give the path of a regular file", source=source)
        with os.fdopen(descriptor, "rb", closefd=False) as handle:
            yield handle
        after = os.fstat(descriptor)
    except OSError as problem:
        remedy = "check the disk and the permissions of the file"
        raise error(f"{subject}cannot be read ({_reason(problem)})", remedy=remedy, source=source) from None
    finally:
        os.close(descriptor)
    if _version(before) != _version(after):
        raise error(f"{subject}was changed while it was read", remedy="try again", source=source)


def _version(status: os.stat_result) -> tuple[int, int, int]:
    """What a write changes; the third, the time of change of the file's status, cannot be set back."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_spec(path: Path, *, missing: str | None = None) -> bytes:
    """The text of the spec at `path`. Raises `SpecError`, also where it is too large to be one."""
    with open_regular(path, SpecError, missing=missing) as handle:
        data = handle.read(MAX_SPEC_BYTES + 1)
    if len(data) > MAX_SPEC_BYTES:
        raise SpecError(
            f"is larger than {MAX_SPEC_BYTES:,} bytes",
            remedy="a spec holds no weights: put them into a weights file",
            source=Source(str(path)),
        )
    return data


def find_weights(folder: Path, name: str, source: Source) -> tuple[Path, Place]:
    """The weights file `name` beside the spec; for a copy of a shipped spec alone, the one that cnngen ships.

    `source` is where the spec names it. Raises `SpecError` where the name leads out of the folder.
    """
    file = inside(folder, name, what="the weights file", source=source)
    if os.path.lexists(file):  # what is wrong with one that is there is said when it is opened
        return file, "spec"
    shipped = inside(specs_folder(), name, what="the weights file", source=source)
    return (shipped, "shipped") if shipped.is_file() else (file, "spec")


def inside(folder: Path, name: str, *, what: str, source: Source) -> Path:
    """The path of `name` within `folder`; raises `SpecError` where it leads outside, links followed."""
    remedy = f"put the file into the folder of the spec and name it relative to it, or pass {what} on the command line"
    if "\0" in name or not name.strip():
        raise SpecError(f"{what} {name!r} is no file name", remedy=remedy, source=source)
    relative = Path(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise SpecError(f"{what} {name!r} lies outside the folder of the spec", remedy=remedy, source=source)
    try:
        root, path = folder.resolve(), (folder / relative).resolve()
    except (OSError, RuntimeError) as problem:
        raise SpecError(f"{what} {name!r} cannot be followed ({problem})", remedy=remedy, source=source) from None
    if not path.is_relative_to(root):
        raise SpecError(f"{what} {name!r} is a link out of the folder of the spec", remedy=remedy, source=source)
    return path


def _reason(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or str(problem)
