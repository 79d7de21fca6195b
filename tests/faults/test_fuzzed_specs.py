"""Shipped specs with random damage: each is read, or refused with a place and a remedy; nothing else comes out."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cnngen.errors import CnngenError
from cnngen.frontends import yaml_spec
from cnngen.frontends.record import Record
from cnngen.ir import Graph
from cnngen.resources import specs_folder

SPECS = {path.name: path.read_text(encoding="utf-8") for path in sorted(specs_folder().glob("*.yaml"))}
VALUES = (
    "0", "-1", "1", "2", "3.5", "1e9", "2147483647", "9" * 30, "010", "1:30", "true", "no", "~", "''", ".nan", "-.inf",
    "[]", "{}", "[1, 2]", "[1, 2, 3, 4]", "{a: 1}", "$filters", "$nobody * 2", "same", "relu", "input", "!!int 3",
    "&a x", "*a", "|", "conv2d", "{conv2d: {filters: 1, kernel: 1}}", "random", "../x.npz",
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A shipped spec with a few of its values, lines or bytes changed."""
    text = SPECS[draw(st.sampled_from(sorted(SPECS)))]
    for _ in range(draw(st.integers(1, 3))):
        lines = text.splitlines(keepends=True)
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["value", "drop", "repeat", "move", "indent"])):
            case "value":
                key, colon, _ = lines[at].rpartition(":")
                lines[at] = f"{key}{colon} {draw(st.sampled_from(VALUES))}\n"
            case "drop":
                del lines[at]
            case "repeat":
                lines[at:at] = lines[at : at + draw(st.integers(1, 5))] * draw(st.integers(1, 3))
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
            case "indent":
                lines[at] = " " * draw(st.integers(0, 9)) + lines[at].lstrip()
        text = "".join(lines) or "\n"
    data = text.encode()
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=4)) + data[at + draw(st.integers(0, 3)) :]
    return data


@pytest.fixture(scope="module", autouse=True)
def _without_weights() -> object:
    """Drawing the weights of VGG-16 would take all the time, and has nothing to do with the text."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("random_weights", "load_weights"):
            patch.setattr(yaml_spec, name, lambda graph, *arguments, **options: graph)
        yield


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged())
@example(b"")
@example(b"\xff")
def test_damage_to_a_shipped_spec_gets_a_typed_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(data)
    error = refusal(path)
    if error is not None:
        message = str(error)
        assert message.startswith(f"{path}: ") or message.startswith(f"{path}:{error.source and error.source.line}: ")
        assert error.exit_code == 2
        assert len(message) < 2000


def refusal(path: Path) -> CnngenError | None:
    """What the spec is refused with; None where it is read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph = yaml_spec.load_spec(path, record=Record(digests=False))
        except CnngenError as error:
            return error
    assert isinstance(graph, Graph)
    return None


@pytest.mark.parametrize("name", SPECS)
def test_an_undamaged_spec_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SPECS[name], encoding="utf-8")
    assert refusal(tmp_path / name) is None
