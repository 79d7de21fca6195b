"""Resize and Upsample over height and width, with constant sizes or scales."""

from __future__ import annotations

from typing import TypeVar, cast, get_args

from cnngen.errors import ModelError
from cnngen.frontends.onnx.handlers.registry import handles
from cnngen.frontends.onnx.handlers.windows import from_image, image_axes, size_of
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.values import Tensor
from cnngen.ops import Resize, resized
from cnngen.ops.resampling import AspectRatio, Coordinates, Resampling, ResizeMode, Rounding, resolve_size

T = TypeVar("T", int, float)


@handles("Resize", "Upsample")
def resize(node: NodeReader) -> Tensor:
    x = node.tensor(0)
    image_axes(node, x)
    axes = [node.axis(axis, x.rank) for axis in node.wholes("axes") or range(x.rank)]
    how, image = _resampling(node), node.last(x)
    size, scale = _target(node, x, axes, size_of(node, image))
    region = _region(node, x, axes) if how.coordinates == "tf_crop_and_resize" else (0.0, 0.0, 1.0, 1.0)
    op = Resize(size, how, scale, region, node.number("extrapolation_value", 0.0))
    name = node.add(resized(op, node.builder.types[image]), image)
    return from_image(node, name, x.rank)


def _target(
    node: NodeReader, x: Tensor, axes: list[int], size: tuple[int, int]
) -> tuple[tuple[int, int], tuple[float, float] | None]:
    """Height and width of the result, and the scale where it is not just their ratio; a signal has height 1."""
    if node.kind == "Resize" and node.version >= 11 and node.has(3) and node.sizes(3):
        sizes = _by_axis(node, node.sizes(3), x.shape, axes)
        _keeps(node, sizes[:2], x.shape[:2])
        target = (1, sizes[2]) if x.rank == 3 else (sizes[2], sizes[3])
        policy = cast(AspectRatio, _word(node, "keep_aspect_ratio_policy", "stretch", get_args(AspectRatio)))
        if policy == "stretch":
            return target, None
        if sorted(axes) != [2, 3]:
            raise UnsupportedError(f"{policy} over axes {axes}", reason="keep_aspect_ratio_policy over other axes")
        return resolve_size(size, target=target, policy=policy)
    scales = _by_axis(node, _scales(node), (1.0,) * x.rank, axes)
    _keeps(node, scales[:2], (1.0, 1.0))
    return resolve_size(size, scale=(1.0, scales[2]) if x.rank == 3 else (scales[2], scales[3]))


def _resampling(node: NodeReader) -> Resampling:
    if node.kind == "Upsample" or node.version < 11:
        # Before opset 11 positions are output over scale, and the nearest element is the one below.
        mode = _word(node, "mode", "nearest", ("nearest", "linear"))
        return Resampling(cast(ResizeMode, mode), "asymmetric", "floor")
    where = _word(
        node, "coordinate_transformation_mode", "half_pixel", (*get_args(Coordinates), "tf_half_pixel_for_nn")
    )
    if where == "tf_half_pixel_for_nn":
        raise UnsupportedError("coordinates tf_half_pixel_for_nn", reason="resize with tf_half_pixel_for_nn")
    return Resampling(
        cast(ResizeMode, _word(node, "mode", "nearest", get_args(ResizeMode))),
        cast(Coordinates, where),
        cast(Rounding, _word(node, "nearest_mode", "round_prefer_floor", get_args(Rounding))),
        bool(node.whole("exclude_outside", 0)),
        bool(node.whole("antialias", 0)),
        node.number("cubic_coeff_a", -0.75),
    )


def _word(node: NodeReader, name: str, default: str, words: tuple[str, ...]) -> str:
    value = node.text(name, default)
    if value not in words:
        raise ModelError(f"{name} is {value[:30]!r}", remedy=f"it is one of {', '.join(words)}")
    return value


def _scales(node: NodeReader) -> tuple[float, ...]:
    if node.kind == "Upsample" and node.version < 9:
        return node.numbers("scales") or ()
    index = 1 if node.kind == "Upsample" or node.version < 11 else 2
    return tuple(float(scale) for scale in node.weight(index).reshape(-1))


def _by_axis(node: NodeReader, values: tuple[T, ...], others: tuple[T, ...], axes: list[int]) -> list[T]:
    """The values for every axis; `others` are those of axes that are not named."""
    if len(values) != len(axes) or not all(0 < value < 2**31 for value in values):
        raise ModelError(f"{node.kind} has the sizes or scales {list(values[:8])} for {len(axes)} axes")
    result = list(others)
    for axis, value in zip(axes, values, strict=True):
        result[axis] = value
    return result


def _keeps(node: NodeReader, values: list[T], same: tuple[T, ...]) -> None:
    """Raise where batch or channels change their size."""
    if tuple(values) != tuple(same):
        raise UnsupportedError(f"{node.kind} over batch or channels", reason="resize over batch or channels")


def _region(node: NodeReader, x: Tensor, axes: list[int]) -> tuple[float, float, float, float]:
    """The part of the image that is shown: top, left, bottom, right."""
    if not node.has(1):
        raise ModelError("tf_crop_and_resize without a roi")
    roi = [float(value) for value in node.weight(1).reshape(-1)]
    if len(roi) != 2 * len(axes) or not all(abs(value) < 2**31 for value in roi):
        raise ModelError(f"roi is {roi[:8]} for {len(axes)} axes")
    begin, end = [0.0] * x.rank, [1.0] * x.rank
    for number, axis in enumerate(axes):
        begin[axis], end[axis] = roi[number], roi[len(axes) + number]
    if any(begin[:2]) or end[:2] != [1.0, 1.0]:
        raise UnsupportedError(f"{node.kind} over batch or channels", reason="resize over batch or channels")
    if x.rank == 3:
        return 0.0, begin[2], 1.0, end[2]
    return begin[2], begin[3], end[2], end[3]
