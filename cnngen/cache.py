"""Builds each library once: content-addressed, shared between processes and backends.

The key is a SHA-256 over everything that decides the library: sources, weights, flags, the compiler and the version of
cnngen. See docs/cache.md for the layout on disk and what happens when something is wrong with it.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cnngen._version import __version__
from cnngen.backends.files import FolderError, copy, write_tree
from cnngen.backends.sources import SourceTree
from cnngen.backends.toolchains import build, command_words, time_limit
from cnngen.errors import CacheError, CacheWarning, ToolchainError
from cnngen.store import LOGS, Entry, LockError, Store, cache_folder, open_store, remove

if TYPE_CHECKING:
    from cnngen.backends.toolchains import AnyCompiler

__all__ = ["Entry", "cache_folder", "clear", "entries", "key", "library", "private_folder"]

FORMAT = 3
"""Part of every key: raise it when the meaning of an entry changes."""

ATTEMPTS = 3
"""How often a library that vanishes while it is copied is looked up or built again."""

SIZE_VARIABLE = "CNNGEN_CACHE_SIZE"
SIZE_LIMIT = 10 * 10**9
LOCK_MARGIN = 30.0
"""Seconds that we wait for another process's build beyond the time that a build may take."""

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def library(
    tree: SourceTree,
    compiler: AnyCompiler,
    *,
    use_cache: bool = True,
    folder: Path | None = None,
    timeout: float | None = None,
) -> Path:
    """The shared library of `tree`, or the fatbin, from the cache or built now; the path is good for the life of this
    process. What else is needed to load it lies beside it (`SourceTree.products`).

    With `folder`, sources, weights, `command.txt`, `build.log` and a copy of the products are put there too; files that
    hold the same bytes already are not touched, and links are not followed. `timeout`: seconds for a build.

    Raises ToolchainError where the build fails or `folder` cannot be written, CacheError where the cache folder could
    have been written by somebody else. Every other trouble with the cache is a CacheWarning and costs time only.
    """
    if folder is None:
        return _library(tree, compiler, use_cache, None, timeout)
    write_tree(tree, folder)
    shown = folder / tree.products[0]
    try:
        for attempt in range(ATTEMPTS):
            path = _library(tree, compiler, use_cache, folder, timeout)
            try:
                for name in (*tree.products, *LOGS):
                    copy(path.parent / name, folder / name)
                break
            except FileNotFoundError:  # somebody has cleared the cache in this moment
                if attempt == ATTEMPTS - 1:
                    raise
    except BaseException as error:
        with suppress(OSError):
            shown.unlink(missing_ok=True)  # one of an earlier build would not belong to these sources
        if isinstance(error, OSError):
            raise FolderError.of(folder, error) from error
        raise
    return path


def key(tree: SourceTree, compiler: AnyCompiler) -> str:
    """The name of `tree` in the cache: 64 hexadecimal digits."""
    total = hashlib.sha256(tree.digest)
    for part in (str(FORMAT), __version__, compiler.identity, *command_words(tree, compiler)):
        data = part.encode()
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()


def private_folder(name: str) -> Path | None:
    """A folder in the cache for what another part of cnngen keeps there; None where the cache cannot serve."""
    try:
        store = open_store()
        if store is None:
            return None
        folder = store.root / name
        folder.mkdir(mode=0o700, exist_ok=True)
    except (CacheError, OSError):
        return None  # `library` reports it
    return folder


def entries() -> list[Entry]:
    """What the cache holds, the entry used last first. Raises CacheError where the folder is not safe."""
    store = open_store()
    return store.entries() if store else []


def clear() -> int:
    """Delete all entries; returns the number of bytes they took. Raises CacheError where the folder is not safe."""
    store = open_store()
    return store.clear() if store else 0


def size_limit() -> int:
    """Bytes that entries may take together: `$CNNGEN_CACHE_SIZE` (such as 500M or 20G), or 10 GB. Raises CacheError."""
    text = os.environ.get(SIZE_VARIABLE, "").strip()
    if not text:
        return SIZE_LIMIT
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text, re.IGNORECASE)
    if match is None:
        raise CacheError(f"{SIZE_VARIABLE}={text!r} is not a size", remedy="use for example 500M or 20G")
    return int(float(match[1]) * UNITS[match[2].upper()])


def _library(
    tree: SourceTree, compiler: AnyCompiler, use_cache: bool, logs: Path | None, timeout: float | None
) -> Path:
    """The library from the cache, or built apart where the cache cannot serve; `logs` gets the log of a failure."""
    if not use_cache:
        return _build_apart(tree, compiler, logs, timeout)
    try:
        store = open_store()
        if store is not None:
            name = key(tree, compiler)
            return store.find(name).library or _build_into(store, name, tree, compiler, logs, timeout)
        reason = "there is no home folder; set XDG_CACHE_HOME to an absolute path"
    except (FolderError, LockError) as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
    _warn(f"built without the cache: {reason}")
    return _build_apart(tree, compiler, logs, timeout)


def _build_into(
    store: Store, name: str, tree: SourceTree, compiler: AnyCompiler, logs: Path | None, timeout: float | None
) -> Path:
    """Build an entry under its lock, unless another process has done so in the meantime."""
    limit = size_limit()
    seconds = time_limit() if timeout is None else timeout
    if _is_noexec(store.root):
        raise FolderError.of(store.root, "libraries cannot be loaded from a file system mounted noexec")
    with store.lock(name, seconds + LOCK_MARGIN):
        found = store.find(name)
        if found.library is not None:
            return found.library
        if found.damage is not None:
            _warn(f"cache entry {name[:12]} for {tree.name}: {found.damage}; moved to {store.root / 'quarantine'}")
            store.quarantine(name)
        folder = store.start_build(name)
        try:
            build(tree, compiler, folder, timeout=seconds, keep_log_in=logs or store.failed_folder(name))
            path = store.install(name, folder, tree.products, name=tree.name, compiler=compiler.identity)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    store.prune(limit, keep=name)
    return path


def _build_apart(tree: SourceTree, compiler: AnyCompiler, logs: Path | None, timeout: float | None) -> Path:
    """Build in a temporary folder, which goes when the process ends; after a failure it stays if it holds the log."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="cnngen-"))
    except OSError as error:
        raise FolderError.of(Path(tempfile.gettempdir()), error) from error
    if _is_noexec(folder):
        folder.rmdir()
        raise ToolchainError(
            f"libraries cannot be loaded from {folder.parent}, which is on a file system mounted noexec",
            remedy="set TMPDIR to another folder",
        )
    keep: tuple[str, ...] = ()
    try:
        path = build(tree, compiler, folder, timeout=timeout, keep_log_in=logs)
        keep = (*tree.products, *LOGS)
        atexit.register(_delete_at_exit, folder, os.getpid())
    except ToolchainError:
        keep = LOGS if logs is None else ()
        raise
    finally:
        for child in folder.iterdir():
            if child.name not in keep:
                remove(child)
        if not keep:
            folder.rmdir()
    return path


def _delete_at_exit(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in a forked child, whose parent still needs it
        shutil.rmtree(folder, ignore_errors=True)


def _is_noexec(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0))


def _warn(text: str) -> None:
    warnings.warn(text, CacheWarning, stacklevel=4)
