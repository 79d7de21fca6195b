"""Breaks long lines of generated C where a person would: between statements, arguments or terms."""

from __future__ import annotations

import re
from collections.abc import Iterator

COLUMNS = 120
"""No line is longer, unless it has no place to break at."""
STEP = " " * 4

_BREAKS = re.compile(r"[,;] | (?=[-+*/?:] )")
_TRAILING_COMMENT = re.compile(r"^(\s*\S.*?) *(/\*.*\*/)$")


def wrap(text: str, columns: int = COLUMNS) -> str:
    """`text` with no line beyond `columns`; only white space changes, and where comments stand.

    A statement that does not fit goes to a line of its own, the rest of one is indented by a step. A comment
    behind code that does not fit goes in front of it. Lines for the preprocessor stay as they are.
    """
    return "\n".join(part for line in text.split("\n") for part in _parts(line, columns))


def _parts(line: str, columns: int) -> Iterator[str]:
    if len(line) <= columns or line.startswith("#"):
        yield line
        return
    indent = line[: len(line) - len(line.lstrip())]
    if line.lstrip().startswith("/*") or not re.search(r"[;{}(),]", line):
        yield from _comment(line, indent, columns)
        return
    if found := _TRAILING_COMMENT.match(line):
        yield from _comment(f"{indent}{found[2]}", indent, columns)
        line = found[1]
    rest = line
    while len(rest) > columns:
        place = _best_break(rest, columns)
        if place is None:
            break
        end, ends_statement = place
        yield rest[:end].rstrip()
        rest = (indent if ends_statement else indent + STEP) + rest[end:].lstrip()
    yield rest


def _best_break(line: str, columns: int) -> tuple[int, bool] | None:
    """Where to break, at the lowest nesting and there as late as fits, and whether a statement ends there."""
    start = len(line) - len(line.lstrip())
    best: tuple[int, int] | None = None
    for found in _BREAKS.finditer(line, start + 1):
        separator = found[0].strip()
        end = found.end() if separator else found.start()
        if end - bool(separator) > columns:
            break
        depth = sum(line.count(c, 0, found.start()) for c in "([{") - sum(
            line.count(c, 0, found.start()) for c in ")]}"
        )
        rank = 3 * depth + {";": 0, ",": 1}.get(separator, 2)
        if best is None or rank <= best[0]:
            best = rank, end
    return None if best is None else (best[1], best[0] == 0)


def _comment(line: str, indent: str, columns: int) -> Iterator[str]:
    """A comment on lines of its own, the text of each under that of the first."""
    rest = line
    while len(rest) > columns:
        end = rest.rfind(" ", len(indent) + 3, columns + 1)
        if end < 0:
            break
        yield rest[:end]
        rest = f"{indent}   {rest[end + 1 :]}"
    yield rest
