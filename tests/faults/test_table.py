"""docs/robustness.md and the tests name the same cases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs/robustness.md"
CASES = {*range(1, 91)}
"""Those of the front ends, toolchain, cache, runtime and GPU."""


def named() -> dict[str, str]:
    """Every test function in this folder, with its file."""
    return {
        name: path.name
        for path in FOLDER.glob("test_*.py")
        for name in re.findall(r"^ *def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }


def numbers(name: str) -> set[int]:
    """The cases in the name of a test, such as test_case_24_to_27_..."""
    found = re.match(r"test_case_(\d\d)((?:_and_\d\d)*)(?:_to_(\d\d))?_", name)
    if found is None:
        return set()
    listed = {int(found[1]), *map(int, re.findall(r"\d\d", found[2]))}
    return listed | set(range(int(found[1]), int(found[3]) + 1)) if found[3] else listed


def rows() -> dict[int, set[str]]:
    """The tests that the page names for each case."""
    lines = re.findall(r"^\| (\d+) \|[^|\n]*\|[^|\n]*\| ([^|\n]*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {int(number): set(re.findall(r"`(test_\w+)`", cell)) for number, cell in lines}


def test_every_case_has_a_test_of_its_number() -> None:
    assert set().union(*map(numbers, named())) == CASES


def with_tests(page: str) -> str:
    """`page` with the last column of every row put together from the tests that exist."""

    def row(found: re.Match[str]) -> str:
        tests = sorted(name for name in named() if int(found[2]) in numbers(name))
        return f"{found[1]}{', '.join(f'`{name}`' for name in tests)} |"

    return re.sub(r"^(\| (\d+) \|[^|\n]*\|[^|\n]*\| )[^|\n]* \|$", row, page, flags=re.MULTILINE)


def test_every_case_has_a_row_with_its_tests(request: pytest.FixtureRequest) -> None:
    page = PAGE.read_text(encoding="utf-8")
    if request.config.getoption("--update-golden"):
        PAGE.write_text(with_tests(page), encoding="utf-8")
        return
    assert set(rows()) == CASES
    assert all(rows().values())
    assert page == with_tests(page), "pytest tests/faults/test_table.py --update-golden writes the names of the tests"
