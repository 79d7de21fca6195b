"""Long lines of generated C: where they are broken, and that nothing but white space changes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnngen import pipeline
from cnngen.backends.cpu.wrap import COLUMNS, wrap
from tests.graphs import EXAMPLES

WORDS = st.sampled_from(
    ["a0_1", "v_load(weight + 8)", "out", "x[12]", "f(a, b)", "(c, 3)", "17", "long_name_of_a_kernel"]
)
LINES = st.lists(st.tuples(WORDS, st.sampled_from([", ", "; ", " + ", " ? ", " - "])), min_size=1, max_size=40)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize(
    ("line", "wrapped"),
    [
        ("    f(a, b);", "    f(a, b);"),
        ("    f(aaaa, bbbb, cccc, dddddd);", "    f(aaaa, bbbb, cccc,\n        dddddd);"),
        ("    aaaa = f(b, c); dddd = 1; eeee = 2;", "    aaaa = f(b, c); dddd = 1;\n    eeee = 2;"),
        ("    a = aaaaaaaa + g(b, c, d) + ffff;", "    a = aaaaaaaa + g(b, c, d)\n        + ffff;"),
        ("    for (int i = 0; i < aaaaaaaaa; ++i) {", "    for (int i = 0;\n        i < aaaaaaaaa; ++i) {"),
        ("#define AAAAAAAAAAAA aaaaaaaaaaaaaa bbbbbbbbb", "#define AAAAAAAAAAAA aaaaaaaaaaaaaa bbbbbbbbb"),
        ("  /* aaaa bbbb cccc dddd eeee ffff */", "  /* aaaa bbbb cccc dddd eeee\n     ffff */"),
        ("    aaaa(bbbb, cccc); /* dddd eeee */", "    /* dddd eeee */\n    aaaa(bbbb, cccc);"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;"),
    ],
    ids=["short", "arguments", "statements", "terms", "loop", "preprocessor", "comment", "trailing", "no place"],
)
def test_lines_break_where_a_person_would(line: str, wrapped: str) -> None:
    assert wrap(line, 30) == wrapped


@given(LINES, st.integers(0, 20))
def test_only_white_space_changes(words: list[tuple[str, str]], indent: int) -> None:
    line = " " * indent + "".join(word + separator for word, separator in words).rstrip() + ";"
    text = f"{line}\n\n{line}\n"
    found = wrap(text, 60)
    assert squeezed(found) == squeezed(text)
    assert found.count("\n\n") == 1
    assert max(map(len, found.splitlines())) <= 60
    assert all(part == part.rstrip() for part in found.splitlines())


@pytest.mark.parametrize("isa", ["scalar", "avx512-emulated"])
def test_no_generated_line_is_too_long(isa: str) -> None:
    for build in EXAMPLES.values():
        for name, text in pipeline.sources(pipeline.plan_for(build(), isa=isa, threads=2)).files.items():
            assert max(map(len, text.splitlines())) <= COLUMNS, name
