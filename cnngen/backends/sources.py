"""What a backend emits: the files of one network, and how they want to be compiled."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cnngen.digest import digest_bytes, digest_file
from cnngen.ir import Array


class StoredBlob:
    """Packed weights in a file without a name, which goes when nothing refers to it; what is not written is zero."""

    def __init__(self, size: int) -> None:
        """A file of `size` bytes. Raises OSError."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as this object
        self._file.truncate(size)

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    def write(self, offset: int, array: Array) -> None:
        """Put the bytes of `array` at the byte `offset`. Raises OSError."""
        data = as_bytes(array)
        while data:
            count = os.pwrite(self.descriptor, data, offset)
            data, offset = data[count:], offset + count


AnyBlob = Array | StoredBlob
"""Packed weights: in memory, or in a file where they are many."""


@dataclass(frozen=True, eq=False)
class SourceTree:
    """Sources of one network, relative to the folder they will be written to.

    `files` are texts, `blobs` are written byte for byte (packed weights), `units` names the files
    that the compiler is called on, `flags` and `links` are its options when compiling and linking, and
    `standard` the language. A tree with `architectures` (such as sm_90) is CUDA.
    """

    name: str
    files: Mapping[str, str]
    blobs: Mapping[str, AnyBlob]
    units: tuple[str, ...]
    flags: tuple[str, ...]
    links: tuple[str, ...] = ()
    standard: str = "c11"
    architectures: tuple[str, ...] = ()

    @property
    def products(self) -> tuple[str, ...]:
        """The files that a network is loaded from: the library; or the fatbin, the weights and the launches."""
        if self.architectures:
            return (f"{self.name}.fatbin", weights_file(self.name), launches_file(self.name), "kernels.txt")
        return (f"{self.name}.so",)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over everything above. Reads every byte of the blobs once, and copies none."""
        total = hashlib.sha256()

        def add(data: bytes) -> None:
            # Lengths and counts come first, so that no two trees give the same bytes.
            total.update(len(data).to_bytes(8, "little") + data)

        texts = [word for item in sorted(self.files.items()) for word in item]
        for group in ([self.name, self.standard], self.units, self.flags, self.links, self.architectures, texts):
            add(b"%d" % len(group))
            for text in group:
                add(text.encode())
        for name, blob in sorted(self.blobs.items()):
            add(name.encode())
            add(digest_file(blob.descriptor) if isinstance(blob, StoredBlob) else digest_bytes(as_bytes(blob)))
        return total.digest()


def weights_file(name: str) -> str:
    """Where the packed weights of a network are written."""
    return f"{name}_weights.bin"


def launches_file(name: str) -> str:
    """Where is written what a GPU has to be told of a network."""
    return f"{name}_launches.json"


def as_bytes(array: Array) -> memoryview:
    """The bytes of an array in C order, without a copy where it is contiguous already."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
