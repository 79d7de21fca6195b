"""What a spec means: small networks against plain loops written here, from the file to the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnngen.errors import SpecError
from cnngen.frontends import load
from cnngen.frontends.activations import ACTIVATIONS
from cnngen.frontends.elementary import ELEMENTARY
from cnngen.frontends.layers import LAYERS
from cnngen.ir import Graph
from cnngen.ops import FUNCTIONS, Activate, Activation, Add, Conv2D, Dense, Flatten, GlobalPool2D, Pool2D, Transpose
from cnngen.reference import reference
from tests.specs import HEADER, network, parse, refusal

RNG = np.random.default_rng(7)


def loops(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, pad: int, groups: int = 1) -> np.ndarray:
    """Convolution of one HWC image as the sum in the textbook, element by element."""
    kh, kw, per_group, filters = weight.shape
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    height, width = (x.shape[0] - kh) // stride + 1, (x.shape[1] - kw) // stride + 1
    y = np.zeros((height, width, filters))
    for i, j, o in np.ndindex(y.shape):
        first = o // (filters // groups) * per_group
        window = x[i * stride : i * stride + kh, j * stride : j * stride + kw, first : first + per_group]
        y[i, j, o] = bias[o] + (window * weight[..., o]).sum()
    return y


def weights(graph: Graph, name: str) -> dict[str, np.ndarray]:
    return {role: np.asarray(array, np.float64) for role, array in graph.node(name).weights.items()}


def test_a_chain_of_layers(tmp_path: Path) -> None:
    graph = parse(
        tmp_path,
        network(
            "conv2d: {name: c, filters: 4, kernel: 3, stride: 2, padding: 1, activation: relu}",
            "batch_norm: {name: b, epsilon: 0.25}",
            "max_pool: {kernel: 2}",
            "flatten",
            "dropout: {rate: 0.3}",
            "dense: {name: d, units: 5, bias: false}",
            "softmax",
        ),
    )
    x = RNG.standard_normal((8, 8, 3))
    c, b, d = (weights(graph, name) for name in "cbd")
    y = np.maximum(loops(x, c["weight"], c["bias"], 2, 1), 0)
    y = b["gamma"] * (y - b["mean"]) / np.sqrt(b["variance"] + 0.25) + b["beta"]
    y = y.reshape(2, 2, 2, 2, 4).max(axis=(1, 3)).reshape(-1) @ d["weight"]
    np.testing.assert_allclose(reference(graph, x)[0], np.exp(y) / np.exp(y).sum(), rtol=1e-12)


def test_branches_residual_and_concat(tmp_path: Path) -> None:
    graph = parse(
        tmp_path,
        network(
            "conv2d: {name: a, filters: 3, kernel: 1}",
            "conv2d: {name: b, inputs: [input], filters: 3, kernel: 3, padding: same}",
            "add: {name: s, inputs: [a, b, input], activation: {leaky_relu: {alpha: 0.25}}}",
            "concat: {inputs: [s, a]}",
            "global_avg_pool",
        )
        + "outputs: [global_avg_pool_1, s]\n",
    )
    x = RNG.standard_normal((8, 8, 3))
    a, b = weights(graph, "a"), weights(graph, "b")
    ya, yb = loops(x, a["weight"], a["bias"], 1, 0), loops(x, b["weight"], b["bias"], 1, 1)
    total = ya + yb + x
    total = np.where(total > 0, total, 0.25 * total)
    pooled, kept = reference(graph, x)
    np.testing.assert_allclose(pooled[0, 0, 0], np.concatenate([total, ya], -1).mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(kept[0], total, rtol=1e-12)


def test_depthwise_and_grouped_convolution(tmp_path: Path) -> None:
    graph = parse(
        tmp_path,
        network(
            "depthwise_conv2d: {name: d, kernel: 3, multiplier: 2, stride: 2, padding: 1}",
            "conv2d: {name: g, filters: 4, kernel: 2, groups: 2}",
        ),
    )
    x = RNG.standard_normal((8, 8, 3))
    d, g = weights(graph, "d"), weights(graph, "g")
    assert d["weight"].shape == (3, 3, 1, 6)
    assert g["weight"].shape == (2, 2, 3, 4)
    y = loops(x, d["weight"], d["bias"], 2, 1, groups=3)
    np.testing.assert_allclose(reference(graph, x)[0], loops(y, g["weight"], g["bias"], 1, 0, 2), rtol=1e-12)


def test_channels_first(tmp_path: Path) -> None:
    """The same seed gives the same weights, so a chw network is its hwc twin between two transpositions."""
    layers = ["conv2d: {name: c, filters: 4, kernel: 3}", "max_pool: {name: p, kernel: 2}"]
    header = HEADER.replace("8, 8, 3]", "8, 10, 3], layout: hwc")
    hwc = parse(tmp_path, network(*layers, header=header))
    chw = parse(tmp_path, network(*layers, header=header.replace("8, 10, 3], layout: hwc", "3, 8, 10], layout: chw")))
    x = RNG.standard_normal((2, 8, 10, 3))
    np.testing.assert_array_equal(reference(chw, x.transpose(0, 3, 1, 2)), reference(hwc, x).transpose(0, 3, 1, 2))
    assert chw.inputs[0].type.shape == (1, 3, 8, 10)
    assert chw.nodes[0].op == Transpose((0, 2, 3, 1))
    assert chw.nodes[-1].op == Transpose((0, 3, 1, 2))
    assert chw.types[chw.outputs[0]].shape == (1, 4, 3, 4)
    assert chw.types["c"].shape == (1, 6, 8, 4)


@pytest.mark.parametrize(
    ("weights_line", "layout", "order"),
    [
        ("random", "hwc", "hwc"),
        ("random", "chw", "chw"),
        ("{format: torch, file: w.npz}", "hwc", "chw"),
        ("{format: keras, file: w.npz}", "chw", "hwc"),
    ],
)
def test_flatten_numbers_elements_as_the_framework_did(
    tmp_path: Path, weights_line: str, layout: str, order: str
) -> None:
    np.savez(tmp_path / "w.npz")
    header = f"cnngen: 1\ninput: {{shape: [2, 2, 2], layout: {layout}}}\nweights: {weights_line}\n"
    graph = parse(tmp_path, network("flatten: {name: f}", header=header))
    assert graph.node("f").op == Flatten(order)
    graph = parse(tmp_path, network("flatten: {name: f, order: hwc}", header=header))
    assert graph.node("f").op == Flatten("hwc")


def test_several_inputs_and_one_output_name(tmp_path: Path) -> None:
    header = "cnngen: 1\ninput:\n  left: {shape: [4, 4, 2]}\n  right: {shape: [4, 4, 2]}\nweights: random\n"
    graph = parse(tmp_path, network("add: {name: s, inputs: [left, right]}", "relu", header=header) + "outputs: s\n")
    assert [tensor.name for tensor in graph.inputs] == ["left", "right"]
    assert graph.outputs == ("s",)
    a, b = RNG.standard_normal((2, 4, 4, 2))
    np.testing.assert_array_equal(reference(graph, {"right": b, "left": a})[0], a + b)
    refusal(tmp_path, network("relu", header=header), "several inputs", "add inputs: [name]", line=7)
    mixed = header.replace("right: {shape: [4, 4, 2]", "right: {shape: [4, 4, 2], layout: chw")
    refusal(tmp_path, network("add: {inputs: [left, right]}", header=mixed), "different layouts", line=2)


def test_flat_input_and_batch(tmp_path: Path) -> None:
    header = HEADER.replace("[8, 8, 3]", "[7]")
    graph = parse(tmp_path, network("dense: {name: d, units: 2, activation: tanh}", header=header), batch=3)
    assert graph.types == {"input": graph.inputs[0].type, "d": graph.types["d"]}
    assert graph.types["d"].shape == (3, 2)
    x = RNG.standard_normal((3, 7))
    d = weights(graph, "d")
    np.testing.assert_allclose(reference(graph, x), np.tanh(x @ d["weight"] + d["bias"]), rtol=1e-12)


def test_a_graph_passes_through_and_can_be_rebatched(tmp_path: Path) -> None:
    graph = parse(tmp_path, network("conv2d: {name: c, filters: 4, kernel: 3}"), batch=2)
    assert load(graph).types == graph.types
    assert load(graph, batch=5).types["c"].shape == (5, 6, 6, 4)
    with pytest.raises(SpecError, match="a Graph has its weights already"):
        load(graph, weights=tmp_path / "w.npz")


def test_every_layer_becomes_its_op(tmp_path: Path) -> None:
    graph = parse(
        tmp_path,
        network(
            "avg_pool: {kernel: 3, stride: [1, 2], padding: same, dilation: 2, count_include_pad: true}",
            "max_pool: {kernel: 2, ceil_mode: true}",
            "lrn: {size: 3, alpha: 0.1, beta: 0.5, bias: 2}",
            "conv2d: {filters: 2, kernel: [1, 2], dilation: [3, 1], bias: false, activation: none}",
            "global_max_pool",
            "flatten",
            "dense: {units: 3, bias: false, activation: sigmoid}",
            "batch_norm",
        ),
    )
    operations = [node.op for node in graph.nodes]
    assert operations[0] == Pool2D("avg", (3, 3), (1, 2), (2, 2, 1, 2), (2, 2), False, True)
    assert operations[1] == Pool2D("max", (2, 2), (2, 2), ceil_mode=True)
    assert operations[3] == Conv2D(2, (1, 2), dilation=(3, 1), use_bias=False)
    assert operations[4] == GlobalPool2D("max")
    assert operations[6] == Dense(3, False, Activation("sigmoid"))


def test_every_activation_is_a_layer_and_a_field(tmp_path: Path) -> None:
    assert {*ACTIVATIONS, *ELEMENTARY, "gelu_tanh"} == set(FUNCTIONS), "gelu_tanh is written gelu: {approximate: tanh}"
    for name in ACTIVATIONS:
        assert name in LAYERS
        graph = parse(tmp_path, network(f"{name}: {{name: a}}", f"add: {{inputs: [a, a], activation: {name}}}"))
        layer, fused = graph.nodes[0].op, graph.nodes[1].op
        assert isinstance(layer, Activate)
        assert isinstance(fused, Add)
        assert layer.activation == fused.activation
        assert layer.activation.function == name


def test_elementary_functions_are_layers_only(tmp_path: Path) -> None:
    for name in ELEMENTARY:
        fields = ", exponent: 1.5" if name == "pow" else ""
        layer = parse(tmp_path, network(f"{name}: {{name: a{fields}}}")).nodes[0].op
        assert isinstance(layer, Activate)
        assert layer.activation == Activation(name, 1.5 if fields else 0.0)
    refusal(tmp_path, network("add: {inputs: [input, input], activation: exp}"), "unknown activation 'exp'")
    flat = "add: {inputs: [input, input], activation: {celu: {alpha: 0}}}"
    refusal(tmp_path, network(flat), "celu.alpha: must be above 0, not 0")


@pytest.mark.parametrize(
    ("written", "function", "alpha", "beta"),
    [
        ("celu: {alpha: 0.5}", "celu", 0.5, 0.0),
        ("thresholded_relu: ", "thresholded_relu", 1.0, 0.0),
        ("swish: {beta: 1.5}", "swish", 1.5, 0.0),
        ("clip: {minimum: null}", "clip", -np.inf, 1.0),
        ("clip: {minimum: 2, maximum: null}", "clip", 2.0, np.inf),
        ("leaky_relu: {alpha: 0.5}", "leaky_relu", 0.5, 0.0),
        ("leaky_relu: ", "leaky_relu", 0.01, 0.0),
        ("clip: {minimum: -1, maximum: 2}", "clip", -1.0, 2.0),
        ("hard_sigmoid: ", "hard_sigmoid", 1 / 6, 0.5),
        ("hard_sigmoid: {alpha: 0.2}", "hard_sigmoid", 0.2, 0.5),
        ("elu: ", "elu", 1.0, 0.0),
        ("elu: {alpha: 0.3}", "elu", 0.3, 0.0),
        ("gelu: {approximate: none}", "gelu", 0.0, 0.0),
        ("gelu: {approximate: tanh}", "gelu_tanh", 0.0, 0.0),
    ],
)
def test_parameters_of_activations(tmp_path: Path, written: str, function: str, alpha: float, beta: float) -> None:
    graph = parse(tmp_path, network(f"{{{written}}}", f"conv2d: {{filters: 1, kernel: 1, activation: {{{written}}}}}"))
    layer, convolution = graph.nodes[0].op, graph.nodes[1].op
    assert isinstance(layer, Activate)
    assert isinstance(convolution, Conv2D)
    assert layer.activation == convolution.activation == Activation(function, alpha, beta)


def test_default_names_never_clash(tmp_path: Path) -> None:
    graph = parse(tmp_path, network("relu", "relu: {name: relu_3}", "relu", "relu", "relu: {name: x, repeat: 2}"))
    assert [node.name for node in graph.nodes] == ["relu_1", "relu_3", "relu_2", "relu_4", "x_1", "x_2"]


def test_a_chw_network_with_awkward_names(tmp_path: Path) -> None:
    header = HEADER.replace("[8, 8, 3]", "[3, 8, 8], layout: chw")
    graph = parse(tmp_path, network("relu: {name: a}", "relu: {name: a/nchw}", header=header) + "outputs: [a, a/nchw]")
    assert len({node.name for node in graph.nodes}) == len(graph.nodes) == 5
    assert [graph.types[name].shape for name in graph.outputs] == [(1, 3, 8, 8)] * 2
    assert graph.outputs == ("a", "a/nchw")
    text = network("relu: {name: input/nhwc}", header=header)
    refusal(tmp_path, text, "the name is taken by another layer", "rename", line=5)


@pytest.mark.parametrize(
    ("layer", "remedy"),
    [
        ("rsqrt", "did you mean 'pow'?"),
        ("Linear: {units: 3}", "did you mean 'dense'?"),
        ("ConvTranspose2d: {filters: 3, kernel: 2}", "did you mean 'conv2d_transpose'?"),
        ("max_pool: {pool_size: 2}", "did you mean 'kernel'?"),
        ("upsample: {size: 2}", "did you mean 'scale'?"),
        ("depthwise_conv2d: {kernel: 3, filters: 3}", "did you mean 'multiplier'?"),
        ("conv2d: {filters: 3, kernel:3}", "write a space behind the colon: `kernel: 3`"),
        ("conv2d: {filters: 3, kernel: (3, 3)}", "write a list in square brackets: [3, 3]"),
        ("conv2d: {filters: '$n', kernel: 3}", "leave the quotes away: quoted text is no expression"),
        ("conv2d: {filters: 1.5, kernel: 3}", "write digits only, or // in an expression to divide and round down"),
        ("conv2d: {filters: 3, kernel: 3, activation: {leaky_relu: 0.1}}", "write {leaky_relu: {alpha: ...}}"),
        ("conv2d: {filters: 3, kernel: 3, activation: {relu: 0.1}}", "it takes none"),
        ("relu: {}\n    flatten: {}", "begin each layer with `- `"),
    ],
)
def test_names_of_other_frameworks_and_slips_get_the_remedy_that_helps(tmp_path: Path, layer: str, remedy: str) -> None:
    assert refusal(tmp_path, network(layer), line=5).remedy == remedy


def test_a_halved_odd_size_is_explained_where_it_does_not_fit(tmp_path: Path) -> None:
    layers = ("max_pool: {kernel: 2}", "upsample: {scale: 2}", "concat: {inputs: [input, upsample_1]}")
    text = network(*layers).replace("[8, 8, 3]", "[9, 9, 3]")
    refusal(tmp_path, text, "1x9x9x3 and 1x8x8x3", "choose an input whose size can be divided", line=7)
