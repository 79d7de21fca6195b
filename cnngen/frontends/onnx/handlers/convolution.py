"""Conv and ConvTranspose on one or two axes."""

from __future__ import annotations

from typing import cast

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.handlers.windows import Pair, from_image, image_axes, numbers, pair, size_of, window
from cnngen.frontends.onnx.node import NodeReader
from cnngen.frontends.onnx.values import Tensor
from cnngen.ir import Array
from cnngen.ops import Conv2D, Conv2DTranspose


def _weights(node: NodeReader, filters: int) -> dict[str, Array]:
    """The bias, where there is one."""
    if not node.has(2):
        return {}
    bias = node.weight(2)
    if bias.shape != (filters,):
        raise ModelError(f"the bias has the shape {list(bias.shape)}, not [{filters}]")
    return {"bias": bias}


def _kernel(node: NodeReader, x: Tensor) -> tuple[Array, tuple[int, ...], int]:
    """The kernel with two spatial axes, their sizes in ONNX, and the number of groups."""
    weight, axes, groups = node.weight(1), image_axes(node, x), node.whole("group", 1)
    if weight.ndim != 2 + axes or not weight.size:
        raise ModelError(f"the weights have the shape {list(weight.shape)}, for an input of rank {x.rank}")
    if groups < 1 or x.shape[1] % groups:
        raise ModelError(f"group is {groups}, the input has {x.shape[1]} channels")
    sizes = weight.shape[2:]
    return (weight[:, :, None] if axes == 1 else weight), sizes, groups


@handles("Conv")
def conv(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    weight, sizes, groups = _kernel(node, x)
    fields = window(node, x, sizes)
    if weight.shape[1] * groups != x.shape[1] or weight.shape[0] % groups:
        raise ModelError(
            f"weights {list(weight.shape)} in {groups} groups do not fit an input of {x.shape[1]} channels"
        )
    image = node.last(x)
    bias = _weights(node, weight.shape[0])
    op = Conv2D(
        filters=weight.shape[0],
        kernel=fields.kernel,
        stride=fields.stride,
        padding=fields.padding(size_of(node, image)),
        dilation=fields.dilation,
        groups=groups,
        use_bias=bool(bias),
    )
    name = node.add(op, image, weights={"weight": weight.transpose(2, 3, 1, 0), **bias})
    return from_image(node, name, x.rank)


@handles("ConvTranspose")
def conv_transpose(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    weight, sizes, groups = _kernel(node, x)
    if weight.shape[0] != x.shape[1]:
        raise ModelError(f"weights {list(weight.shape)} do not fit an input of {x.shape[1]} channels")
    axes = len(sizes)
    fields = window(node, x, sizes)
    image = node.last(x)
    size = size_of(node, image)
    extra = pair(_whole(node, "output_padding", axes) or (0,) * axes, 0)
    padding = fields.padding(size) if fields.auto_pad == "NOTSET" else (0, 0, 0, 0)
    asked = _whole(node, "output_shape", axes)
    wanted: Pair | None = None if asked is None else pair(asked, 1)
    if wanted is None and fields.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = (size[0] * fields.stride[0], size[1] * fields.stride[1])
    if wanted is not None:
        padding, extra = _cropping(node, fields.kernel, fields.stride, fields.dilation, size, wanted, extra)
    filters = weight.shape[1] * groups
    bias = _weights(node, filters)
    op = Conv2DTranspose(
        filters=filters,
        kernel=fields.kernel,
        stride=fields.stride,
        padding=padding,
        dilation=fields.dilation,
        groups=groups,
        output_padding=extra,
        use_bias=bool(bias),
    )
    name = node.add(op, image, weights={"weight": _transposed(weight, groups), **bias})
    return from_image(node, name, x.rank)


def _transposed(weight: Array, groups: int) -> Array:
    """(in, filters / groups, kh, kw) as (kh, kw, in / groups, filters)."""
    inputs, outputs, kh, kw = weight.shape
    grouped = weight.reshape(groups, inputs // groups, outputs, kh, kw)
    return grouped.transpose(3, 4, 1, 0, 2).reshape(kh, kw, inputs // groups, groups * outputs)


def _whole(node: NodeReader, name: str, axes: int) -> tuple[int, ...] | None:
    values = node.wholes(name)
    if not values:
        return None
    if name == "output_shape" and len(values) == axes + 2:  # batch and channels first, as some exporters write it
        values = values[2:]
    if name == "output_shape":
        return numbers(name, values, axes)
    if len(values) != axes or min(values) < 0:
        raise ModelError(f"{name} is {list(values[:8])}", remedy=f"it has {axes} numbers, at least 0 each")
    return values


def _cropping(
    node: NodeReader, kernel: Pair, stride: Pair, dilation: Pair, size: Pair, wanted: Pair, extra: Pair
) -> tuple[tuple[int, int, int, int], Pair]:
    """Padding and output_padding for the output size `wanted`, as ONNX's ConvTranspose has it.

    ``total = stride (size - 1) + output_padding + dilation (kernel - 1) + 1 - wanted``; the larger half is cropped
    at the beginning, with SAME_UPPER at the end. Where the sum is negative the output is filled up at its end.
    """
    sides, fills = [], []
    upper = node.text("auto_pad", "NOTSET") == "SAME_UPPER"
    for axis in (0, 1):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        total = stride[axis] * (size[axis] - 1) + extra[axis] + reach - wanted[axis]
        fill = extra[axis]
        if total < 0:
            total, fill = 0, fill - total
        half = total // 2
        sides.append((half, total - half) if upper else (total - half, half))
        fills.append(fill)
    (top, bottom), (left, right) = sides
    return (top, bottom, left, right), cast(Pair, tuple(fills))
