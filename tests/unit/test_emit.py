"""The C text: whatever a network and its layers are called, no name reaches code; and it is split sensibly."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnngen import pipeline, resources
from cnngen.backends.cpu import emit
from cnngen.backends.cpu.emit import MAX_UNITS
from cnngen.backends.sources import SourceTree
from cnngen.backends.text import RESERVED_NAMES, c_comment, c_identifier, environment
from cnngen.ir import Graph
from cnngen.ops import Add, Concat, Conv2D, GlobalPool2D
from cnngen.reference import reference
from tests.graphs import EXAMPLES, RELU, SAME3, Builder, chain, feed, lenet
from tests.native import cc, native, planned, write_tree

C_WORDS = [
    "auto",
    "break",
    "case",
    "char",
    "const",
    "continue",
    "default",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "float",
    "for",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "typedef",
    "union",
    "unsigned",
    "void",
    "volatile",
    "while",
]

HOSTILE = {
    "case 24, end of comment": '*/ system("touch pwned"); /*',
    "case 24, line comment": "// */ \\",
    "case 25, newline": "a\nint x = 1/0;\n#error injected",
    "case 25, carriage return": "a\rb",
    "case 25, backslash-newline": "a\\\nb",
    "case 25, trailing backslash": "a\\",
    "case 25, trigraph": "a??/",
    "case 25, trigraph of an end": "??/\n*??/",
    "case 25, include": '#include "/etc/passwd"',
    "case 25, quotes": "\"'`$(touch pwned)",
    "case 25, format": "%s%n%d",
    "case 25, nul": "a\0b",
    "case 26, template": "{{7*7}}",
    "case 26, template statement": "{% for x in range(9) %}{{ x }}{% endfor %}",
    "case 27, keyword": "while",
    "case 27, macro": "NULL",
    "case 27, long": "x" * 10_000,
    "case 27, other letters": "größe層\u202e",
    "case 27, nothing": "",
}
SYSTEM_HEADERS = ("math", "stdint", "stddef", "string", "immintrin", "features", "omp", "limits")


def hostile_network(names: list[str], name: str = "net") -> Graph:
    """A chain of convolutions with these names, concatenated, on two inputs that have hostile names too."""
    builder = Builder({"*/ in */": (1, 5, 5, 3), "{{in}}": (1, 5, 5, 3)}, weights="integers", name=name)
    tensors = [builder.add(Conv2D(2, (3, 3), padding=SAME3), "*/ in */", name=f"{names[0]}")]
    for other in names[1:]:
        tensors.append(builder.add(Conv2D(2, (1, 1)), "{{in}}", name=other))
    joined = builder.add(Concat(), *tensors, name='joined"; */')
    return builder.graph(joined, builder.add(GlobalPool2D("max"), joined, name="pool\\"))


def without_comments(text: str) -> str:
    """C text as the compiler's first phases leave it: trigraphs, spliced lines, then comments removed."""
    assert "??" not in text, "may be a trigraph"
    assert "\\\n" not in re.sub(r"#define .*?[^\\]\n", "", text, flags=re.DOTALL), "a spliced line outside a macro"
    return re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)


def tree_of(graph: Graph, isa: str = "scalar", threads: int = 1) -> SourceTree:
    return pipeline.sources(planned(graph, isa, threads))


# Names


@given(st.text())
@settings(max_examples=200)
def test_identifiers_are_identifiers(name: str) -> None:
    found = c_identifier(name)
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,44}", found), found
    assert "__" not in found
    assert found not in RESERVED_NAMES
    assert c_identifier(found) == found


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("lenet", "lenet"),
        ("ResNet-50 (v1.5)", "resnet_50_v1_5"),
        ("3d", "net_3d"),
        ("", "net"),
        ("層", "net"),
        ("_start", "start"),
        ("a" * 39 + "-b", "a" * 39),
        ("simd", "net_simd"),
        ("vector-math", "net_vector_math"),
    ],
)
def test_identifiers_keep_what_they_can(name: str, identifier: str) -> None:
    assert c_identifier(name) == identifier


@given(st.text() | st.text("*/\\?=\n\r\"'#{}% a"))
@settings(max_examples=200)
def test_comments_cannot_be_left(text: str) -> None:
    cleaned = c_comment(text)
    assert len(cleaned) <= 160
    assert not set(cleaned) & set("*\\?\n\r\"'#%{}$`;")
    assert cleaned.isascii()
    assert cleaned.isprintable()
    assert without_comments(f"/* {cleaned} */int x;") == " int x;"


