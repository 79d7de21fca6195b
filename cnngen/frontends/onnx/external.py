"""Data of a model that lie in files beside it: opened without leaving its folder, read within their bounds."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from cnngen.digest import digest_file
from cnngen.errors import ModelError, Source, inert
from cnngen.frontends.files import open_regular
from cnngen.frontends.record import Record

if TYPE_CHECKING:
    import onnx

KEYS = ("location", "offset", "length", "checksum", "basepath")
REMEDY = "put the file into the folder of the model and name it relative to it"
MAX_DIGITS = 19


class Folder:
    """The folder of a model, with the files of external data that were opened so far."""

    def __init__(self, folder: Path | None, source: Source, record: Record) -> None:
        self.folder, self.source, self.record = folder, source, record
        self._files: dict[str, tuple[BinaryIO, int]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def read(self, tensor: onnx.TensorProto, needed: int) -> bytearray:
        """The `needed` bytes of `tensor`. Raises `ModelError` where they are not there, or not within the folder."""
        entries: dict[str, str] = {}
        for entry in tensor.external_data:
            if entry.key not in KEYS or entry.key in entries:
                what = "twice" if entry.key in entries else "which is unknown"
                raise ModelError(f"its external data has the key {inert(entry.key)!r}, {what}")
            entries[entry.key] = entry.value
        if "location" not in entries:
            raise ModelError("its external data names no file", remedy="export the model again")
        offset = _whole("offset", entries.get("offset", "0"))
        handle, size = self._open(entries["location"])
        length = _whole("length", entries["length"]) if "length" in entries else needed
        if length != needed:
            raise ModelError(f"its external data has {length:,} bytes, its shape and type need {needed:,}")
        if offset + length > size:
            name = inert(entries["location"])
            raise ModelError(f"its data end at byte {offset + length:,} of {name}, which has {size:,}")
        data = bytearray(length)
        handle.seek(offset)
        filled = handle.readinto(data)  # type: ignore[attr-defined]  # a buffered reader
        if filled != length:
            raise ModelError(f"{inert(entries['location'])} was truncated while it was read")
        return data

    def digest(self, name: str) -> str:
        """The digest of the file that the model calls `name`. Raises `ModelError` where it may not be read."""
        return digest_file(self._open(name)[0].fileno()).hex()

    def _open(self, name: str) -> tuple[BinaryIO, int]:
        if name not in self._files:
            path = self._find(name)
            handle = self._stack.enter_context(open_regular(path, ModelError, source=self.source))
            status = os.fstat(handle.fileno())
            if status.st_nlink > 1:
                problem = f"external data {inert(name)!r} is a hard link: the file has {status.st_nlink} names"
                raise ModelError(problem, remedy="copy it into the folder of the model")
            self.record.read_data(name, handle)
            self._files[name] = handle, status.st_size
        return self._files[name]

    def _find(self, name: str) -> Path:
        """The path of `name`, which is refused where any part of it leads out of the folder or is a link."""
        label = inert(name)
        if self.folder is None:
            raise ModelError(f"external data {label!r}: the model is in memory", remedy="give the path of its file")
        relative = Path(name)
        if not name.strip() or "\0" in name or relative.is_absolute() or ".." in relative.parts or "\\" in name:
            raise ModelError(f"external data {label!r} lies outside the folder of the model", remedy=REMEDY)
        path = self.folder
        for part in relative.parts:
            path = path / part
            if path.is_symlink():
                raise ModelError(f"external data {label!r} is reached through the link {inert(part)!r}", remedy=REMEDY)
        return path


def model_data_digest(model: Path, name: str) -> str:
    """The digest of the file `name` beside the file `model`. Raises `ModelError` where it may not be read."""
    with Folder(model.parent, Source(str(model)), Record(digests=False)) as files:
        return files.digest(name)


def _whole(key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > MAX_DIGITS:
        raise ModelError(f"its external data has the {key} {inert(text)!r}", remedy="export the model again")
    return int(text)
