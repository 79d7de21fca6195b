"""Small specs written to a temporary folder, for the tests of the front end."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from cnngen.errors import CnngenError, SpecError
from cnngen.frontends import load
from cnngen.ir import Graph

HEADER = "cnngen: 1\ninput: {shape: [8, 8, 3]}\nweights: random\n"
"""Three lines: the layers of `network` begin on line 5."""


def network(*layers: str, header: str = HEADER) -> str:
    """A spec of these layers, one line each: ``layers:`` is line 4, the first layer line 5."""
    return header + "layers:\n" + "".join(f"  - {layer}\n" for layer in layers)


def write(folder: Path, text: str | bytes, name: str = "net.yaml") -> Path:
    """The spec `text` as a file in `folder`."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    return path


def parse(folder: Path, text: str | bytes, **options: object) -> Graph:
    """The graph of the spec `text`."""
    return load(write(folder, text), **options)  # type: ignore[arg-type]


def refusal(
    folder: Path,
    text: str | bytes,
    *fragments: str,
    line: int | None = None,
    layer: str | None = None,
    error: type[CnngenError] = SpecError,
) -> CnngenError:
    """The error that the spec `text` gets; its message must hold the place and all `fragments`."""
    path = write(folder, text)
    with pytest.raises(error) as caught:
        load(path)
    message = str(caught.value)
    place = f"{path}:{line}: " if line is not None else str(path)
    assert message.startswith(place), message
    if layer is not None:
        assert caught.value.layer == layer, message
        assert f"{layer}: " in message
    for fragment in fragments:
        assert fragment in message, message
    assert caught.value.exit_code == 2
    return caught.value
