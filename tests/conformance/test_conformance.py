"""The official test suite of ONNX: what is supported passes, and docs/onnx_support.md says what is.

Many networks are compiled at a time, on one ISA; `make conformance` runs all ISAs, and each case alone.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

import cnngen.onnx_backend as backend
from cnngen.errors import CnngenError, ModelError, RunError
from tests.conformance.cases import load_cases
from tests.conformance.check import Outcome, counts, run_cases
from tests.conformance.report import PAGE, of_float, page
from tests.onnx_models import convolution, model_of

LEAST = 340
"""Tests of single ops of convolutional networks on floats that pass, of 374."""
NOT_SUPPORTED = {"3-D", "training", "indices of MaxPool", "empty tensors"}
"""What is left of them."""


def test_the_official_suite(request: pytest.FixtureRequest) -> None:
    """One test, so that it runs once where tests are spread over processes."""
    outcomes = run_cases(load_cases())
    print(counts(outcomes))
    assert [(one.suite, one.name, one.reason) for one in outcomes if one.status == "failed"] == []
    assert [one for one in outcomes if one.status == "unsupported" and not one.reason] == []
    check_ops_of_networks(outcomes)
    light = {one.name: one.status for one in outcomes if one.suite == "light"}
    assert light == dict.fromkeys(light, "passed")
    assert len(light) == 9
    text = page(outcomes)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text, "python -m tests.conformance --page writes it"


def check_ops_of_networks(outcomes: list[Outcome]) -> None:
    """Of single ops of convolutional networks on floats nearly all pass; those of images in two axes do all."""
    chosen = [one for one in outcomes if of_float(one)]
    assert len(chosen) > 370
    missing = {one.name: one.reason for one in chosen if one.status != "passed"}
    assert len(chosen) - len(missing) >= LEAST, missing
    assert set(missing.values()) <= NOT_SUPPORTED, missing


def test_a_prepared_model_runs_by_order_and_by_name() -> None:
    prepared = backend.prepare(convolution())
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    (y,) = prepared.run([x])
    assert y.shape == (2, 5)
    np.testing.assert_array_equal(prepared.run({"x": x})[0], y)
    np.testing.assert_array_equal(prepared.run(x)[0], y)
    assert len(prepared._bound) == 1, "compiled once"
    np.testing.assert_array_equal(prepared.run([x[:1]])[0], y[:1])


def test_other_parameters_compile_another_network() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    model = model_of([node], {"x": (1, 1, 2, 2), "w": (1, 1, 1, 1)}, ["y"])
    prepared = backend.prepare(model)
    x = np.ones((1, 1, 2, 2), np.float32)
    for factor in (2.0, 3.0, 2.0):
        (y,) = prepared.run([x, np.full((1, 1, 1, 1), factor, np.float32)])
        np.testing.assert_array_equal(y, factor * x)
    assert len(prepared._bound) == 2


def test_a_node_runs_by_itself() -> None:
    x = np.array([[-1.0, 2.0]], np.float32)
    (y,) = backend.run_node(helper.make_node("Relu", ["x"], ["y"]), [x])
    np.testing.assert_array_equal(y, [[0.0, 2.0]])


def test_what_the_backend_refuses() -> None:
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA")
    assert backend.is_compatible(convolution())
    with pytest.raises(RunError, match="CUDA"):
        backend.prepare(convolution(), "CUDA")
    with pytest.raises(RunError, match="2 inputs were given"):
        backend.prepare(convolution()).run([1, 2])
    with pytest.raises(RunError, match="not a NumPy array"):
        backend.prepare(convolution()).run(["x"])
    loop = model_of([helper.make_node("Det", ["x"], ["y"])], {"x": (1, 2, 2)}, ["y"])
    with pytest.raises(ModelError, match="Det"):
        backend.prepare(loop).run([np.ones((1, 2, 2), np.float32)])
    whole = model_of([helper.make_node("Neg", ["x"], ["y"])], {"x": (1, 2)}, ["y"])
    whole.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    with pytest.raises(CnngenError, match="no input is computed with"):
        backend.prepare(whole).run([np.ones((1, 2), np.int64)])
