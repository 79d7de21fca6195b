"""Layers that join tensors or see the same elements in another shape."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from cnngen import ops
from cnngen.errors import ShapeError
from cnngen.frontends.axes import AXIS_HELP, Axis, axis_number
from cnngen.frontends.fields import (
    Sizes,
)
from cnngen.frontends.layer import Layer, Options
from cnngen.ops.base import Types


class Concat(Layer, kind="concat"):
    """The `inputs` one behind the other along the channels, or along another axis. Becomes `ops.Concat`."""

    arity = None
    axis: Axis = Field(-1, description=f"Axis along which they are joined: {AXIS_HELP}; by default the last")

    def lower(self, inputs: Types, options: Options) -> ops.Concat:
        return ops.Concat.along(axis_number(self.axis, inputs[0], self.kind), inputs[0])


class Flatten(Layer, kind="flatten"):
    """An image as one vector. Becomes `ops.Flatten`.

    The elements are numbered as in the framework that trained the weights: `hwc` for Keras, `chw`
    for PyTorch; `order` overrides that.
    """

    order: Literal["hwc", "chw"] | None = Field(None, description="hwc or chw; by default that of the weights format")

    def lower(self, inputs: Types, options: Options) -> ops.Flatten:
        return ops.Flatten(self.order or options.flatten_order)


class Reshape(Layer, kind="reshape"):
    """The same elements as a tensor of another shape. Becomes `ops.Reshape`, or `ops.Flatten` of a vector.

    `shape` is [h, w, c], or [c, h, w] in a `chw` spec, [features], or any other number of sizes; -1 stands for what is
    left. The elements of images are numbered as for `flatten`, those of other tensors as they lie. With `batch: false`
    the shape is the whole tensor's, and everything is numbered as it lies.
    """

    shape: Sizes = Field(description="Sizes of an image in the spec's layout, [features], or others; one may be -1")
    order: Literal["hwc", "chw"] | None = Field(None, description="hwc or chw; by default that of the weights format")
    batch: bool = Field(True, description="Whether the batch stays in front of `shape`; false: it is among the sizes")

    def lower(self, inputs: Types, options: Options) -> ops.Reshape | ops.Flatten:
        order, sizes = self.order or options.flatten_order, list(self.shape)
        elements = math.prod(inputs[0].shape[1:] if self.batch else inputs[0].shape)
        if -1 in sizes:
            rest = -math.prod(sizes)
            if elements % rest:
                raise ShapeError(
                    f"the other sizes, {rest} elements together, do not divide the {elements} of the input",
                    remedy="choose sizes that divide it",
                )
            sizes[sizes.index(-1)] = elements // rest
        if not self.batch:
            return ops.Reshape.to(tuple(sizes), inputs[0])
        if len(sizes) == 1:
            if sizes[0] != elements:
                raise ShapeError(f"{sizes[0]} features, the input has {elements}", remedy=f"write {elements} or -1")
            return ops.Flatten(order)
        if len(sizes) == 3 and options.layout == "chw":
            sizes = [sizes[1], sizes[2], sizes[0]]
        return ops.Reshape(tuple(sizes), order)
