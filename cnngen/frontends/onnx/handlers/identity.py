"""What does nothing at inference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.inputs import FLOATS
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.tensors import dtype_of, type_name
from cnngen.frontends.onnx.values import Tensor, Value


@handles("Identity")
def identity(node: NodeReader) -> Tensor:
    return node.tensor(0)


@handles("Dropout")
def dropout(node: NodeReader) -> Sequence[Value]:
    trained = node.version >= 12 and node.has(2) and bool(node.constant(2).any())
    if trained or (node.version < 7 and not node.whole("is_test", 0)):
        raise UnsupportedError("Dropout in training mode", reason="training", remedy="export the model for inference")
    x = node.tensor(0)
    outputs: list[Value] = [x, np.broadcast_to(np.True_, x.shape)]
    return outputs[: len(node.proto.output)]


@handles("Cast")
def cast(node: NodeReader) -> Tensor:
    """Between floats: all computing is in float32."""
    x, target = node.tensor(0), dtype_of(node.whole("to", 0))
    if target is None or target.kind != "f" or type_name(node.whole("to", 0)) == "BFLOAT16":
        problem = f"Cast of a computed tensor to {type_name(node.whole('to', 0))}"
        raise UnsupportedError(problem, reason="integers at run time")
    return Tensor(x.shape, x.forms, target)


@handles("CastLike")
def cast_like(node: NodeReader) -> Tensor:
    """Between floats, as `cast`."""
    x, target = node.tensor(0), node.dtype(1)
    if target.name not in FLOATS:
        raise UnsupportedError(f"CastLike of a computed tensor to {target}", reason="integers at run time")
    return Tensor(x.shape, x.forms, target, x.array)
