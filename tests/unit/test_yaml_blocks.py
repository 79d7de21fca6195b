"""Blocks: parameters, arithmetic, names, conditions, repetition."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnngen.frontends.expressions import ExpressionError, evaluate
from cnngen.ir import Graph
from cnngen.ops import Activation, Conv2D
from tests.specs import network, parse, refusal

BOTTLENECK = """\
blocks:
  unit:
    parameters: [filters, stride: 1, activation: relu]
    layers:
      - conv2d: {filters: $filters, kernel: 3, stride: $stride, padding: 1, activation: $activation}
  residual:
    parameters: [filters, stride: 1]
    layers:
      - unit: {filters: $filters // 2, stride: $stride}
      - unit: {name: last, filters: $filters, activation: none}
      - conv2d:
          name: shortcut
          inputs: input
          when: $stride != 1 or $input_channels != $filters
          filters: $filters
          kernel: 1
          stride: $stride
      - add: {inputs: [last, shortcut]}
"""


def structure(graph: Graph) -> list[tuple[str, tuple[str, ...]]]:
    return [(node.name, node.inputs) for node in graph.nodes]


def test_a_residual_block(tmp_path: Path) -> None:
    layers = ["residual: {name: a, filters: 6, stride: 2}", "residual: {filters: 6, repeat: 2}"]
    graph = parse(tmp_path, network(*layers) + BOTTLENECK)
    assert structure(graph) == [
        ("a/unit_1/conv2d_1", ("input",)),
        ("a/last/conv2d_1", ("a/unit_1/conv2d_1",)),
        ("a/shortcut", ("input",)),
        ("a/add_1", ("a/last/conv2d_1", "a/shortcut")),
        ("residual_1/unit_1/conv2d_1", ("a/add_1",)),
        ("residual_1/last/conv2d_1", ("residual_1/unit_1/conv2d_1",)),
        ("residual_1/add_1", ("residual_1/last/conv2d_1", "a/add_1")),
        ("residual_2/unit_1/conv2d_1", ("residual_1/add_1",)),
        ("residual_2/last/conv2d_1", ("residual_2/unit_1/conv2d_1",)),
        ("residual_2/add_1", ("residual_2/last/conv2d_1", "residual_1/add_1")),
    ]
    first, last = graph.nodes[0].op, graph.nodes[1].op
    assert isinstance(first, Conv2D)
    assert isinstance(last, Conv2D)
    assert (first.filters, first.stride, first.activation) == (3, (2, 2), Activation("relu"))
    assert last.activation is None
    assert graph.nodes[2].source is not None
    assert graph.nodes[2].source.line == 17


def test_names_inside_a_block_are_visible_by_their_full_name(tmp_path: Path) -> None:
    layers = ["residual: {name: a, filters: 6}", "relu: {name: r, inputs: a/shortcut}"]
    graph = parse(tmp_path, network(*layers) + BOTTLENECK + "outputs: [a, a/last, r]\n")
    assert graph.outputs == ("a/add_1", "a/last/conv2d_1", "r")
    refusal(tmp_path, network("residual: {name: a, filters: 6}", "relu: {inputs: shortcut}") + BOTTLENECK, "no layer")


def test_a_name_with_repeat_stands_for_the_last(tmp_path: Path) -> None:
    graph = parse(tmp_path, network("relu: {name: a, repeat: 3}", "tanh", "add: {inputs: [a, a_1]}"))
    assert structure(graph)[-1] == ("add_1", ("a_3", "a_1"))
    graph = parse(tmp_path, network("relu: {name: a}", "tanh: {name: b, repeat: 0}", "add: {inputs: [b, input]}"))
    assert structure(graph) == [("a", ("input",)), ("add_1", ("a", "input"))]


def test_a_layer_left_out_stands_for_its_input(tmp_path: Path) -> None:
    graph = parse(tmp_path, network("relu", "tanh: {name: t, when: false, inputs: input}", "sigmoid"))
    assert structure(graph) == [("relu_1", ("input",)), ("sigmoid_1", ("input",))]
    text = network("relu: {when: 1}")
    refusal(tmp_path, text, "when must be true or false, not 1", line=5)


def test_quoted_text_is_no_expression(tmp_path: Path) -> None:
    block = "blocks:\n  b:\n    parameters: [n]\n    layers:\n      - relu: {name: '$n', repeat: $n}\n"
    assert structure(parse(tmp_path, network("b: {n: 1}") + block))[0][0] == "b_1/$n_1"
    text = network("conv2d: {filters: $n, kernel: 1}")
    refusal(tmp_path, text, "filters must be a whole number, not '$n'", line=5)


def test_an_argument_of_any_kind(tmp_path: Path) -> None:
    block = "blocks:\n  b:\n    parameters: [p, a]\n    layers:\n"
    block += "      - conv2d: {filters: 1, kernel: 3, padding: [$p, 0], activation: $a}\n"
    op = parse(tmp_path, network("b: {p: 2, a: {leaky_relu: {alpha: 0.5}}}") + block).nodes[0].op
    assert isinstance(op, Conv2D)
    assert op.padding == (2, 2, 0, 0)
    assert op.activation is not None
    assert op.activation.alpha == 0.5


@pytest.mark.parametrize(
    ("layer", "fragments", "line"),
    [
        ("residual: {filtres: 4}", ["no parameter 'filtres'", "did you mean 'filters'?"], 5),
        ("resdual: {filters: 4}", ["unknown layer 'resdual'", "did you mean 'residual'?"], 5),
        ("residual", ["needs filters", "add `filters:`"], 5),
        ("residual: {filters: 7, inputs: [input, input]}", ["reads one tensor, not 2", "concat"], 5),
        ("residual: {filters: x}", ["`$filters // 2`: 'x' is not a number", "used on line 5"], 14),
        ("residual: {filters: 1}", ["filters is 0", "used on line 5"], 10),
        ("residual: {filters: 4, stride: 4}", ["'residual' used on line 5", "1x2x2x4 and 1x8x8x4"], 23),
    ],
)
def test_mistakes(tmp_path: Path, layer: str, fragments: list[str], line: int) -> None:
    if "stride: 4" in layer:
        text = network(layer).replace("[8, 8, 3]", "[8, 8, 4]") + BOTTLENECK.replace("stride: $stride\n", "stride: 1\n")
        refusal(tmp_path, text, *fragments, line=line)
    else:
        refusal(tmp_path, network(layer) + BOTTLENECK, *fragments, line=line)


@pytest.mark.parametrize(
    ("block", "fragments", "line"),
    [
        ("relu: {layers: [tanh]}", ["the block 'relu' is called like a layer", "another name"], 7),
        ("b: {layers: []}", ["blocks.b.layers is empty"], 7),
        ("b: {parameters: [repeat], layers: [tanh]}", ["'repeat'", "another name"], 7),
        ("b: {parameters: [n, n], layers: [tanh]}", ["'n' twice"], 7),
        ("b: {parameters: [1x], layers: [tanh]}", ["'1x'", "letters, digits"], 7),
        ("b: {parameters: n, layers: [tanh]}", ["write a list such as"], 7),
        ("b: {parameters: [size], layers: [dense: {units: $siez}]}", ["$siez is no parameter", "'size'"], 7),
        ("b: {layers: [tanh], laeyrs: 1}", ["unknown key 'laeyrs'", "'layers'"], 7),
        ("b: 5", ["blocks.b must be a mapping"], 7),
        ("b: {layers: [relu: {name: input}]}", ["taken for an input", "used on line 5"], 7),
    ],
)
def test_mistakes_in_definitions(tmp_path: Path, block: str, fragments: list[str], line: int) -> None:
    layer = "b" if "name: input" in block else "relu"
    refusal(tmp_path, network(layer) + f"blocks:\n  {block}\n", *fragments, line=line)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$n", 12),
        ("$n * 4 + 1", 49),
        ("2 * ($n - 3)", 18),
        ("$n // 5", 2),
        ("$n % 5", 2),
        ("$n / 4", 3),
        ("$n / 5", 2.4),
        ("-$n", -12),
        ("$n == 12 and not $flag", True),
        ("$n < 3 or $flag", False),
        ("8 if $flag else $n", 12),
        ("max($n, 20)", 20),
        ("min($n, 20, 5)", 5),
        ("$word == 'same'", True),
        ("$n != 12", False),
        ("$flag == false", True),
        ("$list", [1, 2]),
        ("$n >= 12", True),
        ("$n - 0.5", 11.5),
        ("$nothing == null", True),
    ],
)
def test_expressions(text: str, value: object) -> None:
    variables = {"n": 12, "flag": False, "word": "same", "list": [1, 2], "nothing": None}
    result = evaluate(text, variables)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$flg + 1", "did you mean $flag?"),
        ("$zzz", "known are $flag, $n"),
        ("$n + $flag", "False is not a number"),
        ("$n and $flag", "12 is neither true nor false"),
        ("n + $n", "parameters are written $n"),
        ("$n < 'a'", "have no order"),
        ("1 < $n < 3", "is not allowed"),
        ("$n +", "is no expression"),
        ("$n % 0", "zero"),
        ("9999999999 * 9999999999 * $n", "too large"),
        ("$n + " * 60 + "1", "at most 200"),
        ("1e999 * $n", "too large"),
        ("$n ** 2", "only"),
        ("$n.real", "is not allowed"),
        ("f'{$n}'", "is not allowed"),
        ("print($n)", "is not allowed"),
        ("[x for x in $n]", "is not allowed"),
        ("($n := 3)", "is n"),
    ],
)
def test_expressions_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, {"n": 12, "flag": False})
    assert message in str(caught.value)


def test_a_name_outside_of_the_block_is_said_to_be_outside(tmp_path: Path) -> None:
    blocks = "blocks:\n  outer:\n    layers: [inner]\n  inner:\n    layers:\n      - add: {inputs: [input, stem]}\n"
    text = network("conv2d: {name: stem, filters: 3, kernel: 1}", "outer") + blocks
    refusal(tmp_path, text, "reads 'stem', which is outside of the block", "`input` names what it reads", line=12)
