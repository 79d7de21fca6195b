"""The YAML reader: lines of everything, with libyaml and without, and the values of plain scalars."""

from __future__ import annotations

import math

import pytest
import yaml

from cnngen.errors import SpecError
from cnngen.frontends.yaml_reader import Expression, YamlMap, line_of, parse_yaml, resolve

TEXT = """\
a: 1
b:
  - x
  - {c: [1,
      2], d: "q"}
e: >
  folded
  text
"""


@pytest.fixture(params=["libyaml", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)


@pytest.mark.usefixtures("parser")
def test_values_and_lines() -> None:
    values = parse_yaml(TEXT.encode(), "f")
    assert values == {"a": 1, "b": ["x", {"c": [1, 2], "d": "q"}], "e": "folded text\n"}
    assert values == yaml.safe_load(TEXT)
    places = {("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 1): 4, ("b", 1, "c", 1): 5, ("b", 1, "d"): 5, ("e",): 6}
    for path, line in places.items():
        assert line_of(values, path, 0) == line
    assert line_of(values, ("b", 1, "missing", 3), 0) == 4
    assert line_of(values, ("missing",), 9) == 9


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "line"),
    [("a: [\n\n}", 3), ("a: 1\n b: 2\n", 2), ("a: 'x\n", 2), ("a:\n  - b\n c\n", 3), ("a: \x01\n", 1), ("a: @x\n", 1)],
)
def test_errors_name_the_line(text: str, line: int) -> None:
    with pytest.raises(SpecError) as caught:
        parse_yaml(text.encode(), "f")
    assert caught.value.source is not None
    assert str(caught.value.source).startswith("f:") or "\x01" in text
    assert caught.value.source.line in (line, line - 1, None)


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("text", ["? [a]\n: 1\n", "{[a]: 1}", "{{a: 1}: 2}", "a: &x b\n*x : 2\n"])
def test_keys_are_plain_words(text: str) -> None:
    with pytest.raises(SpecError, match=r"f:\d: a key must be a plain word"):
        parse_yaml(text.encode(), "f")


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse_yaml(b"{no: 1, 1: 2, 010: 3, ~: 4, true: 5}", "f") == {"no": 1, "1": 2, "010": 3, "~": 4, "true": 5}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("off", "off"),
        ("y", "y"),
        ("0", 0),
        ("-7", -7),
        ("+3", 3),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("0b101", 5),
        ("1e3", 1000.0),
        ("1E-3", 1e-3),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1.5e+2", -150.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        ("0x", "0x"),
        ("inf", "inf"),
        ("$", "$"),
        ("$1", "$1"),
        ("a b", "a b"),
        ("=", "="),
    ],
)
def test_plain_scalars(text: str, value: object) -> None:
    result = resolve(text)
    assert result == value
    assert type(result) is type(value)


def test_other_plain_scalars() -> None:
    assert math.isnan(resolve(".nan"))
    assert isinstance(resolve("$n * 4"), Expression)
    for text in ("010", "-01", "00", "0_1", "007"):
        with pytest.raises(ValueError, match="leading zero"):
            resolve(text)


def test_quoted_scalars_are_text() -> None:
    values = parse_yaml(b"a: ['1', \"true\", '$n', '010']", "f")
    assert isinstance(values, YamlMap)
    assert values["a"] == ["1", "true", "$n", "010"]
    assert not any(isinstance(item, Expression) for item in values["a"])
