"""What a backend emits: the files of one network, and how they want to be compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnngen.ir import Array


@dataclass(frozen=True, eq=False)
class SourceTree:
    """Sources of one network, relative to the folder they will be written to.

    `files` are texts, `blobs` are written byte for byte (packed weights), `units` names the files
    that the compiler is called on, `flags` and `links` are its options when compiling and linking.
    """

    name: str
    files: Mapping[str, str]
    blobs: Mapping[str, Array]
    units: tuple[str, ...]
    flags: tuple[str, ...]
    links: tuple[str, ...] = ()
