"""Weight files, .safetensors and .npz: what they declare, checked, and then the arrays asked for.

Opening a file reads and checks its table of contents only. An array is read when it is asked for,
after the caller has compared its declared shape with what the network needs, so that memory is
bounded by the network and never by what a file claims.
"""

from __future__ import annotations

import io
import json
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cnngen.errors import Source, WeightsError, brief, inert
from cnngen.frontends.files import open_regular
from cnngen.ir import Array

MAX_HEADER = 8_000_000
MAX_TENSORS = 100_000
MAX_RANK = 32
MAX_DIRECTORY = 16_000_000
MAX_COMMENT = 1 << 17
"""More than the end of a zip archive can be, where `zipfile` reads all that is left."""
MAX_ARRAY_HEADER = 12_000
"""Bytes before the data of a .npy array; NumPy itself refuses more than 10,000 characters of it."""

# All that NumPy's parser of .npy headers lets through for texts that are none.
HEADER_ERRORS = (
    ValueError,
    KeyError,
    TypeError,
    SyntaxError,
    EOFError,
    RecursionError,
    OverflowError,
    tokenize.TokenError,
)

PICKLED = {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt"}
KERAS = {".h5", ".hdf5", ".keras"}


@dataclass(frozen=True)
class Stored:
    """What a file says of one tensor. `dtype` is its name, `float32` or another."""

    shape: tuple[int, ...]
    dtype: str


class WeightFile(ABC):
    """An open weight file: its tensors by name, and a way to read each."""

    def __init__(self, handle: BinaryIO, source: Source, expected: int = MAX_TENSORS) -> None:
        self.handle = handle
        self.source = source
        self.tensors: dict[str, Stored] = {}
        self._expected = expected

    @abstractmethod
    def read(self, name: str) -> Array:
        """The tensor `name` in native byte order and C order, in its own type (bfloat16 as float32)."""

    def error(self, problem: str, remedy: str | None = "save the file again") -> WeightsError:
        """A `WeightsError` about this file."""
        return WeightsError(problem, remedy=remedy, source=self.source)

    def _check_count(self, tensors: int) -> None:
        """Raise where there are so many that each look at one would add up."""
        if tensors > min(2 * self._expected + 1000, MAX_TENSORS):
            raise self.error(
                f"holds {tensors:,} tensors, and the network has {self._expected:,}", "give the weights of this network"
            )


@contextmanager
def open_weights(path: Path, *, expected: int = MAX_TENSORS, place: Source | None = None) -> Iterator[WeightFile]:
    """The weight file at `path`, its table of contents checked.

    A file with far more than the `expected` tensors is refused before it is looked into. `place` is
    where a spec names it, for the message where it is missing. Raises `WeightsError`.
    """
    source = Source(str(path))
    suffix = path.suffix.lower()
    if suffix in PICKLED:
        raise WeightsError(
            f"{suffix} files are pickles, which can run any code when they are read",
            remedy="convert it where it comes from: safetensors.torch.save_file(model.state_dict(), 'net.safetensors')",
            source=source,
        )
    if suffix in KERAS:
        raise WeightsError(
            f"{suffix} files are not read",
            remedy="convert it in Keras: np.savez('net.npz', **{'<layer>.weight': array, ...}) "
            "from layer.get_weights(), or save safetensors",
            source=source,
        )
    readers: dict[str, type[WeightFile]] = {".safetensors": SafetensorsFile, ".npz": NpzFile}
    if suffix not in readers:
        raise WeightsError(
            f"the suffix {suffix!r} is none of a weights file", remedy="give .safetensors or .npz", source=source
        )
    missing = None if place is None else "check the path, or write `weights: random` until there is a file"
    with open_regular(path, WeightsError, source=place or source, missing=missing) as handle:
        yield readers[suffix](handle, source, expected)


class SafetensorsFile(WeightFile):
    """The format of https://github.com/huggingface/safetensors: a length, a JSON header, the data.

    All integers and numbers are little-endian. Entries must cover the data without overlap or gap.
    """

    TYPES: Mapping[str, tuple[str, str]] = {
        "F64": ("float64", "<f8"),
        "F32": ("float32", "<f4"),
        "F16": ("float16", "<f2"),
        "BF16": ("bfloat16", "<u2"),
        "I64": ("int64", "<i8"),
        "I32": ("int32", "<i4"),
        "I16": ("int16", "<i2"),
        "I8": ("int8", "<i1"),
        "U64": ("uint64", "<u8"),
        "U32": ("uint32", "<u4"),
        "U16": ("uint16", "<u2"),
        "U8": ("uint8", "<u1"),
        "BOOL": ("bool", "|b1"),
    }

    def __init__(self, handle: BinaryIO, source: Source, expected: int = MAX_TENSORS) -> None:
        super().__init__(handle, source, expected)
        size = handle.seek(0, 2)
        handle.seek(0)
        if size < 8:
            raise self.error(f"is truncated: {size} bytes are no safetensors file")
        (length,) = struct.unpack("<Q", handle.read(8))
        if length > MAX_HEADER:
            raise self.error(f"declares a header of {length:,} bytes, at most {MAX_HEADER:,} are read")
        if 8 + length > size:
            raise self.error(f"is truncated: the header needs {length:,} bytes, {size - 8:,} are there")
        self.start = 8 + length
        self.ranges: dict[str, tuple[int, int, str]] = {}
        for name, entry in self._header(handle.read(length)).items():
            if name != "__metadata__":
                self._declare(name, entry)
        self._check_ranges(size - self.start)

    def read(self, name: str) -> Array:
        begin, end, code = self.ranges[name]
        self.handle.seek(self.start + begin)
        data = self.handle.read(end - begin)
        if len(data) != end - begin:
            raise self.error(f"is truncated: {name} needs {end - begin:,} bytes, {len(data):,} are there")
        array = np.frombuffer(data, code).reshape(self.tensors[name].shape)
        if self.tensors[name].dtype == "bfloat16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        return np.asarray(array, array.dtype.newbyteorder("="))

    def _header(self, text: bytes) -> dict[str, Any]:
        def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            mapping = dict(pairs)
            if len(mapping) < len(pairs):
                seen: set[str] = set()
                for twice, _ in pairs:
                    if twice in seen:
                        break
                    seen.add(twice)
                raise self.error(f"names the tensor {brief(twice)!r} twice")
            return mapping

        try:
            header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
        except (ValueError, RecursionError) as problem:
            raise self.error(f"has a header that is no JSON ({str(problem)[:80]})") from None
        if not isinstance(header, dict):
            raise self.error("has a header that is no JSON object")
        self._check_count(len(header))
        return header

    def _declare(self, name: str, entry: Any) -> None:
        label = inert(name)
        match entry:
            case {"dtype": str(code), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if len(entry) == 3:
                pass
            case _:
                raise self.error(f"{label}: the header entry is not dtype, shape and data_offsets")
        if len(shape) > MAX_RANK or any(
            isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < 2**63 for n in shape
        ):
            raise self.error(f"{label}: {_shown(shape)} is no shape")
        if code not in self.TYPES:
            raise self.error(f"{label}: the type {code[:20]} is unknown", "save it as F32")
        if not 0 <= begin < 2**63 or not 0 <= end < 2**63:
            raise self.error(f"{label}: the offsets are negative or beyond any file")
        dtype, numpy_code = self.TYPES[code]
        expected = math.prod(shape) * np.dtype(numpy_code).itemsize
        if end - begin != expected:
            raise self.error(
                f"{label}: shape {_shown(shape)} of {dtype} is {expected:,} bytes, offsets give {end - begin:,}"
            )
        self.tensors[name] = Stored(tuple(shape), dtype)
        self.ranges[name] = (begin, end, numpy_code)

    def _check_ranges(self, size: int) -> None:
        """Raise unless the tensors cover the data of `size` bytes exactly once."""
        position = 0
        for begin, end, name in sorted((begin, end, name) for name, (begin, end, _) in self.ranges.items()):
            if begin != position:
                kind = "overlaps the tensor before it" if begin < position else "leaves a gap before it"
                raise self.error(f"{inert(name)}: its data at {begin:,} {kind}, which ends at {position:,}")
            position = end
        if position > size:
            raise self.error(f"is truncated: the tensors need {position:,} bytes, {size:,} are there")
        if position < size:
            raise self.error(f"has {size - position:,} bytes that belong to no tensor")


class NpzFile(WeightFile):
    """A zip archive of .npy arrays, as `numpy.savez` writes it; never unpickled."""

    def __init__(self, handle: BinaryIO, source: Source, expected: int = MAX_TENSORS) -> None:
        super().__init__(handle, source, expected)
        try:
            self.archive = zipfile.ZipFile(_Bounded(handle))
        except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, struct.error) as problem:
            raise self.error(f"is truncated or no zip archive ({problem})") from None
        self.members: dict[str, tuple[zipfile.ZipInfo, np.dtype[Any], bool]] = {}
        self.headers: dict[str, int] = {}
        entries = self.archive.infolist()
        self._check_count(len(entries))
        for entry in entries:
            self._declare(entry)

    def read(self, name: str) -> Array:
        entry, dtype, fortran = self.members[name]
        with self._open(entry) as member:
            self._piece(member, self.headers[name], entry)
            shape = self.tensors[name].shape
            data = bytearray(math.prod(shape) * dtype.itemsize)
            view, filled = memoryview(data), 0
            while filled < len(data):
                piece = self._piece(member, min(len(data) - filled, 1 << 20), entry)
                if not piece:
                    raise self.error(f"is truncated: {name} needs {len(data):,} bytes, {filled:,} are there")
                view[filled : filled + len(piece)] = piece
                filled += len(piece)
            self._piece(member, 1, entry)  # the end of the member, where zipfile compares the CRC
        array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        return np.ascontiguousarray(array, dtype.newbyteorder("=")).reshape(shape)

    def _declare(self, entry: zipfile.ZipInfo) -> None:
        file_name = entry.filename
        label = inert(file_name)
        parts = file_name.replace("\\", "/").split("/")
        if ".." in parts or file_name.startswith(("/", "\\")) or "\0" in entry.orig_filename:
            raise self.error(f"holds the member {label!r}, a path that leads outside")
        if not file_name.endswith(".npy"):
            raise self.error(f"holds the member {label!r}, which is no .npy array", "save it with numpy.savez")
        name = file_name.removesuffix(".npy")
        if name in self.tensors:
            raise self.error(f"names the tensor {brief(name)!r} twice")
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.error(f"{label}: is encrypted or compressed in an unusual way", "save it with numpy.savez")
        with self._open(entry) as member:
            shape, fortran, dtype, header = self._array_header(member, entry)
        if dtype.hasobject:
            raise self.error(f"{label}: is an array of Python objects, which is a pickle", "save float32 arrays")
        if len(shape) > MAX_RANK or any(n < 0 for n in shape):
            raise self.error(f"{label}: {_shown(shape)} is no shape")
        declared = header + math.prod(shape) * dtype.itemsize
        if declared != entry.file_size:
            raise self.error(
                f"{label}: shape {_shown(shape)} of {dtype} needs {declared:,} bytes, "
                f"the archive has {entry.file_size:,}",
                "the file is truncated or damaged: save it again",
            )
        self.tensors[name] = Stored(shape, dtype.name)
        self.members[name] = (entry, dtype, fortran)
        self.headers[name] = header

    def _open(self, entry: zipfile.ZipInfo) -> zipfile.ZipExtFile:
        try:
            return self.archive.open(entry)  # type: ignore[return-value]  # typeshed says IO[bytes]
        except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, struct.error) as problem:
            raise self.error(f"{inert(entry.filename)}: is damaged ({problem})") from None

    def _piece(self, member: zipfile.ZipExtFile, size: int, entry: zipfile.ZipInfo) -> bytes:
        try:
            return member.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError) as problem:
            raise self.error(f"{inert(entry.filename)}: is damaged ({problem})") from None

    def _array_header(
        self, member: zipfile.ZipExtFile, entry: zipfile.ZipInfo
    ) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
        """Shape, Fortran order, type and length of the header of an open .npy member.

        NumPy would read a header of any length, up to 4 GB of spaces that a zip archive holds in 4 MB, before it looks
        at it; so it is given the beginning of the member only.
        """
        beginning = io.BytesIO(self._piece(member, MAX_ARRAY_HEADER, entry))
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NumPy's, of headers that Python 2 wrote
                version = np.lib.format.read_magic(beginning)
                shape, fortran, dtype = readers[version](beginning)
        except HEADER_ERRORS as problem:
            raise self.error(f"{inert(entry.filename)}: has no valid array header ({str(problem)[:80]})") from None
        return shape, fortran, dtype, beginning.tell()


class _Bounded:
    """A file for `zipfile`, which reads a table of contents in one piece, however long that says it is."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY:
            raise zipfile.BadZipFile(f"a table of contents of {size:,} bytes, at most {MAX_DIRECTORY:,} are read")
        return self._handle.read(size if size >= 0 else MAX_COMMENT)


def _shown(shape: Sequence[object]) -> str:
    """A shape for a message; a number may have thousands of digits, which Python refuses to print."""
    items = ["..." if isinstance(n, int) and n.bit_length() > 128 else str(n) for n in shape[:MAX_RANK]]
    left, right = "[]" if isinstance(shape, list) else "()"
    return brief(left + ", ".join(items) + ("," if right == ")" and len(items) == 1 else "") + right)
