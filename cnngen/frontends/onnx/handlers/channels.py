"""Constants that differ between channels only, and the ops that take them."""

from __future__ import annotations

import numpy as np

from cnngen.frontends.onnx.node import NodeReader
from cnngen.frontends.onnx.values import Form, Tensor, last_array
from cnngen.ir import Array
from cnngen.ops import BatchNorm


def channel_vector(node: NodeReader, x: Tensor, constant: Array) -> tuple[Form, str, Array] | None:
    """`constant`, broadcast to `x` as in NumPy, as one number for each element of the last axis.

    Returns the form of `x` in which it is so, `x` in that form, and the numbers; None where it differs along
    another axis, or enlarges `x`.
    """
    if x.rank < 2 or not x.forms:
        return None
    if constant.ndim > x.rank:
        if any(size != 1 for size in constant.shape[: constant.ndim - x.rank]):
            return None
        constant = constant.reshape(constant.shape[constant.ndim - x.rank :])
    padded = constant.reshape((1,) * (x.rank - constant.ndim) + constant.shape)
    if any(size not in (1, own) for size, own in zip(padded.shape, x.shape, strict=True)):
        return None
    forms: list[Form] = sorted(x.forms, key=lambda form: form != "last")
    if "last" not in forms:
        forms.append("last")
    for form in forms:
        moved = last_array(padded) if form == "last" else padded
        if moved.size == moved.shape[-1] and (form in x.forms or x.rank in (3, 4)):
            name = node.builder.form(x, form)
            return form, name, np.ascontiguousarray(np.broadcast_to(moved.reshape(-1), _last(node, name)))
    return None


def scaled(node: NodeReader, x: Tensor, scale: Array, shift: Array, suffix: str = "") -> Tensor | None:
    """``x scale + shift``; None where the two differ along another axis than the channels.

    It is a batch norm of mean 0 and variance 1, which passes fold into the layer in front of it.
    """
    constant = np.broadcast_arrays(scale, shift)
    found = channel_vector(node, x, constant[0])
    if found is None:
        return None
    form, name, gamma = found
    again = channel_vector(node, x, constant[1])
    assert again is not None
    beta = again[2]
    weights = {"gamma": gamma, "beta": beta, "mean": np.zeros_like(gamma), "variance": np.ones_like(gamma)}
    return node.builder.tensor(node.add(BatchNorm(0.0), name, weights=weights, suffix=suffix), x.shape, form)


def _last(node: NodeReader, name: str) -> tuple[int, ...]:
    return (node.builder.types[name].shape[-1],)
