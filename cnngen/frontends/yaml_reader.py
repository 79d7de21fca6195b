"""Reads YAML text into plain values that know their lines, and refuses what surprises people.

PyYAML does the parsing; the values are built here from its events, without recursion, so that size,
nesting and aliases are bounded before anything grows. No tag constructs anything. Plain scalars
follow the core schema of YAML 1.2: `no`, `on` and `1:30` are text, `1e3` is a number, and `010`,
which is 8 for some readers and 10 for others, is refused. Duplicate keys are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from cnngen.errors import Source, SpecError, brief

MAX_DEPTH = 50
MAX_VALUES = 200_000
"""Values in the document, aliases counted as often as they are used."""

Value = Any
"""None, bool, int, float, str, `Expression`, `YamlList` or `YamlMap`."""


class Expression(str):
    """A plain (unquoted) scalar that mentions a block parameter, such as ``$filters * 4``."""

    __slots__ = ()


class YamlMap(dict[str, Any]):
    """A mapping; `line` is where it begins, `lines` where each key stands, `size` how many values are in it."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.size = 0
        self.lines: dict[str, int] = {}

    def put(self, key: str, value: Value, line: int) -> None:
        """Add an entry whose key stands on `line`."""
        self[key] = value
        self.lines[key] = line


class YamlList(list[Any]):
    """A sequence; `line` is where it begins, `lines` where each item does, `size` how many values are in it."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.size = 0
        self.lines: list[int] = []

    def put(self, value: Value, line: int) -> None:
        """Add an item that begins on `line`."""
        self.append(value)
        self.lines.append(line)


def line_of(value: Value, path: tuple[int | str, ...], default: int) -> int:
    """The line of the entry at `path` inside `value`, or of the deepest one on the way to it."""
    line = default
    for step in path:
        if isinstance(value, YamlMap) and step in value:
            line, value = value.lines[str(step)], value[str(step)]
        elif isinstance(value, YamlList) and isinstance(step, int) and step < len(value):
            line, value = value.lines[step], value[step]
        else:
            break
    return line


def parse_yaml(data: bytes, file: str) -> YamlMap:
    """The mapping in a UTF-8 text; `file` is only for messages. Raises `SpecError` naming the line."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError(
            f"byte 0x{data[error.start]:02x} is not UTF-8", remedy="save the file as UTF-8", source=Source(file, line)
        ) from None
    return _Builder(file).build(text)


@dataclass
class _Open:
    """A container under construction: its key in hand, and the anchor that will name it."""

    value: YamlMap | YamlList
    anchor: str | None
    values: int = 1
    key: str | None = None
    key_line: int = 0


