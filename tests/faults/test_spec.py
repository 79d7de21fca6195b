"""Faults in a spec, by number: each gets an error with its place, the facts and a remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnngen.errors import ModelError, ShapeError, SpecError
from cnngen.frontends import load
from cnngen.ops import Conv2D, Pool2D
from tests.specs import HEADER, network, parse, refusal, write

CONV = "conv2d: {name: c, filters: 4, kernel: 3}"


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "~\n"])
def test_case_01_empty_file(tmp_path: Path, text: str) -> None:
    refusal(tmp_path, text, "is empty", "start with `cnngen: 1`")


@pytest.mark.parametrize(
    ("text", "line"),
    [("cnngen: 1\ninput: {shape: [1\n", 3), ('a: "b\n', 2), ("a: b: c\n", 1)],
)
def test_case_02_malformed_yaml(tmp_path: Path, text: str, line: int) -> None:
    refusal(tmp_path, text, "is not valid YAML", "indentation, brackets and quotes", line=line)


def test_case_02_a_tab_as_indentation(tmp_path: Path) -> None:
    refusal(tmp_path, "cnngen: 1\n\tname: x\n", "is not valid YAML", "indent with spaces", line=2)


def test_case_02_second_document(tmp_path: Path) -> None:
    refusal(tmp_path, network(CONV) + "---\na: 1\n", "a second document", "one network in a file", line=6)


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "a list"), ("word\n", "a single value"), ("5\n", "single")])
def test_case_03_root_is_not_a_mapping(tmp_path: Path, text: str, kind: str) -> None:
    refusal(tmp_path, text, kind, "not a mapping", "start with `cnngen: 1`", line=1)


@pytest.mark.parametrize(
    ("layer", "key", "nearest"),
    [
        ("conv2d: {filter: 4, kernel: 3}", "filter", "filters"),
        ("conv2d: {filters: 4, kernel_size: 3}", "kernel_size", "kernel"),
        ("batch_norm: {epsilom: 0.1}", "epsilom", "epsilon"),
        ("max_pool: {kernel: 2, celi_mode: true}", "celi_mode", "ceil_mode"),
    ],
)
def test_case_04_unknown_key_of_a_layer(tmp_path: Path, layer: str, key: str, nearest: str) -> None:
    refusal(tmp_path, network("relu", layer), f"unknown key {key!r}", f"did you mean {nearest!r}?", line=6)


def test_case_04_unknown_key_of_the_spec(tmp_path: Path) -> None:
    refusal(tmp_path, network(CONV) + "outptus: [c]\n", "unknown key 'outptus'", "did you mean 'outputs'?", line=6)


def test_case_04_unknown_key_of_an_input(tmp_path: Path) -> None:
    header = "cnngen: 1\ninput:\n  shape: [8, 8, 3]\n  layuot: hwc\nweights: random\n"
    refusal(tmp_path, network(CONV, header=header), "unknown key 'layuot'", "did you mean 'layout'?", line=4)


def test_case_04_unknown_key_in_a_block_that_nobody_uses(tmp_path: Path) -> None:
    block = "blocks:\n  b:\n    layers:\n      - conv2d: {filtres: 4, kernel: 3}\n"
    refusal(tmp_path, network(CONV) + block, "unknown key 'filtres'", "'filters'", line=9, layer="b")


@pytest.mark.parametrize("key", ["cnngen", "input", "weights", "layers"])
def test_case_05_missing_key_of_the_spec(tmp_path: Path, key: str) -> None:
    entries = {"cnngen": "1", "input": "{shape: [8, 8, 3]}", "weights": "random", "layers": "[relu]"}
    text = "".join(f"{name}: {value}\n" for name, value in entries.items() if name != key)
    refusal(tmp_path, text, f"the key {key!r} is missing", f"add {'for example ' * (key == 'input')}`{key}:", line=1)


def test_case_05_missing_key_of_a_layer(tmp_path: Path) -> None:
    error = refusal(
        tmp_path, network("relu", "conv2d: {name: c, filters: 4}"), "'kernel' is missing", line=6, layer="c"
    )
    assert error.remedy == "add `kernel:`"


def test_case_05_missing_argument_of_a_block(tmp_path: Path) -> None:
    block = "blocks:\n  b:\n    parameters: [n, m: 1]\n    layers:\n      - dense: {units: $n}\n"
    refusal(tmp_path, network("b: {m: 3}") + block, "the block 'b' needs n", "add `n:`", line=5)


@pytest.mark.parametrize(
    ("text", "key", "line", "first"),
    [
        (network(CONV) + "name: a\nname: b\n", "name", 7, 6),
        (network("conv2d: {kernel: 3, filters: 4, kernel: 5}"), "kernel", 5, 5),
    ],
)
def test_case_06_duplicate_key(tmp_path: Path, text: str, key: str, line: int, first: int) -> None:
    refusal(tmp_path, text, f"the key {key!r} is given twice, first on line {first}", "remove one", line=line)


def test_case_07_yaml_1_1_traps_read_as_a_person_means_them(tmp_path: Path) -> None:
    graph = parse(
        tmp_path,
        network("batch_norm: {name: no, epsilon: 1e-3}", "lrn: {name: 1:30, alpha: 1E2, bias: .5}", "relu: {name: on}"),
    )
    assert [node.name for node in graph.nodes] == ["no", "1:30", "on"]
    assert graph.node("no").op.epsilon == 1e-3
    assert (graph.node("1:30").op.alpha, graph.node("1:30").op.bias) == (100.0, 0.5)


@pytest.mark.parametrize(
    ("layer", "fragment", "remedy"),
    [
        ("conv2d: {filters: 010, kernel: 3}", "010 has a leading zero", "drop the zero"),
        ("conv2d: {filters: 1e3, kernel: 3}", "filters must be a whole number, not 1000.0", "digits only"),
        ("conv2d: {filters: 1:30, kernel: 3}", "filters must be a whole number, not '1:30'", "digits only"),
        ("conv2d: {filters: 4, kernel: 3, bias: no}", "bias must be true or false, not 'no'", "write true or false"),
        ("dense: {units: 2, bias: yes}", "bias must be true or false, not 'yes'", "write true or false"),
    ],
)
def test_case_07_yaml_1_1_traps_refused(tmp_path: Path, layer: str, fragment: str, remedy: str) -> None:
    refusal(tmp_path, network(layer), fragment, remedy, line=5)


@pytest.mark.parametrize("value", ["true", "3.0", "2.5", "'3'", "~", "{a: 1}"])
@pytest.mark.parametrize("field", ["filters", "kernel", "stride", "dilation", "groups"])
def test_case_08_no_integer(tmp_path: Path, field: str, value: str) -> None:
    fields = {"filters": "4", "kernel": "3", field: value}
    layer = "conv2d: {" + ", ".join(f"{key}: {item}" for key, item in fields.items()) + "}"
    refusal(tmp_path, network("relu", layer), f"{field} must be a whole number", line=6, layer="conv2d")


@pytest.mark.parametrize("shape", ["[8, 8, true]", "[8.0, 8, 3]", "8", "[1, 1, 1, 1, 1, 1, 1, 1, 8]"])
def test_case_08_no_shape(tmp_path: Path, shape: str) -> None:
    header = f"cnngen: 1\nweights: random\ninput: {{shape: {shape}}}\n"
    refusal(tmp_path, network(CONV, header=header), "input.shape", line=3)


@pytest.mark.parametrize("value", ["0", "-1"])
@pytest.mark.parametrize("field", ["filters", "kernel", "stride", "dilation", "groups"])
def test_case_09_zero_or_negative(tmp_path: Path, field: str, value: str) -> None:
    fields = {"filters": "4", "kernel": "3", field: value}
    layer = "conv2d: {" + ", ".join(f"{key}: {item}" for key, item in fields.items()) + "}"
    refusal(tmp_path, network(layer), f"{field} is {value}, but must be at least 1", line=5)


def test_case_09_zero_in_a_pair(tmp_path: Path) -> None:
    refusal(tmp_path, network("max_pool: {kernel: [2, 0]}"), "kernel is 0, but must be at least 1", line=5)


def test_case_09_zero_channels(tmp_path: Path) -> None:
    header = "cnngen: 1\nweights: random\ninput: {shape: [8, 8, 0]}\n"
    refusal(tmp_path, network(CONV, header=header), "input.shape is 0, but must be at least 1", line=3)


def test_case_09_negative_padding(tmp_path: Path) -> None:
    layer = "conv2d: {filters: 4, kernel: 3, padding: [1, -1]}"
    refusal(tmp_path, network(layer), "padding is -1, but must be at least 0", line=5)


def test_case_10_groups_do_not_divide(tmp_path: Path) -> None:
    layer = "conv2d: {name: c, filters: 4, kernel: 3, groups: 2}"
    refusal(
        tmp_path, network("relu", layer), "groups 2 does not divide 3", "groups that divide both", line=6, layer="c"
    )


def test_case_11_kernel_exceeds_the_padded_input(tmp_path: Path) -> None:
    layer = "conv2d: {name: c, filters: 4, kernel: 11, padding: 1}"
    refusal(tmp_path, network(layer), "kernel 11", "exceeds the padded input height 10", "padding", line=5, layer="c")


def test_case_12_pooling_padding_reaches_the_kernel(tmp_path: Path) -> None:
    layer = "max_pool: {name: p, kernel: 2, padding: 2}"
    refusal(tmp_path, network(layer), "padding 2 reaches the window size 2", "at most 1", line=5, layer="p")


def test_case_13_ceil_mode_drops_a_window_in_the_end_padding(tmp_path: Path) -> None:
    header = HEADER.replace("8, 8", "5, 6")
    graph = parse(tmp_path, network("max_pool: {name: p, kernel: 2, padding: 1, ceil_mode: true}", header=header))
    # Height: ceil((5 + 2 - 2) / 2) + 1 = 4 windows, the last starts at 6 >= 5 + 1 and is dropped.
    assert graph.types["p"].shape == (1, 3, 4, 3)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [("same", (1, 2, 1, 2)), ("same_upper", (1, 2, 1, 2)), ("same_lower", (2, 1, 2, 1)), ("[1, 2, 3, 4]", (1, 2, 3, 4)),
     ("[1, 2]", (1, 1, 2, 2)), ("2", (2, 2, 2, 2)), ("valid", (0, 0, 0, 0))],
)  # fmt: skip
def test_case_14_asymmetric_and_same_padding(tmp_path: Path, padding: str, expected: tuple[int, int, int, int]) -> None:
    graph = parse(tmp_path, network(f"conv2d: {{name: c, filters: 4, kernel: 5, stride: 2, padding: {padding}}}"))
    op = graph.node("c").op
    assert isinstance(op, Conv2D)
    assert op.padding == expected


@pytest.mark.parametrize(
    ("layers", "fragments", "line", "layer"),
    [
        (["relu: {name: a, inputs: [a]}"], ["its own output", "cycle"], 5, "a"),
        (
            ["relu: {name: a, inputs: [b]}", "relu: {name: b, inputs: [a]}"],
            ["reads 'b', which is defined further down on line 6", "cycles are not allowed"],
            5,
            "a",
        ),
        (["relu: {name: conv}", "relu: {inputs: [covn]}"], ["reads 'covn'", "did you mean 'conv'?"], 6, "relu"),
        (["relu: {name: a}", "relu: {name: a}"], ["the name is taken on line 5", "a name of its own"], 6, "a"),
        (["relu: {name: input}"], ["the name is taken for an input"], 5, "input"),
        (["relu", "add: {inputs: []}"], ["inputs is an empty list"], 6, "add"),
        (["relu", "add"], ["add needs at least two inputs, and has 1", "add inputs:"], 6, "add"),
        (["relu: {name: a}", "tanh: {inputs: [a, input]}"], ["takes one input, and has 2", "concat"], 6, "tanh"),
    ],
)
def test_case_15_cycle_dangling_input_duplicate_name(
    tmp_path: Path, layers: list[str], fragments: list[str], line: int, layer: str
) -> None:
    refusal(tmp_path, network(*layers), *fragments, line=line, layer=layer)


def test_case_15_unknown_output(tmp_path: Path) -> None:
    refusal(tmp_path, network(CONV) + "outputs: [d]\n", "reads 'd'", "layers above it are c, input", line=6)


def test_case_15_output_named_twice(tmp_path: Path) -> None:
    refusal(tmp_path, network(CONV) + "outputs: [c, c]\n", "named twice", "once", line=6)


def test_case_16_shapes_of_add_and_concat_disagree(tmp_path: Path) -> None:
    layers = ["conv2d: {name: a, filters: 3, kernel: 3}", "add: {name: s, inputs: [a, input]}"]
    refusal(tmp_path, network(*layers), "1x6x6x3 and 1x8x8x3", "match stride and filters", line=6, layer="s")
    for kind in ("sub", "mul", "div", "maximum", "minimum"):
        layers[1] = f"{kind}: {{name: s, inputs: [a, input]}}"
        facts = (f"{kind} takes", "1x6x6x3 and 1x8x8x3", "height 6 and 8", "match stride and filters")
        refusal(tmp_path, network(*layers), *facts, line=6, layer="s")
    layers[1] = "concat: {name: s, inputs: [a, input]}"
    refusal(tmp_path, network(*layers), "1x6x6x3 and 1x8x8x3", "match stride and padding", line=6, layer="s")


def test_case_16_elementwise_on_an_image_and_a_vector(tmp_path: Path) -> None:
    layers = ["global_avg_pool", "flatten: {name: f}", "mul: {name: s, inputs: [input, f]}"]
    facts = ("mul takes tensors of one rank", "1x8x8x3 and 1x3", "leave the flatten out")
    refusal(tmp_path, network(*layers), *facts, line=7, layer="s", error=ShapeError)


def test_case_16_dense_on_an_image(tmp_path: Path) -> None:
    refusal(tmp_path, network("dense: {name: d, units: 2}"), "rank 2", "add a flatten layer", line=5, layer="d")


@pytest.mark.parametrize(
    ("layer", "fragment", "remedy"),
    [
        ("convd2: {filters: 4}", "unknown layer 'convd2'", "did you mean 'conv2d'?"),
        ("Conv2D: {filters: 4}", "unknown layer 'Conv2D'", "did you mean 'conv2d'?"),
        ("quux", "unknown layer 'quux'", "layers are abs, add, "),
        ("conv2d: {filters: 4, kernel: 3, activation: rleu}", "unknown activation 'rleu'", "did you mean 'relu'?"),
        ("add: {inputs: [input, input], activation: 3}", "unknown activation 3", "functions are"),
        ("conv2d: {filters: 4, kernel: 3, activation: {leaky_relu: {alpa: 1}}}", "leaky_relu.alpa", "'alpha'"),
        ("conv2d: {filters: 4, kernel: 3, activation: {relu: {alpha: 1}}}", "relu.alpha: unknown", "it takes none"),
        ("conv2d: {filters: 4, kernel: 3, activation: {gelu: {approximate: erf}}}", "is 'erf'", "'none' or 'tanh'"),
        ("conv2d: {filters: 4, kernel: 3, activation: prelu}", "prelu has weights", "the next layer"),
        ("gelu: {approximate: erf}", "approximate is 'erf'", "'none' or 'tanh'"),
        ("conv2d: {filters: 4, kernel: 3, dtype: float64}", "unknown key 'dtype'", "known keys are"),
        ("conv2d: {filters: 4, kernel: 3, padding: smae}", "padding is 'smae'", "valid, same"),
        ("flatten: {order: whc}", "order is 'whc'", "'hwc' or 'chw'"),
        ("[conv2d]", "this is no layer", "write for example"),
        ("{conv2d: , filters: 4}", "a layer is one key, this has 2", "indent its fields below `conv2d:`"),
        ("conv2d: 5", "the fields of conv2d must be a mapping", "write `conv2d:"),
    ],
)
def test_case_17_unknown_layer_or_activation(tmp_path: Path, layer: str, fragment: str, remedy: str) -> None:
    refusal(tmp_path, network(layer), fragment, remedy, line=5)


@pytest.mark.parametrize("line", ["target: cuda", "dtype: float16", "precision: fp16"])
def test_case_17_unknown_target_or_dtype(tmp_path: Path, line: str) -> None:
    refusal(tmp_path, network(CONV) + line + "\n", f"unknown key {line.split(':')[0]!r}", "known keys are", line=6)


@pytest.mark.parametrize("version", ["2", "true", "1.0", "'1'"])
def test_case_17_unknown_version(tmp_path: Path, version: str) -> None:
    text = network(CONV).replace("cnngen: 1", f"cnngen: {version}")
    refusal(tmp_path, text, "this cnngen reads version 1", "write `cnngen: 1`", line=1)


@pytest.mark.parametrize(
    ("value", "fragment"),
    [(".nan", "must be a finite number"), (".inf", "must be a finite number"), ("-1e-5", "must be at least 0"),
     ("nan", "must be a number, not 'nan'"), ("1e999", "must be a finite number"), ("true", "must be a number")],
)  # fmt: skip
def test_case_18_epsilon(tmp_path: Path, value: str, fragment: str) -> None:
    refusal(tmp_path, network(f"batch_norm: {{name: b, epsilon: {value}}}"), "epsilon", fragment, line=5, layer="b")


@pytest.mark.parametrize("layer", ["leaky_relu: {alpha: .nan}", "clip: {minimum: 2, maximum: 1}", "lrn: {bias: 0}"])
def test_case_18_other_parameters(tmp_path: Path, layer: str) -> None:
    refusal(tmp_path, network(layer), line=5)


def test_case_19_bad_utf8(tmp_path: Path) -> None:
    text = network(CONV).encode() + b"# caf\xe9\n"
    refusal(tmp_path, text, "byte 0xe9 is not UTF-8", "save the file as UTF-8", line=6)


def test_case_19_utf16(tmp_path: Path) -> None:
    refusal(tmp_path, network(CONV).encode("utf-16"), "is not UTF-8", "save the file as UTF-8", line=1)


def test_case_19_bom_and_crlf(tmp_path: Path) -> None:
    plain = parse(tmp_path, network(CONV, "relu"))
    text = b"\xef\xbb\xbf" + network(CONV, "relu").replace("\n", "\r\n").encode()
    odd = parse(tmp_path, text)
    assert [node.name for node in odd.nodes] == [node.name for node in plain.nodes]
    np.testing.assert_array_equal(odd.node("c").weights["weight"], plain.node("c").weights["weight"])
    refusal(tmp_path, text + b"oops: 1\r\n", "unknown key 'oops'", line=7)


def test_missing_file_names_the_shipped_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=r"lenet\.yaml: does not exist; the shipped specs \(.*lenet.yaml.*\) are in"):
        load("lenet.yaml")


def test_other_suffixes(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the suffix '\.txt' is not one that cnngen reads; give a \.yaml"):
        load(tmp_path / "net.txt")
    with pytest.raises(SpecError, match="list is no network"):
        load([])  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [0, -1, True, 1.5, "2"])
def test_batch(tmp_path: Path, batch: object) -> None:
    with pytest.raises(SpecError, match=r"the batch is .*whole number"):
        load(write(tmp_path, network(CONV)), batch=batch)  # type: ignore[arg-type]


def test_pool_defaults(tmp_path: Path) -> None:
    op = parse(tmp_path, network("avg_pool: {name: p, kernel: [2, 4]}")).node("p").op
    assert isinstance(op, Pool2D)
    assert op.stride == (2, 4)
