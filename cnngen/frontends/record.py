"""What a front end read and remarked on: enough to tell later whether it would read the same again."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from cnngen.digest import digest_file

Place = Literal["given", "spec", "shipped"]
"""Where a weights file was found: the caller gave it, in the folder of the spec, or with cnngen."""


class WeightsRead(NamedTuple):
    """A weights file: `name` as the spec or the caller wrote it, `file` the name of what it led to, links followed."""

    name: str
    place: Place
    file: str
    digest: str


def spec_digest(spec: bytes) -> str:
    """The digest of a spec's text."""
    return hashlib.sha256(spec).hexdigest()


class Record:
    """Filled while a spec is read.

    Without `digests` the files are not hashed. A `silent` one holds warnings back: they were given before.
    With `strict`, weights that look wrong are an error, whatever the spec says.
    """

    def __init__(self, *, digests: bool = True, silent: bool = False, strict: bool = False) -> None:
        self.digests = digests
        self.strict = strict
        self.silent = silent
        self.spec: bytes | None = None
        """The text of the spec."""
        self.weights: WeightsRead | None = None
        self.model: str | None = None
        """Digest of the file of an ONNX model."""
        self.data: list[tuple[str, str]] = []
        """Files beside a model that hold its weights: name as the model has it, digest."""
        self.warnings: list[tuple[str, type[Warning]]] = []

    def content(self) -> str | None:
        """The digest of the spec or of the model's file; None where neither was noted."""
        return self.model if self.spec is None else spec_digest(self.spec)

    def read_weights(self, name: str, place: Place, path: Path, handle: BinaryIO) -> None:
        """Note an open weights file."""
        if self.digests:
            self.weights = WeightsRead(name, place, path.name, digest_file(handle.fileno()).hex())

    def read_model(self, handle: BinaryIO) -> None:
        """Note the open file of an ONNX model."""
        if self.digests:
            self.model = digest_file(handle.fileno()).hex()

    def read_data(self, name: str, handle: BinaryIO) -> None:
        """Note an open file of external data; `name` is the one that the model gives it."""
        if self.digests:
            self.data.append((name, digest_file(handle.fileno()).hex()))

    def warn(self, text: str, category: type[Warning]) -> None:
        """Warn the caller. Every warning of a front end goes through here, so that a warm start repeats it."""
        self.warnings.append((text, category))
        if not self.silent:
            warnings.warn(text, category, stacklevel=3)