@dataclass
class _Builder:
    file: str
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Value, int]] = field(default_factory=dict)
    root: Value = None
    values: int = 0

    def build(self, text: str) -> YamlMap:
        documents = 0
        for event in self._events(text):
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                raise self._error("a second document begins here", event, "keep one network in a file")
            self._take(event)
        if self.root is None:
            raise SpecError(
                "is empty", remedy="start with `cnngen: 1`, then input:, weights: and layers:", source=Source(self.file)
            )
        if not isinstance(self.root, YamlMap):
            kind = "a list" if isinstance(self.root, YamlList) else "a single value"
            raise SpecError(
                f"is {kind}, not a mapping",
                remedy="start with `cnngen: 1`, then input:, weights: and layers:",
                source=Source(self.file, 1),
            )
        return self.root

    def _events(self, text: str) -> Iterator[Any]:
        """PyYAML's events; libyaml where PyYAML was built with it, for speed only."""
        try:
            yield from yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            if (
                "maximum nesting depth" in f"{error.problem} {error.context}"
            ):  # libyaml's own limit, which it reads ahead to
                raise SpecError(
                    f"is nested deeper than {MAX_DEPTH} levels",
                    remedy="a spec needs five or six",
                    source=Source(self.file, mark.line + 1 if mark else None),
                ) from None
            context = f" {error.context}" if error.context else ""
            lines = text.splitlines()
            here = lines[mark.line] if mark and mark.line < len(lines) else ""
            remedy = "check the indentation, brackets and quotes on this line and the one before"
            if "\t" in here[: len(here) - len(here.lstrip())]:
                remedy = "indent with spaces: YAML allows no tab there"
            raise SpecError(
                f"is not valid YAML: {brief(error.problem or 'cannot be parsed')}{context}",
                remedy=remedy,
                source=Source(self.file, mark.line + 1 if mark else None),
            ) from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise SpecError(
                f"holds a character that YAML does not allow ({error.reason})",
                remedy="remove control characters",
                source=Source(self.file, line),
            ) from None
        except yaml.YAMLError as error:
            raise SpecError(f"is not valid YAML: {error}", source=Source(self.file)) from None

    def _take(self, event: Any) -> None:
        if getattr(event, "tag", None) is not None:
            raise self._error(f"the tag {brief(str(event.tag))!r} is not allowed", event, "write the plain value")
        line = event.start_mark.line + 1
        match event:
            case yaml.MappingStartEvent():
                self._enter(YamlMap(line), event)
            case yaml.SequenceStartEvent():
                self._enter(YamlList(line), event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self.stack.pop()
                done.value.size = done.values
                self._place(done.value, done.value.line, event, done.anchor, done.values)
            case yaml.AliasEvent():
                if event.anchor not in self.anchors:
                    raise self._error(
                        f"*{brief(str(event.anchor))} refers to nothing that is complete before it",
                        event,
                        "define the anchor above, outside of what uses it",
                    )
                value, values = self.anchors[event.anchor]
                self._count(values, event)
                self._place(value, line, event, None, values)
            case yaml.ScalarEvent():
                self._count(1, event)
                self._scalar(event, line)

    def _enter(self, value: YamlMap | YamlList, event: Any) -> None:
        if self._awaits_key():
            raise self._error("a key must be a plain word", event, "check the brackets and colons on this line")
        if len(self.stack) >= MAX_DEPTH:
            raise self._error(f"is nested deeper than {MAX_DEPTH} levels", event, "a spec needs five or six")
        self._count(1, event)
        self.stack.append(_Open(value, event.anchor))

    def _scalar(self, event: Any, line: int) -> None:
        plain = event.implicit[0] and not event.style
        if self._awaits_key():
            self._key(event, line)
        else:
            value = self._resolve(event) if plain else event.value
            self._place(value, line, event, event.anchor, 1)

    def _key(self, event: Any, line: int) -> None:
        owner = self.stack[-1]
        assert isinstance(owner.value, YamlMap)
        if event.value == "<<":
            raise self._error("merge keys (<<) are not part of the spec language", event, "use a block with parameters")
        if event.value in owner.value:
            first = owner.value.lines[event.value]
            raise self._error(
                f"the key {brief(event.value)!r} is given twice, first on line {first}", event, "remove one of the two"
            )
        owner.key, owner.key_line = event.value, line

    def _place(self, value: Value, line: int, event: Any, anchor: str | None, values: int) -> None:
        """Put a finished value into the container that is being built."""
        if anchor is not None:
            self.anchors[anchor] = (value, values)
        if not self.stack:
            self.root = value
            return
        owner = self.stack[-1]
        owner.values += values
        if isinstance(owner.value, YamlList):
            owner.value.put(value, line)
        elif owner.key is None:
            raise self._error("a key must be a plain word", event, "write the key out instead of an alias")
        else:
            owner.value.put(owner.key, value, owner.key_line)
            owner.key = None

    def _awaits_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, YamlMap) and self.stack[-1].key is None

    def _count(self, values: int, event: Any) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            raise self._error(
                f"holds more than {MAX_VALUES:,} values, aliases expanded", event, "use blocks for what repeats"
            )

    def _resolve(self, event: Any) -> Value:
        try:
            return resolve(event.value)
        except ValueError as error:
            problem, remedy = error.args
            raise self._error(problem, event, remedy) from None

    def _error(self, problem: str, event: Any, remedy: str) -> SpecError:
        return SpecError(problem, remedy=remedy, source=Source(self.file, event.start_mark.line + 1))


_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)")
_RADIX = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_PARAMETER = re.compile(r"\$[A-Za-z_]")


def resolve(text: str) -> Value:
    """The value of a plain scalar; raises ``ValueError(problem, remedy)`` where people would disagree."""
    if text in _WORDS:
        return _WORDS[text]
    if _DECIMAL.fullmatch(text) or _RADIX.fullmatch(text):
        if len(text) > 40:
            raise ValueError(f"a number of {len(text)} digits", "numbers have at most 40 digits")
        return int(text, 0)
    if _LEADING_ZERO.fullmatch(text):
        raise ValueError(
            f"{brief(text)} has a leading zero: 8 to the base for some readers, 10 for others",
            "drop the zero, or quote it where it is a name",
        )
    if _FLOAT.fullmatch(text):
        return float(text)
    return Expression(text) if _PARAMETER.search(text) else text
