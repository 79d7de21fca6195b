"""The folder of cached libraries on disk: what is in it, who may touch it, and when.

```
<root>/                 0700, ours, not a link
  manifests/<key>       what a request gave: its digest in the first line, then JSON
  entries/<key>/        a library, or the files for a GPU; `entry.json` (their digests, name, compiler) and the logs
  building/<key>/       a build in progress; belongs to the holder of the lock
  locks/<key>.lock      released by the system when its holder dies, however it dies
  quarantine/           entries of which a file no longer had its digest, kept for a look
  failed/<key>/         command.txt and build.log of a build that failed
```

What is returned are named tuples: every warm start imports this module, and a dataclass takes a millisecond to make.

An entry appears by one rename and disappears by one rename, so readers need no lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from cnngen.digest import digest_file
from cnngen.errors import CacheError

KEPT_IN_QUARANTINE = 4
KEPT_FAILURES = 32
KEPT_MANIFESTS = 4096
MAX_MANIFEST = 1 << 24
"""Bytes that are read of a manifest; a longer one does not have its digest."""
BESIDE = ".new-"
"""Begins the name of a manifest that is being written."""

LOCK_POLL = 0.02
"""Seconds between two attempts to get a lock."""
GRACE = 600.0
"""Seconds after its last use in which an entry is not pruned: a process may be about to load it."""

RECORD = "entry.json"
LOGS = ("command.txt", "build.log")


class LockError(Exception):
    """The lock cannot be had: held too long, or the file system has no locks."""


class Entry(NamedTuple):
    """One cached library; `size` in bytes with its logs, `used` in seconds since the epoch."""

    key: str
    name: str
    library: Path
    size: int
    used: float
    compiler: str
    created: str


class Found(NamedTuple):
    """The result of a look into the store: a library that is whole, or what is wrong with the entry, or neither."""

    library: Path | None = None
    damage: str | None = None


class FoundManifest(NamedTuple):
    """A manifest that is whole, or what is wrong with it, or neither."""

    body: dict[str, Any] | None = None
    damage: str | None = None


class Store:
    """The store below `root`. Raises CacheError where others could have written there, OSError where it cannot be."""

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            root.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                root.mkdir(mode=0o700)
        verify_private(root)

    def find(self, key: str) -> Found:
        """Look up an entry and check its files against the stored digests. Changes nothing but the time of use."""
        folder = self.root / "entries" / key
        try:
            digests = json.loads((folder / RECORD).read_bytes())["digests"]
            files = [(folder / name, str(digest)) for name, digest in digests.items()]
            # The names come from a file that may be damaged: they must not lead out of the entry.
            if not files or any(path.parent != folder for path, _ in files):
                return Found(damage=f"{RECORD} is damaged")
            for path, digest in files:
                if damage := _damage(path, digest):
                    return Found(damage=damage)
            if not all((folder / log).is_file() for log in LOGS):
                return Found(damage="a log is missing")
        except FileNotFoundError:
            return Found(damage="a file is missing") if folder.exists() else Found()
        except (ValueError, KeyError, TypeError, AttributeError):
            return Found(damage=f"{RECORD} is damaged")
        except OSError as error:
            return Found(damage=error.strerror)
        try:
            os.utime(folder / RECORD)
        except FileNotFoundError:  # deleted while we read it
            return Found()
        except OSError:
            pass  # a cache that cannot be written still serves
        return Found(files[0][0])

    def find_manifest(self, key: str) -> FoundManifest:
        """Read a manifest and check it against its digest. Changes nothing."""
        try:
            descriptor = os.open(self.root / "manifests" / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return FoundManifest(damage="it is not a file")
                digest, _, text = os.read(descriptor, MAX_MANIFEST).partition(b"\n")
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return FoundManifest()
        except OSError as error:
            return FoundManifest(damage=error.strerror)
        if digest != _manifest_digest(key, text):
            return FoundManifest(damage="it does not have the digest it was stored with")
        return FoundManifest(json.loads(text))

    def write_manifest(self, key: str, body: Mapping[str, Any]) -> None:
        """Put a manifest in place of the one of `key`, by one rename. Raises OSError."""
        text = (json.dumps(body, indent=1) + "\n").encode()
        folder = self._folder("manifests")
        beside = folder / f"{BESIDE}{os.urandom(8).hex()}"
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(_manifest_digest(key, text) + b"\n" + text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(folder / key)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
        _sync(folder)

    @contextmanager
    def lock(self, key: str, seconds: float) -> Iterator[None]:
        """Hold the lock of `key`. Raises LockError after `seconds`, or at once where the file system has no locks."""
        path = self._folder("locks") / f"{key}.lock"
        deadline = time.monotonic() + seconds
        # flock, and not a file that stands for the lock: a process that is killed would leave that for ever.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            while not _try_flock(descriptor, path):
                if time.monotonic() > deadline:
                    raise LockError(f"another process has held {path} for {seconds:.0f} s")
                time.sleep(LOCK_POLL)
            yield
        finally:
            os.close(descriptor)

    def start_build(self, key: str) -> Path:
        """An empty folder to build in; the caller holds the lock, so what is there was left by a build that died."""
        folder = self._folder("building") / key
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        return folder

    def install(self, key: str, built: Path, products: Sequence[str], *, name: str, compiler: str) -> Path:
        """Turn a build folder into the entry of `key`, with `products` and the logs; all else in it is deleted.

        Returns the first product, which is the one that is loaded.
        """
        for path in built.iterdir():
            if path.name not in (*products, *LOGS):
                remove(path)
        digests = {}
        for product in products:
            with (built / product).open("rb") as file:
                digests[product] = digest_file(file.fileno()).hex()
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        record = {"name": name, "digests": digests, "compiler": compiler, "created": created}
        (built / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        for path in (*built.iterdir(), built):
            _sync(path)
        folder = self._folder("entries")
        if (folder / key).exists():
            self.quarantine(key)
        built.rename(folder / key)
        _sync(folder)
        return folder / key / products[0]

    def quarantine(self, key: str, kind: str = "entries") -> None:
        """Move a damaged entry (or one of "manifests") aside, where nothing uses it; the caller holds the lock."""
        folder = self._folder("quarantine")
        with suppress(FileNotFoundError):
            (self.root / kind / key).rename(folder / f"{key}.{os.urandom(4).hex()}")
        for path in _oldest_first(folder)[:-KEPT_IN_QUARANTINE]:
            with suppress(OSError):
                remove(path)

    def failed_folder(self, key: str) -> Path:
        """Where the log of a failed build is kept."""
        folder = self._folder("failed")
        for path in _oldest_first(folder)[:-KEPT_FAILURES]:
            shutil.rmtree(path, ignore_errors=True)
        return folder / key

    def entries(self) -> list[Entry]:
        """All entries, the one used last first; what cannot be read is left out."""
        now = time.time()
        found = []
        for folder in _children(self.root / "entries"):
            try:
                record = json.loads((folder / RECORD).read_bytes())
                # A clock that was ahead once must not keep an entry for ever.
                used = min((folder / RECORD).stat().st_mtime, now)
                size = sum(path.stat().st_size for path in folder.iterdir())
                library = folder / next(iter(record["digests"]))
                found.append(
                    Entry(folder.name, record["name"], library, size, used, record["compiler"], record["created"])
                )
            except (OSError, ValueError, KeyError, TypeError, StopIteration):
                continue
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def prune(self, limit: int, keep: str) -> None:
        """Delete the entries used least recently until the rest takes at most `limit` bytes.

        `keep` and what was used in the last minutes stay. Also deletes what builds that died have left.
        """
        total = 0
        for entry in self.entries():
            total += entry.size
            if total > limit and entry.key != keep and time.time() - entry.used > GRACE:
                self._discard(entry.library.parent)
                total -= entry.size
        self._sweep()

    def clear(self) -> int:
        """Delete everything but builds in progress; returns the bytes that the entries took."""
        freed = sum(entry.size for entry in self.entries())
        for folder in _children(self.root / "entries"):
            self._discard(folder)
        for name in ("manifests", "quarantine", "failed"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        self._sweep()
        return freed

    def _sweep(self) -> None:
        """Delete abandoned build folders, those whose lock is free, and manifests whose library is gone."""
        for folder in _children(self.root / "building"):
            with suppress(LockError, OSError), self.lock(folder.name, 0):
                shutil.rmtree(folder, ignore_errors=True)
        manifests = _oldest_first(self.root / "manifests")
        for number, path in enumerate(manifests):
            with suppress(OSError):
                if number < len(manifests) - KEPT_MANIFESTS or not self._is_of_use(path):
                    path.unlink()

    def _is_of_use(self, manifest: Path) -> bool:
        """Whether the library of a manifest is there, or it is not finished yet."""
        if manifest.name.startswith(BESIDE):
            return time.time() - manifest.lstat().st_ctime < GRACE
        body = self.find_manifest(manifest.name).body
        return body is not None and (self.root / "entries" / body["library"]).is_dir()

    def _discard(self, folder: Path) -> None:
        """Delete an entry: renamed first, so that no reader sees half of it."""
        with suppress(OSError):
            aside = self._folder("quarantine") / f"{folder.name}.{os.urandom(4).hex()}"
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME/cnngen`, or where the system keeps caches; None where neither is an absolute path."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "cnngen"
    try:
        if sys.platform == "linux":
            folder = Path.home() / ".cache" / "cnngen"
        else:
            import platformdirs  # here, because it takes longer to import than a hit takes

            folder = platformdirs.user_cache_path("cnngen")
    except RuntimeError:  # there is no home folder
        return None
    return folder if folder.is_absolute() else None


def open_store() -> Store | None:
    """The store in the cache folder; None where there is no such folder. Raises what `Store` raises."""
    root = cache_folder()
    return None if root is None else Store(root)


def verify_private(root: Path) -> None:
    """Raise CacheError where somebody else could have put code into `root`."""
    status = root.lstat()
    remedy = f"remove {root}, or point XDG_CACHE_HOME to a folder of your own"
    if stat.S_ISLNK(status.st_mode):
        raise CacheError(f"the cache folder {root} is a symbolic link", remedy=remedy)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(20, "it is not a folder", str(root))
    if status.st_uid != os.geteuid():
        raise CacheError(
            f"the cache folder {root} belongs to user {status.st_uid}, and you are user {os.geteuid()}", remedy=remedy
        )
    if status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        raise CacheError(
            f"the cache folder {root} can be written by others (mode {mode:04o})",
            remedy=f"if you trust what is in it: chmod 700 {root}; if not, remove it",
        )


def _damage(path: Path, digest: str) -> str | None:
    """What is wrong with a file of an entry. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return f"{path.name} is not a file"
        if digest_file(descriptor).hex() != digest:
            return f"{path.name} does not have the digest it was stored with"
    finally:
        os.close(descriptor)
    return None


def _manifest_digest(key: str, text: bytes) -> bytes:
    """Its key is part of it, so that a manifest under another name is not believed."""
    return hashlib.sha256(key.encode() + b"\n" + text).hexdigest().encode()


def _try_flock(descriptor: int, path: Path) -> bool:
    """Whether the lock could be had at once. Raises LockError where the file system of `path` has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise LockError(f"the file system of {path} has no locks: {error.strerror}") from error
    return True


def remove(path: Path) -> None:
    """Delete a file, a link, or a folder with what is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _oldest_first(folder: Path) -> list[Path]:
    def changed(path: Path) -> float:
        try:
            return path.lstat().st_ctime
        except OSError:
            return 0.0

    return sorted(_children(folder), key=changed)
