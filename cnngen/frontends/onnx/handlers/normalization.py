"""Batch normalisation at inference and local response normalisation."""

from __future__ import annotations

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.values import Tensor
from cnngen.ops import LRN, BatchNorm

ROLES = ("gamma", "beta", "mean", "variance")


@handles("BatchNormalization")
def batch_norm(node: NodeReader) -> Tensor:
    trained = node.whole("training_mode", 0) or any(node.proto.output[1:])
    if trained or (node.version < 7 and not node.whole("is_test", 0)):
        raise UnsupportedError(
            "BatchNormalization in training mode", reason="training", remedy="export the model for inference"
        )
    if not node.whole("spatial", 1):
        raise UnsupportedError("BatchNormalization with spatial=0", reason="a mean for each pixel")
    x = node.tensor(0)
    if x.rank < 2:
        raise ModelError(f"BatchNormalization of a tensor of rank {x.rank}")
    weights = {role: node.weight(1 + index) for index, role in enumerate(ROLES)}
    for role, array in weights.items():
        if array.shape != (x.shape[1],):
            raise ModelError(f"the {role} has the shape {list(array.shape)}, not [{x.shape[1]}]")
    epsilon = node.number("epsilon", 1e-5)
    if epsilon < 0 or float(weights["variance"].min(initial=0.0)) < 0:
        raise ModelError(f"epsilon {epsilon:g} or a variance is negative", remedy="export the model again")
    return node.builder.tensor(node.add(BatchNorm(epsilon), node.last(x), weights=weights), x.shape, "last")


@handles("LRN")
def lrn(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    size = node.whole("size", 0)
    if size < 1:
        raise ModelError(f"size is {size}", remedy="it is at least 1")
    op = LRN(size, node.number("alpha", 1e-4), node.number("beta", 0.75), node.number("bias", 1.0))
    if op.alpha < 0 or op.bias <= 0:
        raise UnsupportedError(f"LRN with alpha {op.alpha:g} and bias {op.bias:g}", reason="LRN of a negative base")
    return node.builder.tensor(node.add(op, node.last(x)), x.shape, "last")
