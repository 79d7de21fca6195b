"""The weights of a loaded library in huge pages.

A library is mapped in pages of 4 KiB, or in the pieces that the system's cache of files happens to hold, smaller ones
after a restart than behind the linker. Weights that no cache of the processor holds are then read at half of its speed:
every page is looked up, and what the processor reads ahead ends with it. So the read-only data of a large library is
copied into pages of 2 MiB, which take the place of the mapped ones at the same addresses.

The copy is memory of this process (and of those that it forks). `CNNGEN_HUGE_PAGES=0` leaves the weights in the pages
of the file, which processes share. Where anything is missing (Linux, transparent huge pages, room), they stay.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path

LEAST_BYTES = 8 << 20
"""Smaller libraries stay in the caches, or nearly so."""
HUGE = 2 << 20
PIECE_BYTES = 16 * HUGE
"""So much is in memory twice, for a moment."""
SWITCH = "CNNGEN_HUGE_PAGES"
SHARE_OF_MEMORY = 0.25
"""A copy takes at most so much of the memory that is left."""

PROT_READ, PROT_WRITE = mmap.PROT_READ, mmap.PROT_WRITE
MADV_HUGEPAGE, MADV_POPULATE_READ = 14, 22
MREMAP_MAYMOVE, MREMAP_FIXED = 1, 2
FAILED = ctypes.c_void_p(-1).value
MODES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of a container, in both versions of control groups."""

_lock = threading.Lock()
_seen: set[str] = set()


def move(path: Path) -> int:
    """Move the read-only data of the library at `path`, which is loaded, into huge pages; returns the bytes moved.

    Never raises, and never leaves anything unmapped: the new pages replace the old ones in one call to the system.
    What was looked at once is not looked at again.
    """
    name = str(path.resolve())
    with _lock:
        if name in _seen:
            return 0
        _seen.add(name)
        try:
            size = path.stat().st_size
            if size < LEAST_BYTES or os.environ.get(SWITCH) == "0" or not _possible(size):
                return 0
            return sum(_move(first, last) for first, last in _read_only(name))
        except (OSError, ValueError, AttributeError):  # no /proc, another C library
            return 0


def _possible(size: int) -> bool:
    """Whether the system has huge pages for those who ask, and room for a copy."""
    if "[never]" in MODES.read_text():
        return False
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    left = 1024 * int(fields["MemAvailable"].split()[0])
    for limit in LIMITS:
        if limit.exists() and (text := limit.read_text().strip()) != "max":
            left = min(left, int(text))
    return size <= SHARE_OF_MEMORY * left


def _read_only(name: str) -> Iterator[tuple[int, int]]:
    """Where the read-only data of the file `name` is mapped: whole huge pages of it, in pieces."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[1] == "r--p" and fields[5] == name:
            first, last = (int(address, 16) for address in fields[0].split("-"))
            first, last = -(-first // HUGE) * HUGE, last // HUGE * HUGE
            for begin in range(first, last, PIECE_BYTES):
                yield begin, min(begin + PIECE_BYTES, last)


def _move(first: int, last: int) -> int:
    """Copy the memory from `first` to `last` into huge pages and put them in its place; 0 where that cannot be."""
    libc = ctypes.CDLL(None, use_errno=True)
    size, address = ctypes.c_size_t, ctypes.c_void_p
    libc.mmap.restype = libc.mremap.restype = address
    libc.mmap.argtypes = (address, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.mremap.argtypes = (address, size, size, ctypes.c_int, address)
    libc.madvise.argtypes = libc.mprotect.argtypes = (address, size, ctypes.c_int)
    libc.munmap.argtypes = (address, size)

    count = last - first
    room = libc.mmap(None, count + HUGE, PROT_READ | PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if room == FAILED:
        return 0
    copy = -(-room // HUGE) * HUGE
    moved = 0
    if libc.madvise(copy, count, MADV_HUGEPAGE) == 0:
        libc.madvise(first, count, MADV_POPULATE_READ)  # all at once; where the system cannot, page by page
        ctypes.memmove(copy, first, count)
        replaced = libc.mprotect(copy, count, PROT_READ) == 0 and (
            libc.mremap(copy, count, count, MREMAP_MAYMOVE | MREMAP_FIXED, first) == first
        )
        moved = count if replaced else 0
    before, behind = copy - room, room + HUGE - copy
    if moved:  # what is left of the room is what was not aligned
        if before:
            libc.munmap(room, before)
        if behind:
            libc.munmap(copy + count, behind)
    else:
        libc.munmap(room, count + HUGE)
    return moved
