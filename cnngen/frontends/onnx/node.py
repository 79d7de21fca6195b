"""One ONNX node as a handler sees it: typed attributes, inputs that are checked, and ways to add ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnngen.errors import ModelError
from cnngen.frontends.onnx.builder import Builder
from cnngen.frontends.onnx.values import Form, Shape, Tensor, Value
from cnngen.ir import Array
from cnngen.ops import Op

if TYPE_CHECKING:
    import onnx


class UnsupportedError(ModelError):
    """The node is valid, but not one that cnngen computes; `reason` is a short class of such nodes."""

    def __init__(self, problem: str, *, reason: str, remedy: str | None = None, needs: tuple[str, ...] = ()) -> None:
        super().__init__(problem, remedy=remedy)
        self.reason = reason
        self.needs = needs


@dataclass
class NodeReader:
    """A node with its inputs as values; `None` for an optional one that is left out."""

    proto: onnx.NodeProto
    inputs: Sequence[Value | None]
    version: int
    builder: Builder
    name: str

    def __post_init__(self) -> None:
        self._attributes = {attribute.name: attribute for attribute in self.proto.attribute}

    @property
    def kind(self) -> str:
        return str(self.proto.op_type)

    def whole(self, name: str, default: int) -> int:
        found = self._attributes.get(name)
        return default if found is None else int(found.i)

    def number(self, name: str, default: float) -> float:
        found = self._attributes.get(name)
        value = default if found is None else float(found.f)
        if not np.isfinite(value):
            raise ModelError(f"the attribute {name} is {value}")
        return value

    def text(self, name: str, default: str) -> str:
        found = self._attributes.get(name)
        return default if found is None else found.s.decode("utf-8", "replace")

    def wholes(self, name: str) -> tuple[int, ...] | None:
        found = self._attributes.get(name)
        return None if found is None else tuple(int(value) for value in found.ints)

    def numbers(self, name: str) -> tuple[float, ...] | None:
        found = self._attributes.get(name)
        return None if found is None else tuple(float(value) for value in found.floats)

    def has(self, index: int) -> bool:
        """Whether input number `index` is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def tensor(self, index: int = 0) -> Tensor:
        """Input number `index` as a tensor of the network; a constant becomes one. Raises where it is left out."""
        value = self._input(index)
        if not isinstance(value, Tensor):
            value = self.constant_tensor(value)
        return value

    def dtype(self, index: int) -> np.dtype[np.generic]:
        """What ONNX calls the type of input number `index`."""
        return self._input(index).dtype

    def constant_tensor(self, array: Array) -> Tensor:
        """A tensor of the network that holds `array`."""
        return Tensor(array.shape, array=np.ascontiguousarray(as_float(array, self.kind)).reshape(array.shape))

    def constant(self, index: int) -> Array:
        """Input number `index`, whose value must be known now: a weight or a size."""
        value = self._input(index)
        if isinstance(value, Tensor):
            what = self.proto.input[index]
            raise UnsupportedError(
                f"the input {what!r} of {self.kind} is computed when the network runs, and has to be a constant",
                reason="run-time parameter",
                needs=(what,),
                remedy="export the model with constant weights and sizes",
            )
        return value

    def weight(self, index: int) -> Array:
        """A constant as float32."""
        return as_float(self.constant(index), self.kind)

    def sizes(self, index: int) -> tuple[int, ...]:
        """A constant list of whole numbers."""
        array = self.constant(index)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise ModelError(f"input {index} of {self.kind} has to be a list of whole numbers")
        return tuple(int(value) for value in array.reshape(-1))

    def add(self, op: Op, *inputs: str, weights: Mapping[str, Array] | None = None, suffix: str = "") -> str:
        """Append an op; its name is that of the node, with `suffix` for an auxiliary one."""
        return self.builder.add(op, inputs, self.name + suffix, weights)

    def plain(self, tensor: Tensor) -> str:
        """The name of `tensor` with its axes in ONNX's order."""
        return self.builder.form(tensor, "plain")

    def last(self, tensor: Tensor) -> str:
        """The name of `tensor` with its channels last."""
        return self.builder.form(tensor, "last")

    def result(self, name: str, form: Form) -> Tensor:
        """The value of an op just added, of rank 2 or 4 (or of any in plain form)."""
        shape = self.builder.types[name].shape
        return self.builder.tensor(name, onnx_shape(shape) if form == "last" else shape, form)

    def same_form(self, tensor: Tensor) -> tuple[Form, str]:
        """A form that `tensor` has already; channels last where it has both."""
        form: Form = "last" if "last" in tensor.forms else "plain"
        return form, self.builder.form(tensor, form)

    def axis(self, value: int, rank: int) -> int:
        """`value` counted from the front. Raises where there is no such axis."""
        if not -rank <= value < max(rank, 1):
            raise ModelError(f"{self.kind} names axis {value} of a tensor with {rank} axes")
        return value % max(rank, 1)

    def _input(self, index: int) -> Value:
        if not self.has(index):
            raise ModelError(f"{self.kind} lacks input {index}")
        value = self.inputs[index]
        assert value is not None
        return value


def onnx_shape(shape: Shape) -> Shape:
    """ONNX's shape of an image (n, h, w, c) of the graph."""
    if len(shape) == 4:
        return (shape[0], shape[3], shape[1], shape[2])
    return shape


def as_float(array: Array, kind: str) -> Array:
    """`array` as float32. Raises where it holds no numbers."""
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise ModelError(f"{kind} has a parameter of type {array.dtype}")
    with np.errstate(over="ignore"):
        return np.asarray(array, np.float32)
