"""Weight files, .safetensors and .npz: what they declare, checked, and then the arrays asked for.

Opening a file reads and checks its table of contents only. An array is read when it is asked for,
after the caller has compared its declared shape with what the network needs, so that memory is
bounded by the network and never by what a file claims.
"""

from __future__ import annotations

import json
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cnngen.errors import Source, WeightsError
from cnngen.frontends.files import open_regular
from cnngen.ir import Array

MAX_HEADER = 16_000_000
MAX_TENSORS = 100_000
MAX_RANK = 32

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

    def __init__(self, handle: BinaryIO, source: Source) -> None:
        self.handle = handle
        self.source = source
        self.tensors: dict[str, Stored] = {}

    @abstractmethod
    def read(self, name: str) -> Array:
        """The tensor `name` in native byte order and C order, in its own type (bfloat16 as float32)."""

    def error(self, problem: str, remedy: str | None = "save the file again") -> WeightsError:
        """A `WeightsError` about this file."""
        return WeightsError(problem, remedy=remedy, source=self.source)


@contextmanager
def open_weights(path: Path, *, place: Source | None = None) -> Iterator[WeightFile]:
    """The weight file at `path`, its table of contents checked.

    `place` is where a spec names it, for the message where it is missing. Raises `WeightsError`.
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
    with open_regular(path, WeightsError, source=place or source) as handle:
        yield readers[suffix](handle, source)


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

    def __init__(self, handle: BinaryIO, source: Source) -> None:
        super().__init__(handle, source)
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
                names = [name for name, _ in pairs]
                twice = next(name for name in names if names.count(name) > 1)
                raise self.error(f"names the tensor {twice!r} twice")
            return mapping

        try:
            header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
        except (ValueError, RecursionError) as problem:
            raise self.error(f"has a header that is no JSON ({str(problem)[:80]})") from None
        if not isinstance(header, dict):
            raise self.error("has a header that is no JSON object")
        if len(header) > MAX_TENSORS:
            raise self.error(f"holds {len(header):,} tensors, at most {MAX_TENSORS:,} are read")
        return header

    def _declare(self, name: str, entry: Any) -> None:
        label = name[:80]
        match entry:
            case {"dtype": str(code), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if len(entry) == 3:
                pass
            case _:
                raise self.error(f"{label}: the header entry is not dtype, shape and data_offsets")
        if len(shape) > MAX_RANK or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in shape):
            raise self.error(f"{label}: {str(shape)[:80]} is no shape")
        if code not in self.TYPES:
            raise self.error(f"{label}: the type {code[:20]} is unknown", "save it as F32")
        dtype, numpy_code = self.TYPES[code]
        expected = math.prod(shape) * np.dtype(numpy_code).itemsize
        if end - begin != expected:
            raise self.error(f"{label}: shape {shape} of {dtype} is {expected:,} bytes, offsets give {end - begin:,}")
        self.tensors[name] = Stored(tuple(shape), dtype)
        self.ranges[name] = (begin, end, numpy_code)

    def _check_ranges(self, size: int) -> None:
        """Raise unless the tensors cover the data of `size` bytes exactly once."""
        position = 0
        for begin, end, name in sorted((begin, end, name) for name, (begin, end, _) in self.ranges.items()):
            if begin != position:
                kind = "overlaps the tensor before it" if begin < position else "leaves a gap before it"
                raise self.error(f"{name[:80]}: its data at {begin:,} {kind}, which ends at {position:,}")
            position = end
        if position > size:
            raise self.error(f"is truncated: the tensors need {position:,} bytes, {size:,} are there")
        if position < size:
            raise self.error(f"has {size - position:,} bytes that belong to no tensor")


class NpzFile(WeightFile):
    """A zip archive of .npy arrays, as `numpy.savez` writes it; never unpickled."""

    def __init__(self, handle: BinaryIO, source: Source) -> None:
        super().__init__(handle, source)
        try:
            self.archive = zipfile.ZipFile(handle)
        except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, struct.error) as problem:
            raise self.error(f"is truncated or no zip archive ({problem})") from None
        self.members: dict[str, tuple[zipfile.ZipInfo, np.dtype[Any], bool]] = {}
        entries = self.archive.infolist()
        if len(entries) > MAX_TENSORS:
            raise self.error(f"holds {len(entries):,} arrays, at most {MAX_TENSORS:,} are read")
        for entry in entries:
            self._declare(entry)

    def read(self, name: str) -> Array:
        entry, dtype, fortran = self.members[name]
        with self._open(entry) as member:
            self._array_header(member, entry)
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
        label = file_name[:80]
        parts = file_name.replace("\\", "/").split("/")
        if ".." in parts or file_name.startswith(("/", "\\")) or "\0" in entry.orig_filename:
            raise self.error(f"holds the member {label!r}, a path that leads outside")
        if not file_name.endswith(".npy"):
            raise self.error(f"holds the member {label!r}, which is no .npy array", "save it with numpy.savez")
        name = file_name.removesuffix(".npy")
        if name in self.tensors:
            raise self.error(f"names the tensor {name[:80]!r} twice")
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.error(f"{label}: is encrypted or compressed in an unusual way", "save it with numpy.savez")
        with self._open(entry) as member:
            shape, fortran, dtype, header = self._array_header(member, entry)
        if dtype.hasobject:
            raise self.error(f"{label}: is an array of Python objects, which is a pickle", "save float32 arrays")
        if len(shape) > MAX_RANK or any(n < 0 for n in shape):
            raise self.error(f"{label}: {str(shape)[:80]} is no shape")
        declared = header + math.prod(shape) * dtype.itemsize
        if declared != entry.file_size:
            problem = f"{label}: shape {shape} of {dtype} needs {declared:,} bytes, the archive has {entry.file_size:,}"
            raise self.error(problem, "the file is truncated or damaged: save it again")
        self.tensors[name] = Stored(shape, dtype.name)
        self.members[name] = (entry, dtype, fortran)

    def _open(self, entry: zipfile.ZipInfo) -> zipfile.ZipExtFile:
        try:
            return self.archive.open(entry)  # type: ignore[return-value]  # typeshed says IO[bytes]
        except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, struct.error) as problem:
            raise self.error(f"{entry.filename[:80]}: is damaged ({problem})") from None

    def _piece(self, member: zipfile.ZipExtFile, size: int, entry: zipfile.ZipInfo) -> bytes:
        try:
            return member.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError) as problem:
            raise self.error(f"{entry.filename[:80]}: is damaged ({problem})") from None

    def _array_header(
        self, member: zipfile.ZipExtFile, entry: zipfile.ZipInfo
    ) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
        """Shape, Fortran order, type and length of the header of an open .npy member."""
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NumPy's, of headers that Python 2 wrote
                version = np.lib.format.read_magic(member)
                shape, fortran, dtype = readers[version](member)
        except HEADER_ERRORS as problem:
            raise self.error(f"{entry.filename[:80]}: has no valid array header ({str(problem)[:80]})") from None
        except (zipfile.BadZipFile, zlib.error, MemoryError) as problem:
            raise self.error(f"{entry.filename[:80]}: is damaged ({problem})") from None
        return shape, fortran, dtype, member.tell()
