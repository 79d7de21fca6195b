"""Arithmetic on two or more tensors, broadcast as in NumPy; with constants, a scale and shift of each channel."""

from __future__ import annotations

from functools import reduce

import numpy as np

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.activation import FLOAT_MAX, activated
from cnngen.frontends.onnx.handlers.channels import scaled
from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.handlers.shape import reshaped
from cnngen.frontends.onnx.node import NodeReader, as_float
from cnngen.frontends.onnx.values import Form, Tensor, Value
from cnngen.ir import Array
from cnngen.ops import Activation, Add, Div, Maximum, Minimum, Mul, Power, Sub

OPS: dict[str, type[Add | Sub | Mul | Div | Power | Maximum | Minimum]] = {
    "Add": Add,
    "Sub": Sub,
    "Mul": Mul,
    "Div": Div,
    "Pow": Power,
    "Sum": Add,
    "Mean": Add,
    "Max": Maximum,
    "Min": Minimum,
}


@handles("Add", "Sub", "Mul", "Div", "Pow")
def arithmetic(node: NodeReader) -> Tensor:
    first, second = _old_broadcast(node, *_operands(node))
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return _computed(node, [first, second])
    return _with_constant(node, first, second)


@handles("Sum", "Max", "Min", "Mean")
def variadic(node: NodeReader) -> Tensor:
    operands = _operands(node)
    tensors = [value for value in operands if isinstance(value, Tensor)]
    constants = [value for value in operands if not isinstance(value, Tensor)]
    result = tensors[0] if len(tensors) == 1 else _computed(node, tensors)
    if constants:
        combine = {"Max": np.maximum, "Min": np.minimum}.get(node.kind, np.add)
        constant = reduce(combine, constants)
        result = _limited(node, result, constant) if node.kind in ("Max", "Min") else _shifted(node, result, constant)
    if node.kind == "Mean" and len(operands) > 1:
        share = scaled(node, result, np.array(1 / len(operands)), np.array(0.0), "/mean")
        if share is None:
            count = node.constant_tensor(np.array(len(operands), np.float32))
            form, name = node.same_form(result)
            return node.builder.tensor(node.add(Div(), name, node.plain(count), suffix="/mean"), result.shape, form)
        return share
    return result


def _operands(node: NodeReader) -> list[Value]:
    values = []
    for index in range(len(node.inputs)):
        value = node.inputs[index]
        if value is None:
            raise ModelError(f"{node.kind} lacks input {index}")
        values.append(value if isinstance(value, Tensor) else as_float(value, node.kind))
    return values


def _old_broadcast(node: NodeReader, first: Value, second: Value) -> tuple[Value, Value]:
    """Before opset 7 the second operand is aligned at `axis` of the first."""
    if node.version >= 7 or not node.whole("broadcast", 0):
        return first, second
    rank, own = len(first.shape), len(second.shape)
    if not own:
        return first, second
    axis = node.axis(node.whole("axis", rank - own), rank)
    shape = (*second.shape, *(1,) * max(rank - axis - own, 0))
    if isinstance(second, Tensor):
        return first, reshaped(node, second, shape, "/aligned")
    return first, second.reshape(shape)


def _computed(node: NodeReader, tensors: list[Tensor], suffix: str = "") -> Tensor:
    """The op on tensors, all in one form: channels last where one of them is so."""
    try:
        shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    except ValueError:
        shapes = " and ".join(str(list(tensor.shape)) for tensor in tensors)
        raise ModelError(f"{node.kind} of tensors that do not fit each other: {shapes}") from None
    rank = len(shape)
    form: Form = (
        "last" if rank < 3 or any("last" in tensor.forms for tensor in tensors if tensor.rank == rank) else "plain"
    )
    if form == "last" and rank > 2:
        tensors = [reshaped(node, x, (1,) * (rank - x.rank) + x.shape, "/rank") for x in tensors]
    name = node.add(OPS[node.kind](), *(node.builder.form(tensor, form) for tensor in tensors), suffix=suffix)
    return node.builder.tensor(name, shape, form)


def _with_constant(node: NodeReader, first: Value, second: Value) -> Tensor:
    if isinstance(first, Tensor):
        assert not isinstance(second, Tensor)
        if node.kind == "Pow":
            return _power(node, first, second)
        with np.errstate(all="ignore"):
            scale, shift = {
                "Add": (np.array(1.0), second),
                "Sub": (np.array(1.0), -second),
                "Mul": (second, np.array(0.0)),
                "Div": (1 / second, np.array(0.0)),
            }[node.kind]
        return _affine(node, first, scale, shift, [first, node.constant_tensor(second)])
    assert isinstance(second, Tensor)
    if node.kind in ("Div", "Pow"):
        return _computed(node, [node.constant_tensor(first), second])
    scale, shift = {
        "Add": (np.array(1.0), first),
        "Sub": (np.array(-1.0), first),
        "Mul": (first, np.array(0.0)),
    }[node.kind]
    return _affine(node, second, scale, shift, [node.constant_tensor(first), second])


def _power(node: NodeReader, x: Tensor, exponent: Array) -> Tensor:
    if exponent.size != 1:
        return _computed(node, [x, node.constant_tensor(exponent)])
    value = float(exponent.reshape(()))
    named = {2.0: Activation("square"), 0.5: Activation("sqrt"), -1.0: Activation("reciprocal")}
    result = x if value == 1 else activated(node, x, named.get(value, Activation("pow", value)))
    rank = max(x.rank, exponent.ndim)
    return reshaped(node, result, (1,) * (rank - x.rank) + x.shape, "/rank")


def _affine(node: NodeReader, x: Tensor, scale: Array, shift: Array, operands: list[Tensor]) -> Tensor:
    """A scale and shift of each channel where the constant is no more than that, else the op on `operands`."""
    result = scaled(node, x, scale, shift)
    return _computed(node, operands) if result is None else result


def _shifted(node: NodeReader, x: Tensor, constant: Array) -> Tensor:
    return _affine(node, x, np.array(1.0), constant, [x, node.constant_tensor(constant)])


def _limited(node: NodeReader, x: Tensor, constant: Array) -> Tensor:
    if constant.size != 1 or constant.ndim > x.rank or np.isnan(constant).any():
        return _computed(node, [x, node.constant_tensor(constant)])
    limit = float(constant.reshape(()))
    low, high = (limit, FLOAT_MAX) if node.kind == "Max" else (-FLOAT_MAX, limit)
    return activated(node, x, Activation("relu") if (low, high) == (0.0, FLOAT_MAX) else Activation("clip", low, high))
