"""Fatbins: one file of device code for several architectures, as nvcc writes them and the driver loads them.

Read to see that a compiler has made what it was asked for, and what a device can take of it; written where there is
only NVRTC, which makes one cubin at a time. A header of 16 bytes is followed by entries, each with a header of its own,
then a cubin (an ELF file) or PTX, padded to 8 bytes. NVIDIA publishes the first header in fatbinary_section.h and not
the second, whose fields are those that `fatbinary` of CUDA 11 to 13 writes.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["cubin", "ptx"]

MAGIC = 0xBA55ED50
HEADER = struct.Struct("<IHHQ")
"""Magic number, version, size of this header, size of what follows."""
ENTRY = struct.Struct("<HHIQIIHHIIIQQQ")
"""Kind, version, size of this header, size of the code; size when compressed, place of options, code version (minor,
major), architecture, place and length of a name, flags, reserved, size before compression."""

KINDS: dict[int, Kind] = {1: "ptx", 2: "cubin"}
ENTRY_VERSION = 0x101
FLAGS = 0x11
"""64-bit code, for Linux."""
NO_OPTIONS = struct.pack("<IIQ", ENTRY.size + 8, 0, 0)
"""Ends the header of PTX: place and length of the options that the driver compiles it with, and padding."""
ALIGNMENT = 8
ELF_VERSION = 8
"""Where an ELF file has the version of its ABI."""


class Code(NamedTuple):
    """Device code for one architecture, such as 80; PTX is compiled by the driver for that or a later one."""

    kind: Kind
    architecture: int
    data: bytes

    @property
    def name(self) -> str:
        """As nvcc calls it: sm_80, or compute_80 for PTX."""
        return f"{'sm' if self.kind == 'cubin' else 'compute'}_{self.architecture}"


def read(data: bytes) -> list[Code]:
    """The entries of a fatbin; compressed code stays so. Raises `ValueError` where it is none, or not whole."""
    return list(_entries(data))


def _entries(data: bytes) -> Iterator[Code]:
    if len(data) < HEADER.size:
        raise ValueError(f"{len(data)} bytes are no fatbin")
    magic, _, header, size = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise ValueError("it does not begin as a fatbin")
    if header + size != len(data):
        raise ValueError(f"it is cut off: {len(data)} of {header + size} bytes")
    place = header
    while place < len(data):
        if place + ENTRY.size > len(data):
            raise ValueError("an entry leaves it")
        kind, _, entry, length, *_, architecture, _, _, _, _, _ = ENTRY.unpack_from(data, place)
        begin = place + entry
        if entry < ENTRY.size or begin + length > len(data):
            raise ValueError("an entry leaves it")
        if kind in KINDS:
            yield Code(KINDS[kind], architecture, data[begin : begin + length])
        place = begin + length


def write(codes: Sequence[Code]) -> bytes:
    """A fatbin of `codes`, not compressed. Raises `ValueError` for what is neither a cubin nor PTX."""
    body = b"".join(map(_entry, codes))
    return HEADER.pack(MAGIC, 1, HEADER.size, len(body)) + body


def _entry(code: Code) -> bytes:
    kind = next(number for number, name in KINDS.items() if name == code.kind)
    data, options = code.data, b""
    if code.kind == "ptx":
        version = re.search(rb"^\.version (\d+)\.(\d+)", data, re.MULTILINE)
        if version is None:
            raise ValueError("PTX without a version")
        major, minor = int(version[1]), int(version[2])
        data, options = data.removesuffix(b"\0") + b"\0", NO_OPTIONS
    else:
        if not data.startswith(b"\x7fELF") or len(data) <= ELF_VERSION:
            raise ValueError("a cubin is an ELF file")
        major, minor = 1, data[ELF_VERSION]
    data += bytes(-len(data) % ALIGNMENT)
    header = ENTRY.size + len(options)
    place = ENTRY.size if options else 0
    return (
        ENTRY.pack(kind, ENTRY_VERSION, header, len(data), 0, place, minor, major, code.architecture, 0, 0, FLAGS, 0, 0)
        + options
        + data
    )


def main(arguments: Sequence[str]) -> int:
    """Put the files `NAME.sm_80` (cubins) and `NAME.compute_80` (PTX) together; the last argument is the fatbin."""
    codes = []
    for name in arguments[:-1]:
        virtual, number = name.rsplit(".", 1)[1].split("_")
        kind: Kind = "cubin" if virtual == "sm" else "ptx"
        codes.append(Code(kind, int(number), Path(name).read_bytes()))
    Path(arguments[-1]).write_bytes(write(codes))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
