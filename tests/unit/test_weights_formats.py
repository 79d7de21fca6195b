"""Both weight formats give the same network, judged by its results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cnngen.errors import WeightsError
from cnngen.frontends import load
from cnngen.frontends.weights import tensors_text
from cnngen.ir import Graph
from cnngen.reference import reference
from tests.specs import write

SPEC = """\
cnngen: 1
input: {{shape: [5, 6, 4]}}
weights: {weights}
layers:
  - conv2d: {{name: c, filters: 6, kernel: [3, 2], groups: 2}}
  - depthwise_conv2d: {{name: w, kernel: [2, 3], multiplier: 2}}
  - conv2d_transpose: {{name: t, filters: 6, kernel: [2, 1], stride: [1, 2], groups: 3, output_padding: [0, 1]}}
  - flatten: {{name: f}}
  - dense: {{name: d, units: 7}}
"""
RNG = np.random.default_rng(3)
KERAS = {
    "c.weight": RNG.standard_normal((3, 2, 2, 6)).astype(np.float32),  # HWIO
    "c.bias": RNG.standard_normal(6).astype(np.float32),
    "w.weight": RNG.standard_normal((2, 3, 6, 2)).astype(np.float32),  # (h, w, in, multiplier)
    "w.bias": RNG.standard_normal(12).astype(np.float32),
    "t.weight": RNG.standard_normal((2, 1, 2, 12)).astype(np.float32),  # (h, w, out / groups, in)
    "t.bias": RNG.standard_normal(6).astype(np.float32),
    "d.weight": RNG.standard_normal((3 * 6 * 6, 7)).astype(np.float32),
    "d.bias": RNG.standard_normal(7).astype(np.float32),
}


def as_torch(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same weights as PyTorch stores them, derived element by element."""
    converted = dict(arrays)
    c, w, t, d = (arrays[f"{name}.weight"] for name in "cwtd")
    converted["c.weight"] = np.array([[c[:, :, i, o] for i in range(2)] for o in range(6)])
    converted["w.weight"] = np.array([[w[:, :, o // 2, o % 2]] for o in range(12)])
    converted["t.weight"] = np.array([[t[:, :, o, i] for o in range(2)] for i in range(12)])
    rows = np.arange(3 * 6 * 6).reshape(3, 6, 6)
    chw = np.array([rows[i, j, k] for k in range(6) for i in range(3) for j in range(6)])
    converted["d.weight"] = np.array([d[chw, unit] for unit in range(7)])
    return {name: np.ascontiguousarray(array) for name, array in converted.items()}


def network(folder: Path, source: str, arrays: dict[str, np.ndarray], suffix: str) -> Graph:
    file = f"{source}{suffix}"
    if suffix == ".npz":
        np.savez_compressed(folder / file, **arrays)
    else:
        save_file(arrays, folder / file)
    return load(write(folder, SPEC.format(weights=f"{{file: {file}, format: {source}}}")))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_both_formats_are_the_same_network(tmp_path: Path, suffix: str) -> None:
    keras = network(tmp_path, "keras", KERAS, suffix)
    torch = network(tmp_path, "torch", as_torch(KERAS), suffix)
    x = RNG.standard_normal((2, 5, 6, 4))
    expected = reference(keras, x)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(reference(torch, x), expected, rtol=1e-10, atol=1e-10)
    for name in ("c", "w", "t"):
        np.testing.assert_array_equal(torch.node(name).weights["weight"], keras.node(name).weights["weight"])


def test_the_depthwise_kernel_means_what_keras_says(tmp_path: Path) -> None:
    """Output channel c * multiplier + m is channel c filtered by kernel[:, :, c, m]."""
    graph = network(tmp_path, "keras", KERAS, ".npz")
    x = RNG.standard_normal((1, 5, 6, 4))
    tensors = reference(graph, x, keep=True)
    assert isinstance(tensors, dict)
    image, kernel = tensors["c"][0], KERAS["w.weight"].astype(np.float64)
    for channel in range(6):
        for m in range(2):
            window = image[1:3, 2:5, channel]
            expected = (window * kernel[:, :, channel, m]).sum() + KERAS["w.bias"][2 * channel + m]
            np.testing.assert_allclose(tensors["w"][0, 1, 2, 2 * channel + m], expected, rtol=1e-12)


def test_the_transposed_kernel_means_what_keras_says(tmp_path: Path) -> None:
    """Input element (i, j, c) adds kernel[a, b, o, c] to element (i + a, 2 j + b, group * 2 + o)."""
    graph = network(tmp_path, "keras", KERAS, ".npz")
    tensors = reference(graph, RNG.standard_normal((1, 5, 6, 4)), keep=True)
    assert isinstance(tensors, dict)
    image, kernel = tensors["w"][0], KERAS["t.weight"].astype(np.float64)
    assert image.shape == (2, 3, 12)
    expected = np.zeros((3, 6, 6)) + KERAS["t.bias"]
    for i, j, c, a, o in np.ndindex(2, 3, 12, 2, 2):
        expected[i + a, 2 * j, c // 4 * 2 + o] += image[i, j, c] * kernel[a, 0, o, c]
    np.testing.assert_allclose(tensors["t"][0], expected, rtol=1e-12, atol=1e-12)


def test_a_grouped_kernel_for_a_depthwise_layer(tmp_path: Path) -> None:
    grouped = KERAS | {"w.weight": KERAS["w.weight"].reshape(2, 3, 1, 12)}
    one, two = network(tmp_path, "keras", KERAS, ".npz"), network(tmp_path, "keras", grouped, ".safetensors")
    np.testing.assert_array_equal(one.node("w").weights["weight"], two.node("w").weights["weight"])


def test_random_weights_can_be_replaced(tmp_path: Path) -> None:
    path = write(tmp_path, SPEC.format(weights="random"))
    np.savez(tmp_path / "w.npz", **KERAS)
    assert np.array_equal(load(path, weights=tmp_path / "w.npz").node("d").weights["weight"], KERAS["d.weight"])
    np.savez(tmp_path / "w.npz", **as_torch(KERAS))
    with pytest.raises(WeightsError, match="this is the layout of torch"):
        load(path, weights=tmp_path / "w.npz")


def test_a_weights_file_of_the_caller_keeps_the_format(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **as_torch(KERAS))
    path = write(tmp_path, SPEC.format(weights="{format: torch}"))
    assert load(path, weights=str(tmp_path / "w.npz")).node("d").weights["weight"].shape == (108, 7)
    with pytest.raises(Exception, match=r"net\.yaml:3: weights: names no file; add `file:`"):
        load(path)


def test_tensors_that_are_called_as_in_pytorch_or_keras_are_recognised(tmp_path: Path) -> None:
    layers = "  - conv2d: {name: c, filters: 2, kernel: 1, bias: false}\n  - batch_norm: {name: n}\n"
    spec = "cnngen: 1\ninput: {shape: [4, 4, 3]}\nweights: {file: w.npz, format: keras}\nlayers:\n" + layers
    names = ["c.kernel", "n.weight", "n.bias", "n.running_mean", "n.moving_variance"]
    np.savez(tmp_path / "w.npz", **{name: np.ones(2, np.float32) for name in names})
    with pytest.raises(WeightsError) as caught:
        load(write(tmp_path, spec))
    for ours, theirs in zip(("c.weight", "n.gamma", "n.beta", "n.mean", "n.variance"), names, strict=True):
        assert any(
            line.strip().startswith(f"{ours}: missing") and f"(the file has {theirs})" in line
            for line in str(caught.value).splitlines()
        ), ours


def test_the_list_of_tensors_has_the_shapes_that_files_may_have(tmp_path: Path) -> None:
    text = tensors_text(load(write(tmp_path, SPEC.format(weights="random"))))
    rows = {line.split("  ")[0]: line for line in text.splitlines()[1:]}
    assert rows.keys() == KERAS.keys()
    torch = as_torch(KERAS)
    for name, line in rows.items():
        assert line.split(None, 1)[1].startswith(str(KERAS[name].shape)), name
        assert line.endswith(f"  {torch[name].shape}"), name
