"""Specs written to do harm, by number: refused in bounded time, or taken as the inert text they are."""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest

import cnngen
from cnngen.errors import SpecError
from cnngen.frontends import load
from cnngen.frontends.files import MAX_SPEC_BYTES
from tests.specs import HEADER, network, parse, refusal, write

CONV = "conv2d: {name: c, filters: 4, kernel: 3}"


@pytest.fixture(autouse=True)
def _bounded() -> object:
    """Every refusal comes within seconds."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    "value",
    ["!!python/object/apply:os.system ['touch pwned']", "!!python/name:os.system", "!<tag:yaml.org,2002:int> 3",
     "!include secrets.yaml", "!!float 3"],
)  # fmt: skip
def test_case_20_tags(tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refusal(tmp_path, network(CONV) + f"name: {value}\n", "the tag ", "is not allowed", "plain value", line=6)
    assert [path.name for path in tmp_path.iterdir()] == ["net.yaml"]


def test_case_20_tag_on_a_key_and_on_the_root(tmp_path: Path) -> None:
    refusal(tmp_path, "!!python/object:os.PathLike\n" + network(CONV), "the tag ", "is not allowed")
    refusal(tmp_path, network(CONV) + "!!str name: a\n", "the tag ", line=6)


def test_case_21_alias_bomb(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    refusal(tmp_path, "\n".join(lines), "more than 200,000 values, aliases expanded", "blocks", line=6)


def test_case_21_alias_of_itself(tmp_path: Path) -> None:
    refusal(tmp_path, "a: &a [1, *a]\n", "*a refers to nothing that is complete before it", line=1)
    refusal(tmp_path, "a: *b\n", "*b refers to nothing", line=1)
    refusal(tmp_path, network(CONV) + "<<: {name: x}\n", "merge keys", "use a block", line=6)


def test_case_21_aliases_in_moderation(tmp_path: Path) -> None:
    graph = parse(tmp_path, network("conv2d: &same {filters: 3, kernel: 3, padding: 1}", "conv2d: *same"))
    assert [node.name for node in graph.nodes] == ["conv2d_1", "conv2d_2"]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[[{a: "])
def test_case_22_nesting(tmp_path: Path, opening: str) -> None:
    refusal(tmp_path, "a: " * (opening[0] in "[{") + opening * 100_000)


def test_case_22_nesting_by_indentation(tmp_path: Path) -> None:
    text = "".join(" " * depth + "a:\n" for depth in range(1000))
    refusal(tmp_path, text, "is nested deeper than 50 levels", line=51)


def test_case_23_huge_file(tmp_path: Path) -> None:
    path = write(tmp_path, network(CONV))
    os.truncate(path, 100_000_000)
    with pytest.raises(SpecError, match=r"is larger than 1,000,000 bytes; .*weights file"):
        load(path)


def test_case_23_a_file_of_the_largest_size(tmp_path: Path) -> None:
    text = network(CONV) + "#" * 999_000
    assert len(text) < MAX_SPEC_BYTES
    assert len(parse(tmp_path, text).nodes) == 1
    refusal(tmp_path, "{" + "a: [1, 2], " * 90_000, "given twice", line=1)


HOSTILE_NAMES = [
    '*/ system("touch pwned"); /*',
    "// \\",
    "??/",
    "#include </etc/passwd>",
    "'\"`$(id)`\"'",
    "{{7*7}}",
    "{% raw %}",
    "%s%n",
    "../../etc/passwd",
    "int",
    "a-b",
    "a b",
    "a_b",
    "größe",
    "層",
    "<script>alert(1)</script>",
    "[bold red]x[/]",
    "x" * 200,
]


def test_case_24_a_name_that_ends_a_comment(tmp_path: Path) -> None:
    inert_everywhere(tmp_path, '*/ system("touch pwned"); /*')


@pytest.mark.parametrize("name", ["// \\", "??/", "#include </etc/passwd>", "'\"`$(id)`\"'"])
def test_case_25_names_that_mean_something_to_a_preprocessor(tmp_path: Path, name: str) -> None:
    inert_everywhere(tmp_path, name)


@pytest.mark.parametrize("name", ["{{7*7}}", "{% raw %}", "{# x #}"])
def test_case_26_names_that_look_like_a_template(tmp_path: Path, name: str) -> None:
    text = inert_everywhere(tmp_path, name)
    assert "49" not in text or "7*7" not in name


@pytest.mark.parametrize("name", ["int", "main", "restrict"])
def test_case_27_keywords_of_c(tmp_path: Path, name: str) -> None:
    inert_everywhere(tmp_path, name)


def inert_everywhere(folder: Path, name: str) -> str:
    """The comment of the C text that tells of the layer `name`; the text compiles, and does what the network does."""
    quoted = "'" + name.replace("'", "''") + "'"
    header = "cnngen: 1\ninput: {shape: [3, 3, 1]}\nweights: random\n"
    path = write(folder, network(f"conv2d: {{name: {quoted}, filters: 1, kernel: 1}}", "relu", header=header))
    x = np.ones((1, 3, 3, 1), np.float32)
    with cnngen.compile(path, threads=1, build_dir=folder / "out") as net:
        assert np.allclose(net(x), cnngen.reference(net.source_graph, x))
    assert {entry.name for entry in folder.iterdir()} == {"net.yaml", "out"}
    (comment,) = re.findall(r"/\*( conv2d .*)\*/\n", (folder / "out/net.c").read_text())
    assert "*/" not in comment
    assert not set(comment) & set("\"'`{}%#;\\?"), comment
    return str(comment)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_case_24_to_27_names_are_inert_text(tmp_path: Path, name: str) -> None:
    quoted = "'" + name.replace("'", "''") + "'"
    layer = f"conv2d: {{name: {quoted}, filters: 4, kernel: 3}}"
    graph = parse(tmp_path, network(layer, f"relu: {{inputs: [{quoted}]}}"))
    assert graph.nodes[0].name == name
    assert graph.nodes[1].inputs == (name,)
    assert graph.types[name].shape == (1, 6, 6, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["net.yaml"]


@pytest.mark.parametrize("escape", [r"\n", r"a\nb", r"\\\n", r"\0", r"\x7f", r"\e[31m", r"\r", r"\t", r"\L", r"\u202e"])
def test_case_25_control_characters_in_names(tmp_path: Path, escape: str) -> None:
    refusal(tmp_path, network(f'relu: {{name: "x{escape}"}}'), "name is a name with the control character U+", line=5)


def test_case_27_two_names_equal_after_cleaning(tmp_path: Path) -> None:
    names = ["a-b", "a b", "a.b", "a_b", "A_B"]
    graph = parse(tmp_path, network(*(f"relu: {{name: {name}}}" for name in names)))
    assert [node.name for node in graph.nodes] == names


def test_case_27_long_name(tmp_path: Path) -> None:
    error = refusal(tmp_path, network(f"relu: {{name: {'x' * 10_000}}}"), "a name of 10,000 characters", "at most 200")
    assert len(str(error)) < 500


@pytest.mark.parametrize("name", ["../up", "/etc/x", "a/b", ".hidden", "a b", "x;y", '"a\\0b"', "''", "-rf", "x..y"])
def test_case_28_network_name_is_a_file_name(tmp_path: Path, name: str) -> None:
    refusal(tmp_path, network(CONV) + f"name: {name}\n", "names folders and files", "letters, digits", line=6)


def test_case_28_network_name_from_an_odd_file_name(tmp_path: Path) -> None:
    assert load(write(tmp_path, network(CONV), "my net; (1).v2.yaml")).name == "my_net___1__v2"


@pytest.mark.parametrize(
    ("file", "fragment"),
    [("../w.safetensors", "lies outside"), ("a/../../w.npz", "lies outside"), ("/etc/passwd", "lies outside"),
     ('"w\\0.npz"', "is no file name"), ("''", "is no file name"), ("link.npz", "is a link out of the folder"),
     ("linked/w.npz", "is a link out of the folder")],
)  # fmt: skip
def test_case_28_weights_outside_the_folder(tmp_path: Path, file: str, fragment: str) -> None:
    folder = tmp_path / "specs"
    folder.mkdir()
    (tmp_path / "w.npz").touch()
    (folder / "link.npz").symlink_to(tmp_path / "w.npz")
    (folder / "linked").symlink_to(tmp_path)
    text = network(CONV, header=HEADER.replace("random", f"{{format: keras, file: {file}}}"))
    refusal(folder, text, fragment, "put the file into the folder of the spec", line=3)


@pytest.mark.parametrize(
    ("layers", "fragment", "layer"),
    [
        (["conv2d: {name: c, filters: 2147483647, kernel: 1}"], "elements, more than 2^31 - 1", "c"),
        (["max_pool: {name: p, kernel: 2147483647, stride: 1, padding: 2147483646}"], "exceeds 1,073,741,824", "p"),
        (
            ["conv2d: {name: c, filters: 4, kernel: 50000, padding: 30000, stride: 50000}"],
            "the padded input has 10,802,880,192 elements",
            "c",
        ),
        (["flatten", "dense: {name: a, units: 11000000}", "dense: {name: d, units: 11000000}"], "parameters", "d"),
    ],
)
def test_case_29_overflowing_shapes(tmp_path: Path, layers: list[str], fragment: str, layer: str) -> None:
    refusal(tmp_path, network(*layers), fragment, "; ", layer=layer, line=4 + len(layers))


def test_case_29_overflowing_input(tmp_path: Path) -> None:
    header = "cnngen: 1\nweights: random\ninput: {shape: [3000000000, 1, 1]}\n"
    refusal(tmp_path, network("relu", header=header), "input.shape is 3000000000", line=3)
    header = header.replace("3000000000, 1", "60000, 60000")
    refusal(tmp_path, network("relu", header=header), "3,600,000,000 elements", "reduce the sizes", line=3)
    path = write(tmp_path, network("relu"))
    with pytest.raises(SpecError, match="elements, more than 2\\^31 - 1; reduce the sizes or the batch"):
        load(path, batch=2**40)


def test_case_29_numbers_of_many_digits(tmp_path: Path) -> None:
    refusal(tmp_path, network(f"dense: {{units: {'9' * 10_000}}}"), "a number of 10000 digits", line=5)


def test_case_30_many_layers(tmp_path: Path) -> None:
    text = network(*["relu"] * 100_000)[:MAX_SPEC_BYTES]
    refusal(tmp_path, text, "more than 10,000 layers", "fewer layers", line=10_005)


def test_case_30_unrolling(tmp_path: Path) -> None:
    refusal(tmp_path, network("relu: {repeat: 10001}"), "repeat is 10001, but must be at most 10000", line=5)
    blocks = "blocks:\n  b0: {layers: [relu]}\n"
    blocks += "".join(f"  b{n}: {{layers: [b{n - 1}: {{repeat: 100}}]}}\n" for n in range(1, 10))
    refusal(tmp_path, network("b9") + blocks, "more than 10,000 layers, blocks expanded")


def test_case_30_recursion(tmp_path: Path) -> None:
    blocks = "blocks:\n  a: {layers: [b]}\n  b: {layers: [relu, a]}\n"
    refusal(tmp_path, network("a") + blocks, "the block uses itself: a > b > a", "used on line 5", line=8)


def test_case_30_deep_blocks(tmp_path: Path) -> None:
    blocks = "blocks:\n  b0: {layers: [relu]}\n"
    blocks += "".join(f"  b{n}: {{layers: [b{n - 1}]}}\n" for n in range(1, 1000))
    refusal(tmp_path, network("b999") + blocks, "nested deeper than 20 levels", "fewer levels")


def test_case_30_long_names_of_nested_blocks(tmp_path: Path) -> None:
    blocks = f"blocks:\n  b: {{layers: [relu: {{name: {'x' * 150}}}]}}\n"
    refusal(tmp_path, network(f"b: {{name: {'y' * 150}}}") + blocks, "has 301 characters, more than 200", "shorten")


@pytest.mark.parametrize("line", ["flags: -O3", "cflags: [-fplugin=x.so]", "include: /usr/include", "compiler: evil"])
def test_case_31_compiler_flags(tmp_path: Path, line: str) -> None:
    refusal(tmp_path, network(CONV) + line + "\n", f"unknown key {line.split(':')[0]!r}", "known keys are", line=6)


@pytest.mark.parametrize(
    "expression",
    ["__import__('os').system('touch pwned') if $n else 1", "$n.__class__", "$n ** 999999", "[$n][0]",
     "(lambda x:$n)(1)", "$n << 99", "('a' * $n)", "open($n)", "$n if 1 else 2", "min() + $n", "-'a' + $n", "$n / 0",
     "$n 5", "max($n, key=1)", "9223372036854775807 * $n * 99999"],
)  # fmt: skip
def test_expressions_execute_nothing(tmp_path: Path, expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = f"blocks:\n  b:\n    parameters: [n]\n    layers:\n      - dense:\n          units: {expression}\n"
    if expression.startswith("["):
        block = block.replace(expression, f"({expression})")
    refusal(tmp_path, network("flatten", "b: {n: 3}") + block, "$n", "the block 'b' used on line 6", line=12)
    assert [path.name for path in tmp_path.iterdir()] == ["net.yaml"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_case_47_no_regular_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "net.yaml"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to("/dev/zero")
    with pytest.raises(SpecError, match=r"net\.yaml: is a .*; give the path of a regular file"):
        load(path)


TOKENS = [
    *(
        "$n",
        "{",
        "}",
        "[",
        "]",
        ": ",
        ", ",
        "- ",
        "\n",
        "&a ",
        "*a ",
        "!!int ",
        "~",
        "-1",
        "1e9",
        "2147483647",
        "input",
    ),
    *("when: false, ", "repeat: 3, ", "name: x, ", "'", '"', "|\n", "?", "#", "\t", "\x00", "é", "010"),
]


@pytest.mark.parametrize("seed", range(4))
def test_any_damage_gets_a_typed_error_with_its_line(tmp_path: Path, seed: int) -> None:
    """A spec with random edits loads, or is refused with the line; nothing else ever comes out."""
    rng = random.Random(seed)
    original = network(
        "conv2d: {name: c, filters: 4, kernel: [3, 3], padding: same, activation: {leaky_relu: {alpha: 0.1}}}",
        "b: {n: 2, repeat: 2}",
        "max_pool: {kernel: 2, ceil_mode: true}",
    )
    original += "blocks:\n  b:\n    parameters: [n, m: 1]\n    layers:\n      - relu: {repeat: $n * 2 - $m}\n"
    original += "      - concat: {inputs: [relu_1, input], when: $n > 1}\noutputs: [c, b_1]\n"
    refused = 0
    for _ in range(150):
        text = original
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(text))
            text = text[:at] + (
                rng.choice(TOKENS) + text[at:] if rng.random() < 0.6 else text[at + rng.randint(1, 9) :]
            )
        path = write(tmp_path, text)
        error = outcome(path)
        if error is not None:
            refused += 1
            assert error.source is not None
            assert error.source.file == str(path)
            assert error.source.line is not None or "is empty" in str(error), text
            assert len(str(error)) < 2000
    assert refused > 50


def outcome(path: Path) -> SpecError | None:
    """The refusal that the spec at `path` gets, or None where it loads."""
    try:
        load(path)
    except SpecError as error:
        return error
    return None
