"""Axes in a spec: numbers, or the names that images and vectors have for theirs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from cnngen.errors import ShapeError
from cnngen.frontends.fields import FieldError, shown
from cnngen.ir import TensorType
from cnngen.ops.axes import normal_axis

AXIS_NAMES = {4: ("batch", "height", "width", "channels"), 3: ("batch", "width", "channels"), 2: ("batch", "features")}
"""By rank; whatever the layout of the spec, inside images are (batch, height, width, channels)."""
MAX_RANK = 8
WORDS = ("batch", "height", "width", "channels", "features")
AXIS_HELP = "batch, height, width, channels, features, or its number in that order, the batch 0"

AxisValue = int | str


def _axis(value: Any) -> AxisValue:
    if isinstance(value, str) and value in WORDS:
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not -MAX_RANK <= value < MAX_RANK:
        raise FieldError(f"is {shown(value)}", f"write {AXIS_HELP}; negative ones count from the last")
    return value


def _axes(value: Any) -> tuple[AxisValue, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    if len(values) > MAX_RANK:
        raise FieldError(f"has {len(values)} axes, more than {MAX_RANK}", "name each axis once")
    return tuple(_axis(item) for item in values)


_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "integer", "minimum": -MAX_RANK, "maximum": MAX_RANK - 1}, {"enum": list(WORDS)}]
}
_LIST = {"type": "array", "items": _SCHEMA, "maxItems": MAX_RANK}
Axis = Annotated[AxisValue, BeforeValidator(_axis), WithJsonSchema(_SCHEMA)]
"""An axis by number or name."""
Axes = Annotated[tuple[AxisValue, ...], BeforeValidator(_axes), WithJsonSchema({"anyOf": [*_SCHEMA["anyOf"], _LIST]})]
"""One axis or several."""
AxisList = Annotated[tuple[AxisValue, ...], BeforeValidator(_axes), WithJsonSchema(_LIST)]
"""Several axes, in order."""


def axis_number(axis: AxisValue, tensor: TensorType, kind: str) -> int:
    """The number of an axis of `tensor`, counted from the front. Raises `ShapeError` where it has none such."""
    if isinstance(axis, int):
        return normal_axis(axis, tensor, kind)
    names = AXIS_NAMES.get(len(tensor.shape), ("batch",) if tensor.shape else ())
    if axis not in names:
        raise ShapeError(
            f"{kind} has the axis {axis}, the tensor {tensor} has {', '.join(names) or 'none'}",
            remedy=f"use its number, 0 to {len(tensor.shape) - 1}",
        )
    return names.index(axis)


def axis_numbers(axes: tuple[AxisValue, ...], tensor: TensorType, kind: str) -> tuple[int, ...]:
    """The numbers of several axes. Raises `ShapeError` where one is named twice."""
    numbers = tuple(axis_number(axis, tensor, kind) for axis in axes)
    if len(set(numbers)) < len(numbers):
        raise ShapeError(f"{kind} has an axis twice: {', '.join(map(str, axes))}", remedy="name each axis once")
    return numbers
