"""Small ONNX models for tests."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cnngen.ir import Array

Dims = tuple[int | str | None, ...]


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Dims],
    outputs: list[str],
    constants: dict[str, Array] | None = None,
    opset: int = 20,
) -> onnx.ModelProto:
    """A model of these nodes; `constants` are its initialisers."""
    return helper.make_model(
        helper.make_graph(
            nodes,
            "model",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=9,
    )


def convolution() -> onnx.ModelProto:
    """A convolution with bias, a batch norm, ReLU, pooling, flatten and a dense layer: 2x3x8x8 to 2x5."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"], name="norm"),
        helper.make_node("Relu", ["n"], ["r"], name="relu"),
        helper.make_node("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["p"], ["s"], name="shape"),
        helper.make_node("Gather", ["s", "zero"], ["n0"], name="gather"),
        helper.make_node("Concat", ["n0", "rest"], ["target"], name="target", axis=0),
        helper.make_node("Reshape", ["p", "target"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "d"], ["y"], name="dense", transB=1),
    ]
    constants = {
        "w": normal(4, 3, 3, 3),
        "b": normal(4),
        **{name: normal(4) for name in ("scale", "shift", "mean")},
        "variance": np.abs(normal(4)) + np.float32(0.5),
        "d": normal(5, 64),
        "zero": np.array([0]),
        "rest": np.array([-1]),
    }
    return model_of(nodes, {"x": ("n", 3, 8, 8)}, ["y"], constants)
