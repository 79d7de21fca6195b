"""Reads the weights of a large model straight into arrays; protobuf gets the rest of the file.

Protobuf keeps a copy of every byte that it parses, and Python makes another one of each field that is read: three
times the weights, the file included. So their data are cut out before. Only what has the usual form is cut, and the
rest goes to protobuf byte for byte; for a file that is not quite as expected all of it does, errors included.

The wire format (https://protobuf.dev/programming-guides/encoding): a message is a sequence of fields, each a varint
``number << 3 | kind`` and its value; of kind 2 that is a length, a varint too, and so many bytes. onnx.proto has the
numbers: a ModelProto has its graph in field 7, that its initialisers in field 5, these their data in field 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from cnngen.ir import Array

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Kinds of fields; 3 and 4, groups, are obsolete."""
LEAST = 1 << 12
"""Bytes of data that are worth a cut."""
WINDOW = 1 << 16
MAX_VARINT = 10
"""Bytes."""


class _FormError(Exception):
    """The file is not of the usual form."""


@dataclass(frozen=True)
class _Field:
    """A field of a message: the whole of it from `start`, and its value from `body`, up to `end`."""

    number: int
    kind: int
    start: int
    body: int
    end: int


def read_skeleton(handle: BinaryIO, size: int) -> tuple[bytes, dict[int, Array]] | None:
    """The model in `handle`, a file of `size` bytes, without the data of its large initialisers, and these data.

    They are bytes, by the number of the initialiser. None where the file is not of the usual form, or nothing is
    large; `handle` then stands at the beginning.
    """
    reader = _Reader(handle, size)
    large: dict[int, Array] = {}
    try:
        model = b"".join(_model(reader, size, large))
    except _FormError:
        large = {}
    if large:
        return model, large
    handle.seek(0)
    return None


def _model(reader: _Reader, size: int, large: dict[int, Array]) -> Iterator[bytes]:
    graphs = 0
    for field in reader.fields(0, size):
        if field.number == GRAPH and field.kind == BYTES:
            graphs += 1
            if graphs > 1:  # protobuf would join them
                raise _FormError
            yield _message(GRAPH, b"".join(_graph(reader, field, large)))
        else:
            yield reader.bytes(field.start, field.end)


def _graph(reader: _Reader, graph: _Field, large: dict[int, Array]) -> Iterator[bytes]:
    number = 0
    for field in reader.fields(graph.body, graph.end):
        if field.number == INITIALIZER and field.kind == BYTES:
            yield from _initializer(reader, field, number, large)
            number += 1
        else:
            yield reader.bytes(field.start, field.end)


def _initializer(reader: _Reader, tensor: _Field, number: int, large: dict[int, Array]) -> Iterator[bytes]:
    data = None
    if tensor.end - tensor.body >= LEAST:
        fields = list(reader.fields(tensor.body, tensor.end))
        found = [field for field in fields if field.number == RAW_DATA]
        if len(found) == 1 and found[0].kind == BYTES and found[0].end - found[0].body >= LEAST:
            (data,) = found
    if data is None:
        yield reader.bytes(tensor.start, tensor.end)
        return
    large[number] = reader.array(data.body, data.end)
    yield _message(INITIALIZER, b"".join(reader.bytes(field.start, field.end) for field in fields if field != data))


def _message(number: int, body: bytes) -> bytes:
    """A field that holds a message."""
    return _varint(number << 3 | BYTES) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    """`value` in groups of seven bits, the lowest first; the highest bit of a byte says that another one follows."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


class _Reader:
    """A file through a window, so that a few bytes here and there are not a system call each."""

    def __init__(self, handle: BinaryIO, size: int) -> None:
        self._handle, self._size = handle, size
        self._window, self._first = b"", 0

    def fields(self, start: int, end: int) -> Iterator[_Field]:
        """The fields of the message in these bytes. Raises `_FormError`."""
        place = start
        while place < end:
            key, body = self._varint(place, end)
            number, kind = key >> 3, key & 7
            if kind == BYTES:
                length, body = self._varint(body, end)
                stop = body + length
            elif kind == VARINT:
                _, stop = self._varint(body, end)
            elif kind in (FIXED32, FIXED64):
                stop = body + (4 if kind == FIXED32 else 8)
            else:
                raise _FormError
            if stop > end or not number:
                raise _FormError
            yield _Field(number, kind, place, body, stop)
            place = stop

    def bytes(self, start: int, end: int) -> bytes:
        if end - start > WINDOW:
            return self.array(start, end).tobytes()
        if not self._first <= start <= end <= self._first + len(self._window):
            self._handle.seek(start)
            self._window, self._first = self._handle.read(WINDOW), start
        found = self._window[start - self._first : end - self._first]
        if len(found) != end - start:
            raise _FormError
        return found

    def array(self, start: int, end: int) -> Array:
        """The bytes from `start` to `end`, which are held once."""
        data = np.empty(end - start, np.uint8)
        self._handle.seek(start)
        filled = self._handle.readinto(data.data)  # type: ignore[attr-defined]  # a buffered reader
        if filled != len(data):
            raise _FormError
        data.flags.writeable = False
        return data

    def _varint(self, place: int, end: int) -> tuple[int, int]:
        """The number at `place`, and where it ends."""
        value = 0
        for index, byte in enumerate(self.bytes(place, min(place + MAX_VARINT, end))):
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return value, place + index + 1
        raise _FormError


__all__ = ["read_skeleton"]
