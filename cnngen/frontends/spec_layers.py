"""The layer of the spec language that becomes a given op, with its fields: the way back from `layers`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cnngen import ops
from cnngen.errors import SpecError
from cnngen.ir import TensorType
from cnngen.ops import Activation
from cnngen.ops.resampling import resolve_size

Order = Literal["hwc", "chw"]


@dataclass(frozen=True)
class Here:
    """Where an op stands: the types around it, and the numbering of the spec that it is written into."""

    inputs: tuple[TensorType, ...]
    output: TensorType
    order: Order
    """of flatten and reshape where they do not say it"""
    layout: Order
    """in which sizes of images are written"""


@dataclass(frozen=True)
class Exact:
    """A number to be written so that float32 gives it back; without it, so that float64 does."""

    value: float


Fields = dict[str, Any]
LayerText = tuple[str, Fields]
"""Kind and fields of a layer, without name and inputs."""


def layer_of(op: ops.Op, here: Here) -> LayerText:
    """The layer for `op`. Raises `SpecError` where the language has none."""
    writer = WRITERS.get(type(op))
    if writer is None:
        raise SpecError(f"the op {op.kind} has no layer in the spec language")
    return writer(op, here)


def pair(value: tuple[int, int]) -> int | list[int]:
    """A number where both are the same."""
    return value[0] if value[0] == value[1] else list(value)


def sides(padding: tuple[int, int, int, int]) -> int | list[int]:
    """top, bottom, left, right as short as the language has it."""
    top, bottom, left, right = padding
    if top == bottom and left == right:
        return pair((top, left))
    return list(padding)


def activation_of(activation: Activation) -> tuple[str, Fields]:
    """Name and parameters of an activation function in a spec."""
    from cnngen.frontends.activations import ACTIVATIONS
    from cnngen.frontends.elementary import ELEMENTARY

    special = {"gelu_tanh": ("gelu", {"approximate": "tanh"})}
    if activation.function in special:
        return special[activation.function]
    kind = activation.function
    model = {**ACTIVATIONS, **ELEMENTARY}[kind]
    numbers = [name for name in model.model_fields if name != "approximate"]
    values = dict(zip(numbers, activation.parameters, strict=True))
    if model(**values).activation() != activation:
        raise SpecError(f"the activation {kind} has parameters that a spec cannot say")
    if not any(field.is_required() for field in model.model_fields.values()) and model().activation() == activation:
        return kind, {}
    return kind, {name: Exact(value) for name, value in values.items()}


def _with_activation(fields: Fields, activation: Activation | None) -> Fields:
    if activation is not None:
        kind, parameters = activation_of(activation)
        fields["activation"] = {kind: parameters} if parameters else kind
    return fields


def _without_defaults(fields: Fields, defaults: Mapping[str, Any]) -> Fields:
    return {key: value for key, value in fields.items() if key not in defaults or value != defaults[key]}


WINDOW = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True, "output_padding": 0}


def _conv2d(op: ops.Conv2D, here: Here) -> LayerText:
    fields: Fields = {
        "kernel": pair(op.kernel),
        "stride": pair(op.stride),
        "padding": sides(op.padding),
        "dilation": pair(op.dilation),
        "bias": op.use_bias,
    }
    if op.depthwise(here.inputs):
        fields = {"multiplier": op.filters // op.groups, **fields}
        fields = _without_defaults(fields, {**WINDOW, "multiplier": 1})
        return "depthwise_conv2d", _with_activation(fields, op.activation)
    fields = _without_defaults({"filters": op.filters, **fields, "groups": op.groups}, WINDOW)
    return "conv2d", _with_activation(fields, op.activation)


def _conv2d_transpose(op: ops.Conv2DTranspose, here: Here) -> LayerText:
    fields: Fields = {
        "filters": op.filters,
        "kernel": pair(op.kernel),
        "stride": pair(op.stride),
        "padding": sides(op.padding),
        "output_padding": pair(op.output_padding),
        "dilation": pair(op.dilation),
        "groups": op.groups,
        "bias": op.use_bias,
    }
    return "conv2d_transpose", _with_activation(_without_defaults(fields, WINDOW), op.activation)


def _pool(op: ops.Pool2D, here: Here) -> LayerText:
    fields: Fields = {
        "kernel": pair(op.kernel),
        "stride": pair(op.stride),
        "padding": sides(op.padding),
        "dilation": pair(op.dilation),
        "ceil_mode": op.ceil_mode,
        "count_include_pad": op.count_include_pad,
    }
    if op.reduction == "lp":
        fields["p"] = op.order
    defaults = {
        "p": 2,
        "padding": 0,
        "dilation": 1,
        "ceil_mode": False,
        "count_include_pad": False,
        "stride": fields["kernel"],
    }
    return op.kind, _without_defaults(fields, defaults)


def _statistics_norm(op: ops.InstanceNorm | ops.GroupNorm | ops.LayerNorm, here: Here) -> LayerText:
    fields: Fields = {"epsilon": op.epsilon, "scale": op.scale, "center": op.center}
    if isinstance(op, ops.GroupNorm):
        fields = {"groups": op.groups, **fields}
    if isinstance(op, ops.LayerNorm):
        fields["axes"] = op.axes
    defaults: Fields = {"epsilon": 1e-5, "scale": True, "center": True, "axes": "channels"}
    return op.kind, _with_activation(_without_defaults(fields, defaults), op.activation)


def _batch_norm(op: ops.BatchNorm, here: Here) -> LayerText:
    fields = _without_defaults({"epsilon": op.epsilon}, {"epsilon": 1e-5})
    return "batch_norm", _with_activation(fields, op.activation)


def _dense(op: ops.Dense, here: Here) -> LayerText:
    fields = _without_defaults({"units": op.units, "bias": op.use_bias}, WINDOW)
    return "dense", _with_activation(fields, op.activation)


def _elementwise(op: Any, here: Here) -> LayerText:
    return op.kind, _with_activation({}, op.activation)


def _activate(op: ops.Activate, here: Here) -> LayerText:
    return activation_of(op.activation)


def _plain(kind: str) -> Callable[[Any, Here], LayerText]:
    return lambda op, here: (kind, {})


def _reshape(op: ops.Reshape, here: Here) -> LayerText:
    shape = list(op.shape)
    if op.whole or len(shape) == 1:  # one size behind the batch is a flatten in a spec
        return "reshape", {"shape": list(here.output.shape), "batch": False}
    if len(shape) == 3 and here.layout == "chw":
        shape = [shape[2], *shape[:2]]
    return "reshape", {"shape": shape, **_order(op.order, here)}


def _slice(op: ops.Slice, here: Here) -> LayerText:
    ends = [cut.start + cut.step * cut.count for cut in op.cuts]
    fields: Fields = {
        "axes": [cut.axis for cut in op.cuts],
        "starts": [cut.start for cut in op.cuts],
        "ends": [None if end < 0 else end for end in ends],
        "steps": [cut.step for cut in op.cuts],
    }
    return "slice", _without_defaults(fields, {"steps": [1] * len(ends)})


def _arg_reduce(op: ops.ArgReduce, here: Here) -> LayerText:
    fields: Fields = {"axis": op.axis, "keep_dims": op.keep_dims, "select_last": op.select_last}
    return op.kind, _without_defaults(fields, {"keep_dims": False, "select_last": False})


def _order(order: Order, here: Here) -> Fields:
    return {} if order == here.order else {"order": order}


def _resize(op: ops.Resize, here: Here) -> LayerText:
    how, (_, height, width, _) = op.how, here.inputs[0].shape
    fields: Fields = {}
    if op.scale is None or resolve_size((height, width), scale=op.scale)[0] != op.size:
        fields["size"] = pair(op.size)
    if op.scale is not None:
        fields["scale"] = op.scale[0] if op.scale[0] == op.scale[1] else list(op.scale)
    if how.coordinates == "tf_crop_and_resize":
        fields["roi"] = list(op.region)
    fields |= {field.name: getattr(how, field.name) for field in dataclasses.fields(how)}
    fields["extrapolation_value"] = op.extrapolation_value
    defaults = {field.name: field.default for field in dataclasses.fields(how)}
    return "resize", _without_defaults(fields, {**defaults, "extrapolation_value": 0.0})


def _blocks(op: ops.DepthToSpace | ops.SpaceToDepth, here: Here) -> LayerText:
    return op.kind, _without_defaults({"block": op.block, "mode": op.mode}, {"mode": "DCR"})


def _pad(op: ops.Pad, here: Here) -> LayerText:
    if op.kind == "crop" and not any(op.channels):
        top, bottom, left, right = op.crops
        return "crop", {"crop": sides((top, bottom, left, right))}
    fields = {
        "padding": sides(op.padding),
        "mode": op.mode,
        "value": Exact(float(np.float32(op.value))),
        "channels": list(op.channels),
    }
    return "pad", _without_defaults(fields, {"mode": "constant", "value": Exact(0.0), "channels": [0, 0]})


WRITERS: dict[type, Callable[[Any, Here], LayerText]] = {
    ops.Conv2D: _conv2d,
    ops.Conv2DTranspose: _conv2d_transpose,
    ops.Pool2D: _pool,
    ops.GlobalPool2D: lambda op, here: (op.kind, {"p": op.order} if op.reduction == "lp" and op.order != 2 else {}),
    ops.Dense: _dense,
    ops.Activate: _activate,
    ops.PRelu: _plain("prelu"),
    ops.BatchNorm: _batch_norm,
    ops.InstanceNorm: _statistics_norm,
    ops.GroupNorm: _statistics_norm,
    ops.LayerNorm: _statistics_norm,
    ops.LRN: lambda op, here: (
        "lrn",
        _without_defaults(
            {"size": op.size, "alpha": op.alpha, "beta": op.beta, "bias": op.bias},
            {"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0},
        ),
    ),
    ops.Add: _elementwise,
    ops.Sub: _elementwise,
    ops.Mul: _elementwise,
    ops.Div: _elementwise,
    ops.Power: _elementwise,
    ops.Maximum: _elementwise,
    ops.Minimum: _elementwise,
    ops.Concat: lambda op, here: ("concat", _without_defaults({"axis": op.axis}, {"axis": -1})),
    ops.Slice: _slice,
    ops.Expand: lambda op, here: ("expand", {"shape": list(op.shape)}),
    ops.Constant: lambda op, here: ("constant", {"shape": list(op.shape)}),
    ops.Reduce: lambda op, here: (
        op.kind,
        _without_defaults({"axes": list(op.axes), "keep_dims": op.keep_dims}, {"keep_dims": False}),
    ),
    ops.ArgReduce: _arg_reduce,
    ops.MatMul: _plain("matmul"),
    ops.Transpose: lambda op, here: ("transpose", {"axes": list(op.axes)}),
    ops.Flatten: lambda op, here: ("flatten", _order(op.order, here)),
    ops.Reshape: _reshape,
    ops.Upsample: lambda op, here: ("upsample", {"scale": pair(op.scale)}),
    ops.UpsampleBilinear: lambda op, here: ("upsample", {"scale": pair(op.scale), "mode": "bilinear"}),
    ops.Resize: _resize,
    ops.DepthToSpace: _blocks,
    ops.SpaceToDepth: _blocks,
    ops.ChannelShuffle: lambda op, here: ("channel_shuffle", {"groups": op.groups}),
    ops.Pad: _pad,
    ops.Identity: _plain("dropout"),
    ops.Softmax: _plain("softmax"),
    ops.LogSoftmax: _plain("log_softmax"),
}
"""For every op; a test says which is missing."""
