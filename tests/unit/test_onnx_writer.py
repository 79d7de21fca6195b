"""Names in the ONNX models that `cnngen.onnx_writer` writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import cnngen
from tests.differential.onnx_twin import OnnxTwin
from tests.graphs import feed
from tests.specs import write


def test_outputs_of_chw_networks_keep_their_names(tmp_path: Path) -> None:
    """Their layers give way to names that the writer must not take for tensors of its own."""
    text = (
        "cnngen: 1\ninput: {shape: [3, 6, 5], layout: chw}\nweights: random\nlayers:\n"
        "  - conv2d: {name: c, filters: 4, kernel: 3}\n  - relu: {name: r}\noutputs: [c, r]\n"
    )
    graph = cnngen.load_graph(write(tmp_path, text))
    assert set(graph.outputs) == {"c", "r"}
    xs = feed(graph, "random")
    answers = OnnxTwin(graph)(xs)
    wanted = cnngen.reference(graph, xs["x" if "x" in xs else next(iter(xs))])
    for name, value in zip(graph.outputs, wanted, strict=True):
        np.testing.assert_allclose(answers[name].reshape(-1), np.reshape(value, -1), rtol=1e-4, atol=1e-5)
