"""Lints: each rule finds its case, states true numbers, and keeps quiet on sound networks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cnngen.analysis.lint import LintWarning, lint
from cnngen.errors import Source
from cnngen.frontends import load
from cnngen.ir import Graph
from cnngen.ops import (
    Activate,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Flatten,
    GlobalPool2D,
    Pool2D,
    Softmax,
)
from cnngen.resources import specs_folder
from tests.graphs import RELU, SAME3, Builder, chain, lenet


def codes(graph: Graph) -> list[str]:
    return [warning.code for warning in lint(graph)]


def only(graph: Graph) -> LintWarning:
    (warning,) = lint(graph)
    return warning


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("lenet", []),
        ("resnet18", []),
        ("mobilenet_v2", []),
        ("densenet121", []),
        ("efficientnet_lite0", []),
        # 3x3 windows at stride 2 without padding leave out the last of 224 rows; 207 of 224 pixels are seen.
        ("squeezenet", ["unread-input", "narrow-features"]),
        # A pixel of the map depends on 204 of 256 pixels each way.
        ("unet", ["narrow-output"]),
    ],
)
def test_shipped_networks_get_few_true_warnings(spec: str, expected: list[str]) -> None:
    assert codes(load(specs_folder() / f"{spec}.yaml")) == expected


def test_a_warning_has_place_facts_and_remedy() -> None:
    graph = chain((1, 8, 8, 1), Conv2D(1, (3, 3)))
    graph = replace(graph, nodes=(replace(graph.nodes[0], source=Source("net.yaml", 7)),))
    assert str(only(graph)).startswith("net.yaml:7: conv2d_0: no element sees the whole of the input: ")
    assert "3x3 of its 8x8 pixels; add layers" in only(graph).text


def test_narrow_output_counts_the_positions_that_see_all() -> None:
    graph = chain((1, 5, 5, 1), Conv2D(1, (5, 5), padding=(2, 2, 2, 2)))
    assert "only 1 of 25 positions see the whole" in only(graph).problem


def test_narrow_output_keeps_quiet_behind_dense_layers_and_global_pooling() -> None:
    assert codes(lenet()) == []
    assert codes(chain((1, 9, 9, 1), *[Conv2D(1, (3, 3), padding=SAME3)] * 8, GlobalPool2D("avg"), Flatten())) == []


def test_a_fully_convolutional_classifier_that_sees_all_is_fine_and_one_that_does_not_is_not() -> None:
    assert codes(chain((1, 9, 9, 1), Conv2D(4, (3, 3), (3, 3)), Conv2D(2, (3, 3)), Softmax())) == []
    graph = chain((1, 9, 9, 1), Conv2D(4, (3, 3), (3, 3)), Conv2D(2, (2, 2)), Softmax())
    assert codes(graph) == ["narrow-output"]


def test_narrow_features_only_at_the_last_pooling() -> None:
    graph = chain((1, 9, 9, 1), Conv2D(3, (3, 3), padding=SAME3), GlobalPool2D("max"), Flatten(), Dense(4))
    assert only(graph).code == "narrow-features"
    assert "3x3 of 9x9 pixels" in only(graph).problem


def test_a_cropped_border_is_unread_and_named_once() -> None:
    graph = chain((1, 8, 9, 1), Conv2D(2, (3, 3), (2, 2)), Flatten(), Dense(2))
    warning = only(graph)
    assert (warning.code, warning.layer) == ("unread-input", "conv2d_0")
    assert warning.problem == "1 of the 8 rows (7) of the input reach no output"
    assert "border" in warning.remedy


def test_gaps_between_windows_are_unread() -> None:
    warning = only(chain((1, 7, 7, 1), Pool2D("max", (2, 2), (3, 3)), Flatten(), Dense(2)))
    rows, columns = "3 of the 7 rows (2, 5-6)", "3 of the 7 columns (2, 5-6)"
    assert warning.problem == f"{rows} and {columns} of the input reach no output"
    assert "smaller stride" in warning.remedy


def test_a_border_lost_by_a_later_layer_is_blamed_on_it() -> None:
    graph = chain((1, 8, 8, 1), Conv2D(2, (1, 1)), RELU, Conv2D(2, (3, 3), (2, 2)), Flatten(), Dense(2))
    warning = only(graph)
    assert (warning.code, warning.layer) == ("unread-input", "conv2d_2")


def test_overlapping_fields_make_up_for_a_cropped_tensor() -> None:
    """The second convolution drops the last of 8 rows, whose pixels the row before it shows as well."""
    graph = chain((1, 8, 8, 1), Conv2D(2, (3, 3), padding=SAME3), Conv2D(2, (3, 3), (2, 2)), Flatten(), Dense(2))
    assert codes(graph) == []


def test_a_strided_pointwise_convolution_computes_in_vain() -> None:
    layers = [Conv2D(2, (3, 3), padding=SAME3), RELU, Conv2D(2, (1, 1), (2, 2)), Flatten(), Dense(2)]
    warning = only(chain((1, 7, 7, 1), *layers))
    assert (warning.code, warning.layer) == ("computed-in-vain", "relu_1")
    assert "67 % of its elements" in warning.problem  # 16 of 49 are read
    net = Builder((1, 7, 7, 1))
    state = net.add(Conv2D(2, (3, 3), padding=SAME3), "x")
    shortcut = net.add(Conv2D(2, (1, 1), (2, 2)), state)
    net.add(Add(), net.add(Conv2D(2, (3, 3), (2, 2), SAME3), state), shortcut)
    net.add(Flatten())
    net.add(Dense(2))
    assert codes(net.graph()) == []  # another reader takes the rest


def test_mixed_jumps_are_reported_where_they_meet_and_not_behind() -> None:
    net = Builder((1, 9, 9, 1))
    strided, cropped = net.add(Conv2D(1, (3, 3), (3, 3)), "x"), net.add(Conv2D(1, (7, 7)), "x")
    joined = net.add(Concat(), strided, cropped, name="joined")
    net.add(Conv2D(1, (1, 1)), joined)
    net.add(Flatten())
    net.add(Dense(2))
    warning = only(net.graph())
    assert (warning.code, warning.layer) == ("mixed-jumps", "joined")
    assert "by 1 and 3 pixels" in warning.problem


def test_dead_layers_and_inputs() -> None:
    net = Builder({"x": (1, 4), "spare": (1, 4)})
    dense = net.add(Dense(3), "x")
    net.add(Dense(2), dense, name="inner")
    net.add(RELU, "inner", name="end")
    warnings = lint(net.graph(dense))
    assert [(warning.code, warning.layer) for warning in warnings] == [("unused-input", "spare"), ("dead-layer", "end")]


def test_taps_that_only_meet_padding() -> None:
    graph = chain((1, 4, 4, 1), Pool2D("max", (4, 4), (4, 4)), Conv2D(2, (3, 3), padding=SAME3))
    warning = only(graph)
    assert warning.code == "taps-in-padding"
    assert "8 of the 9 taps" in warning.problem
    layers = [Pool2D("max", (2, 2), (2, 2)), Conv2D(2, (3, 3), padding=SAME3), Flatten(), Dense(1)]
    assert codes(chain((1, 4, 4, 1), *layers)) == []


def test_bias_in_front_of_a_batch_norm() -> None:
    for layer, expected in ((Dense(3), ["useless-bias"]), (Dense(3, use_bias=False), [])):
        assert codes(chain((1, 4), layer, BatchNorm())) == expected
    assert codes(chain((1, 4), Dense(3), RELU, BatchNorm())) == []


def test_softmax_over_one_channel() -> None:
    assert codes(chain((1, 4), Dense(1), Softmax())) == ["constant-softmax"]
    assert codes(chain((1, 4), Dense(1), Activate(Activation("sigmoid")))) == []