def test_comments_keep_what_people_read() -> None:
    title = "conv2d block1/conv_2: 1x56x56x64, 1x8 -> 1x56x56x64 (a=b+c) [2.5]"
    assert c_comment(title) == title


def test_cases_24_to_27_no_name_reaches_code() -> None:
    """Outside comments the text is the same, byte for byte, whatever the layers are called."""
    plain = tree_of(hostile_network([f"layer{i}" for i in range(len(HOSTILE))]))
    hostile = tree_of(hostile_network(list(HOSTILE.values())))
    assert set(hostile.files) == set(plain.files)
    assert hostile.units == plain.units
    for name, text in hostile.files.items():
        assert without_comments(text) == without_comments(plain.files[name]), name
    assert "conv2d __7_7__:" in hostile.files["net.c"], "not 49"


@pytest.mark.parametrize("isa", ["scalar", "native"])
def test_cases_24_to_27_hostile_names_compile_and_run(
    isa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, without a warning, and nothing but the network is executed."""
    monkeypatch.chdir(tmp_path)
    graph = hostile_network(list(HOSTILE.values()), name=HOSTILE["case 24, end of comment"])
    x = feed(graph, "integers")
    with native(graph, isa, flags=("-O0", "-Werror")) as net:
        results = net(x)
        assert set(net.trace(list(x.values()))) == set(graph.types)
        assert net.name == '*/ system("touch pwned"); /*'
    for result, expected in zip(results, reference(graph, x), strict=True):
        assert np.array_equal(result, expected)
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("name", [*SYSTEM_HEADERS, *RESERVED_NAMES, "int", "main", "kernels", "weights", "v", "act"])
def test_case_27_networks_called_like_headers_keywords_or_files(name: str) -> None:
    """`-I.` would let <math.h> find the header of a network called math."""
    graph = chain((1, 4, 4, 2), Conv2D(3, (3, 3)), RELU, weights="integers", name=name)
    x = feed(graph, "integers")
    with native(graph, "native", threads=2 if name == "omp" else 1, flags=("-O0", "-Werror")) as net:
        assert np.array_equal(net(x), reference(graph, x))
    tree = tree_of(graph)
    assert f"{tree.name}_arena_size" in tree.files[f"{tree.name}.h"]


@pytest.mark.parametrize("word", C_WORDS)
def test_case_27_keywords_are_only_parts_of_identifiers(word: str) -> None:
    header = tree_of(chain((1, 2, 2, 1), RELU, name=word)).files[f"{word}.h"]
    assert f"void {word}_run(" in header


def test_case_27_two_networks_of_one_name_live_side_by_side() -> None:
    """Their symbols are equal: each library has to find its own."""
    small = chain((1, 4, 4, 2), Conv2D(3, (3, 3)), weights="integers", seed=1, name="a-b")
    large = chain((1, 4, 4, 2), Conv2D(3, (3, 3)), weights="integers", seed=2, name="a b")
    x = feed(small, "integers")
    with native(small, "scalar", flags=("-O0",)) as one, native(large, "scalar", flags=("-O0",)) as two:
        assert tree_of(small).name == tree_of(large).name == "a_b"
        assert np.array_equal(two(x), reference(large, x))
        assert np.array_equal(one(x), reference(small, x))
        assert not np.array_equal(one(x), two(x))


# Structure


@pytest.mark.parametrize("isa", ["scalar", "avx512-emulated"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_step_is_defined_declared_and_called(name: str, isa: str) -> None:
    plan = pipeline.plan_for(EXAMPLES[name](), isa=isa, threads=2)
    tree = pipeline.sources(plan)
    numbers = [str(i) for i in range(len(plan.steps))]
    units = [text for file, text in tree.files.items() if "_steps_" in file]
    defined = [n for text in units for n in re.findall(rf"^void {tree.name}_step_(\d+)\(", text, re.MULTILINE)]
    assert sorted(defined, key=int) == numbers, "each in one unit"
    assert re.findall(rf"{tree.name}_step_(\d+)\(const", tree.files[f"{tree.name}_internal.h"]) == numbers
    main = tree.files[f"{tree.name}.c"]
    assert re.findall(rf"{tree.name}_step_(\d+)\(&call", main) == numbers
    assert re.findall(rf"^ +{tree.name}_step_(\d+),$", main, re.MULTILINE) == numbers
    assert main.count("#pragma omp barrier") == len(numbers) - 1 + 1, "between steps, and one in run_steps"
    for symbol in plan.kernels.values():
        includes = sum(f'#include "kernels/{symbol}.c"' in text for text in units)
        assert includes >= 1, symbol
        assert f"static void {symbol}(" in tree.files[f"kernels/{symbol}.c"]


def test_large_networks_are_split_into_units_of_like_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emit, "LINES_PER_UNIT", 100)
    convolutions = [Conv2D(8 * n, (3, 3), padding=SAME3) for n in range(1, 13)]
    graph = chain((1, 9, 9, 3), *convolutions, *convolutions)
    plan = planned(graph, "avx512-emulated")
    tree = pipeline.sources(plan)
    units = [text for file, text in tree.files.items() if "_steps_" in file]
    assert len(units) == MAX_UNITS
    kernels = {f"kernels/{symbol}.c": tree.files[f"kernels/{symbol}.c"].count("\n") for symbol in plan.kernels.values()}
    lines = [sum(kernels[name] for name in re.findall(r'#include "(kernels/.*)"', text)) for text in units]
    assert max(lines) < 1.5 * min(lines), lines
    assert tree.units == tuple(name for name in tree.files if re.search(r"(steps_\d+\.c|net\.c|\.S)$", name))


def test_pointers_are_printed_with_their_sign() -> None:
    text = tree_of(chain((1, 5, 5, 3), Conv2D(4, (3, 3), padding=(2, 2, 2, 2)))).files["net_steps_0.c"]
    assert not re.search(r"[+-] -|\+ 0\b", text)


def test_networks_without_weights_have_no_blob() -> None:
    graph = chain((1, 4, 4, 3), RELU, name="bare")
    tree = tree_of(graph)
    assert not tree.blobs
    assert tree.units == ("bare.c", "bare_steps_0.c")
    with native(graph, "scalar", flags=("-O0", "-Werror")) as net:
        x = feed(graph)
        assert np.array_equal(net(x), np.maximum(x["x"], 0))


def test_equal_graphs_give_equal_text() -> None:
    """The cache is addressed by content: the text must not depend on anything else."""
    first, second = tree_of(lenet(), "avx512-emulated", 2), tree_of(lenet(), "avx512-emulated", 2)
    assert first.files == second.files
    assert all(np.array_equal(first.blobs[name], second.blobs[name]) for name in first.blobs)


def test_the_text_does_not_say_where_it_was_made() -> None:
    text = "\n".join(tree_of(lenet()).files.values())
    assert str(Path(emit.__file__).parent) not in text
    assert not re.search(r"/home/|/tmp/|/root/|\d{4}-\d{2}-\d{2}", text)


def test_the_header_says_all_that_a_caller_in_c_needs(tmp_path: Path) -> None:
    """The header alone is enough to call the network from C: every number that the caller needs is in it."""
    builder = Builder({"image": (2, 6, 6, 3), "mask": (2, 6, 6, 3)}, name="pair")
    total = builder.add(Add(), "image", "mask", name="total")
    graph = builder.graph(total, builder.add(GlobalPool2D("avg"), total, name="mean"))
    header = tree_of(graph).files["pair.h"]
    for line in (
        "input0: 216 floats, 2x6x6x3 (image)",
        "input1: 216 floats, 2x6x6x3 (mask)",
        "output0: 216 floats, 2x6x6x3 (total)",
        "output1: 6 floats, 2x1x1x3 (mean)",
        "void pair_run(const float *input0, const float *input1, float *output0, float *output1, void *arena);",
    ):
        assert line in header, header
    write_tree(tree_of(graph), tmp_path)
    (tmp_path / "user.c").write_text('#include "pair.h"\nint main(void) { return pair_arena_size() > 1u << 30; }\n')
    cc(tmp_path, "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-c", "user.c", "-o", "user.o")


@pytest.mark.parametrize("language", ["c", "cuda"])
def test_templates_are_a_fixed_set_and_render_no_user_text(language: str) -> None:
    names = set(environment(language).list_templates(extensions=["j2"]))
    files = {path.name for path in resources.templates_folder().joinpath(language).glob("*.j2")}
    assert names == files
    assert environment(language).undefined is jinja2.StrictUndefined
