"""SHA-256 at the speed of all cores.

Weights and libraries reach hundreds of megabytes, and one core hashes about one gigabyte a second. So the digest of
long data is the SHA-256 over the SHA-256 digests of its pieces and its length, which threads compute side by side.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable

PIECE = 4 << 20
"""Bytes a piece; part of the definition: another size gives other digests."""

SMALL = 4 * PIECE
"""Below this many bytes threads cost more than they bring."""


def digest_bytes(data: memoryview) -> bytes:
    """The digest of `data`, a view of single bytes; nothing is copied."""
    return _combine(len(data), lambda start, end, _: hashlib.sha256(data[start:end]).digest())


def digest_file(descriptor: int) -> bytes:
    """The digest of an open file from its beginning; equals `digest_bytes` of its contents.

    The file is read, not mapped: a mapped file that another process truncates kills this one.
    """

    def piece(start: int, end: int, buffer: bytearray) -> bytes:
        with memoryview(buffer)[: end - start] as view:
            count = os.preadv(descriptor, [view], start)
            return hashlib.sha256(view[:count]).digest()

    return _combine(os.fstat(descriptor).st_size, piece)


def _combine(size: int, piece: Callable[[int, int, bytearray], bytes]) -> bytes:
    """The digest of `size` bytes; `piece` hashes those of a range and may use a buffer that no other thread has."""
    starts = range(0, size, PIECE)
    digests = [b""] * len(starts)
    threads = 1 if size < SMALL else min(os.cpu_count() or 1, 8, len(starts))
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            buffer = bytearray(min(PIECE, size))
            for index in range(first, len(starts), threads):
                start = starts[index]
                digests[index] = piece(start, min(start + PIECE, size), buffer)
        except OSError as error:
            failures.append(error)

    others = [threading.Thread(target=work, args=[first]) for first in range(1, threads)]
    for thread in others:
        thread.start()
    work(0)
    for thread in others:
        thread.join()
    if failures:
        raise failures[0]
    return hashlib.sha256(size.to_bytes(8, "little") + b"".join(digests)).digest()
