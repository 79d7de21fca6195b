"""Pooling over windows and over the whole image."""

from __future__ import annotations

from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.handlers.windows import from_image, image_axes, size_of, window
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.values import Tensor
from cnngen.ops import GlobalPool2D, Pool2D, PoolReduction


def _pool(node: NodeReader, reduction: PoolReduction, count_include_pad: bool, order: int = 2) -> Tensor:
    x = node.tensor(0)
    fields = window(node, x)
    image = node.last(x)
    op = Pool2D(
        reduction,
        fields.kernel,
        fields.stride,
        fields.padding(size_of(node, image)),
        fields.dilation,
        ceil_mode=bool(node.whole("ceil_mode", 0)),
        count_include_pad=count_include_pad,
        order=order,
    )
    return from_image(node, node.add(op, image), x.rank)


@handles("MaxPool")
def max_pool(node: NodeReader) -> Tensor:
    if len(node.proto.output) > 1 and node.proto.output[1]:
        raise UnsupportedError("MaxPool returns the indices, too", reason="indices of MaxPool")
    return _pool(node, "max", False)


@handles("AveragePool")
def average_pool(node: NodeReader) -> Tensor:
    return _pool(node, "avg", bool(node.whole("count_include_pad", 0)))


@handles("LpPool")
def lp_pool(node: NodeReader) -> Tensor:
    return _pool(node, "lp", False, _order(node))


def _order(node: NodeReader) -> int:
    order = node.whole("p", 2)
    if not 1 <= order <= 16:
        raise UnsupportedError(f"{node.kind} with p {order}", reason="a norm beyond p 16")
    return order


@handles("GlobalLpPool")
def global_lp_pool(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    image_axes(node, x)
    return from_image(node, node.add(GlobalPool2D("lp", _order(node)), node.last(x)), x.rank)


@handles("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    image_axes(node, x)
    name = node.add(GlobalPool2D("max" if node.kind == "GlobalMaxPool" else "avg"), node.last(x))
    return from_image(node, name, x.rank)
