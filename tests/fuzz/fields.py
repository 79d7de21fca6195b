"""What each layer kind is drawn with: fields that are valid for its input by construction.

`FIELDS` maps a kind of `LAYERS` to a function that draws its fields. Simple values come first in every choice,
because Hypothesis shrinks towards the first. The fields of activation functions are drawn from their models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from hypothesis import strategies as st

from cnngen.frontends.activations import ACTIVATIONS
from cnngen.frontends.elementary import ELEMENTARY
from cnngen.ir import TensorType
from cnngen.ops.conv2d import same_padding
from cnngen.ops.resampling import AspectRatio, Coordinates, ResizeMode, Rounding
from tests.fuzz.axis_fields import AXIS_FIELDS, divisors
from tests.fuzz.choices import CHANNELS, MAX_ELEMENTS, MAX_KERNEL, MAX_MACS, Draw, Fields, one_in, optional, pick


def pair(draw: Draw, height: int, width: int) -> int | list[int]:
    """Two numbers as one may write them: equal ones also as one number."""
    return height if height == width and not one_in(draw, 4) else [height, width]


# Windows


@dataclass(frozen=True)
class Axis:
    """A window along one axis."""

    kernel: int
    stride: int
    dilation: int
    begin: int = 0
    end: int = 0

    @property
    def reach(self) -> int:
        return self.dilation * (self.kernel - 1) + 1


class Window:
    """A window over an image of `size` (height, width): `fields` are those of the layer.

    For pooling, padding stays below the reach of the window and the stride is by default the kernel.
    """

    def __init__(self, draw: Draw, size: tuple[int, int], *, pooling: bool) -> None:
        self.pooling = pooling
        self.padding = pick(
            draw, None, "4 numbers", "same", "same_lower", "1 number", "2 numbers", "valid", "same_upper"
        )
        first = self._axis(draw, size[0])
        fits = first.reach <= size[1] + first.begin + first.end
        second = first if fits and draw(st.booleans()) else self._axis(draw, size[1], first)
        self.kernel = (first.kernel, second.kernel)
        self.fields: Fields = {"kernel": pair(draw, *self.kernel)}
        stride, dilation = (first.stride, second.stride), (first.dilation, second.dilation)
        if stride != (self.kernel if pooling else (1, 1)) or one_in(draw, 8):
            self.fields["stride"] = pair(draw, *stride)
        if dilation != (1, 1) or one_in(draw, 8):
            self.fields["dilation"] = pair(draw, *dilation)
        if self.padding is not None:
            numbers = {
                "1 number": first.begin,
                "2 numbers": [first.begin, second.begin],
                "4 numbers": [first.begin, first.end, second.begin, second.end],
            }
            self.fields["padding"] = numbers.get(self.padding, self.padding)

    def _axis(self, draw: Draw, size: int, other: Axis | None = None) -> Axis:
        """A window along an axis of `size` that fits; `other` is that of the other axis."""
        begin = end = 0
        if self.padding is not None and "number" in self.padding:
            begin = draw(st.integers(0, 3))
            end = draw(st.integers(0, 3)) if self.padding == "4 numbers" else begin
            if self.padding == "1 number" and other is not None:
                begin = end = other.begin
        # What `same` adds makes room for any window.
        room = size + 2 if self.padding is not None and "same" in self.padding else size + begin + end
        dilation = pick(draw, 1, 1, 1, 2, 3)
        if one_in(draw, 6) and room <= 12:
            kernel, dilation = size if self.pooling else room, 1
        else:
            kernel = draw(st.integers(1, min((room - 1) // dilation + 1, MAX_KERNEL)))
        if self.pooling and dilation * (kernel - 1) < max(begin, end):  # a window would see padding only
            kernel, dilation = max(begin, end) + 1, 1
        stride = pick(draw, 1, 1, 2, 3, kernel, kernel + 1)
        return Axis(kernel, stride, dilation, begin, end)


def sizes(fields: Fields, x: TensorType, *, stride_default: bool = False) -> tuple[int, int]:
    """Output height and width of the window in `fields` without ceil_mode: to keep tensors small."""
    kernel, dilation = both(fields["kernel"]), both(fields.get("dilation", 1))
    stride = both(fields.get("stride", kernel if stride_default else 1))
    top, bottom, left, right = sides(fields.get("padding", "valid"), x.shape[1:3], kernel, stride, dilation)
    height, width = (
        (size + pads - spread * (taps - 1) - 1) // step + 1
        for size, pads, taps, spread, step in zip(
            x.shape[1:3], (top + bottom, left + right), kernel, dilation, stride, strict=True
        )
    )
    return height, width


def both(value: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """A pair from what a spec may hold for it."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def sides(
    padding: Any, size: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Padding in numbers."""
    if padding == "valid":
        return (0, 0, 0, 0)
    if isinstance(padding, str):
        axes = (
            same_padding(*values, padding == "same_lower")
            for values in zip(size, kernel, stride, dilation, strict=True)
        )
        (top, bottom), (left, right) = axes
        return (top, bottom, left, right)
    values = [padding] * 4 if isinstance(padding, int) else list(padding)
    return (values[0], values[0], values[1], values[1]) if len(values) == 2 else tuple(values)  # type: ignore[return-value]


# Parameters of functions

NUMBERS: dict[tuple[str, str], tuple[float, ...]] = {
    ("clip", "minimum"): (0.0, -0.5, -1.0, 0.1),
    ("clip", "maximum"): (1.0, 0.75, 6.0, 0.1),
    ("hard_sigmoid", "alpha"): (0.2, 0.25, -0.5),
    ("thresholded_relu", "alpha"): (1.0, 0.25, 0.0, -0.5),
    ("celu", "alpha"): (1.0, 0.25, 3.0),
    ("swish", "beta"): (1.0, 1.702, 0.5, -0.25),
    ("batch_norm", "epsilon"): (1e-5, 1e-3, 0.5, 0.0),
    # Without an epsilon, one pixel gives 0 / 0; with little, what is left of nothing is enlarged.
    ("instance_norm", "epsilon"): (1e-2, 1e-1, 0.5, 1.0),
    ("lrn", "alpha"): (1e-4, 0.5, 0.0, 2.0),
    ("lrn", "beta"): (0.75, 0.5, 1.0, 0.6, 0.0, -0.5),
    ("lrn", "bias"): (1.0, 2.0, 0.3),
}
ANY_NUMBER = (0.1, 0.25, 1.0, 0.0, -0.3, 1.5)


def number(draw: Draw, kind: str, name: str) -> float:
    """A value of the field `name` of `kind`: often a round one, sometimes any with few digits."""
    values = NUMBERS.get((kind, name), ANY_NUMBER)
    if one_in(draw, 4):
        return draw(st.integers(math.ceil(100 * min(values)), math.floor(100 * max(values)))) / 100
    return float(draw(st.sampled_from(values)))


def function_fields(draw: Draw, kind: str) -> Fields:
    """Parameters of the activation function `kind`: every field of its model."""
    fields: Fields = {}
    for name, info in ACTIVATIONS[kind].model_fields.items():
        choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
        if one_in(draw, 2):
            fields[name] = pick(draw, *choices) if choices else number(draw, kind, name)
    if kind == "clip":
        if fields.get("minimum", 0.0) > fields.get("maximum", 1.0):
            fields = {"minimum": fields.get("maximum", 1.0), "maximum": fields.get("minimum", 0.0)}
        if fields and one_in(draw, 3):
            fields[pick(draw, *fields)] = None  # no limit on this side
    return fields


EXPONENTS = (2, 3, 0.5, -0.5, -1, 0, 1, 1.5, -2, 17)


def elementary_fields(draw: Draw, kind: str) -> Fields:
    """The exponent of a power; the other elementary functions have no fields."""
    return {"exponent": pick(draw, *EXPONENTS)} if kind == "pow" else {}


def activation(draw: Draw) -> Any:
    """A value of the field `activation`."""
    kind = pick(draw, "relu", *(name for name in ACTIVATIONS if name != "relu"), "none", None)
    if kind in (None, "none"):
        return kind
    fields = function_fields(draw, kind)
    return {kind: fields} if fields or one_in(draw, 6) else kind


# Layers


def _convolved(draw: Draw, fields: Fields, odds: int = 3) -> Fields:
    optional(draw, fields, "bias", lambda: draw(st.booleans()))
    optional(draw, fields, "activation", lambda: activation(draw), odds=odds)
    return fields


def conv2d(draw: Draw, x: TensorType) -> Fields:
    _, height, width, channels = x.shape
    window = Window(draw, (height, width), pooling=False)
    groups = pick(draw, 1, 1, *(count for count in range(2, channels + 1) if channels % count == 0))
    rows, columns = sizes(window.fields, x)
    taps = math.prod(window.kernel) * channels // groups
    most = min(MAX_ELEMENTS // (rows * columns), MAX_MACS // (rows * columns * taps))
    filters = pick(
        draw, *([count for count in (groups, *CHANNELS) if count <= most and count % groups == 0] or [groups])
    )
    fields = {"filters": filters, **window.fields}
    if groups > 1 or one_in(draw, 8):
        fields["groups"] = groups
    return _convolved(draw, fields)


def matching_conv2d(draw: Draw, x: TensorType, channels: int) -> Fields:
    """A convolution that keeps the size and has so many filters: one side of a residual addition."""
    kernel = pair(draw, draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    fields: Fields = {"filters": channels, "kernel": kernel, "padding": pick(draw, "same", "same_lower")}
    return _convolved(draw, fields, 4)


def depthwise_conv2d(draw: Draw, x: TensorType) -> Fields:
    window = Window(draw, x.shape[1:3], pooling=False)
    rows, columns = sizes(window.fields, x)
    fields = dict(window.fields)
    most = max(MAX_ELEMENTS // (rows * columns * x.shape[3]), 1)
    optional(draw, fields, "multiplier", lambda: draw(st.integers(1, min(most, 3))))
    return _convolved(draw, fields)


def conv2d_transpose(draw: Draw, x: TensorType) -> Fields:
    _, height, width, channels = x.shape
    form = pick(draw, None, "4 numbers", "same", "same_lower", "1 number", "2 numbers", "valid", "same_upper")
    kernel, stride, dilation, extra, crops = [], [], [], [], []
    for size in (height, width):
        taps, spread = draw(st.integers(1, 4)), pick(draw, 1, 1, 2)
        step = draw(st.integers(1, max(min(3, 24 // size), 1)))
        whole = (size - 1) * step + spread * (taps - 1) + 1
        begin = draw(st.integers(0, min((whole - 1) // 2, 3))) if form and "number" in form else 0
        if form == "1 number" and crops:
            begin = min(crops[0][0], (whole - 1) // 2)
            crops[0] = (begin, begin)
        end = draw(st.integers(0, min(whole - 1 - begin, 3))) if form == "4 numbers" else begin
        kernel, stride, dilation = [*kernel, taps], [*stride, step], [*dilation, spread]
        crops.append((begin, end))
        extra.append(draw(st.integers(0, max(step, spread) - 1)) if one_in(draw, 2) else 0)
    fields: Fields = {"kernel": pair(draw, *kernel)}
    for name, values in (("stride", stride), ("dilation", dilation)):
        if values != [1, 1] or one_in(draw, 8):
            fields[name] = pair(draw, *values)
    (top, bottom), (left, right) = crops
    numbers = {"1 number": top, "2 numbers": [top, left], "4 numbers": [top, bottom, left, right]}
    if form is not None:
        fields["padding"] = numbers.get(form, form)
    if (form is None or "same" not in form) and (any(extra) or one_in(draw, 8)):
        fields["output_padding"] = pair(draw, *extra)
    groups = pick(draw, 1, 1, *(count for count in range(2, channels + 1) if channels % count == 0))
    pixels = math.prod((size * step + spread * taps) for size, step, spread, taps in zip(
        (height, width), stride, dilation, kernel, strict=True))  # fmt: skip
    most = min(MAX_ELEMENTS // pixels, MAX_MACS // (height * width * math.prod(kernel) * channels // groups))
    fields["filters"] = pick(
        draw, *([count for count in (groups, *CHANNELS) if count <= most and count % groups == 0] or [groups])
    )
    if groups > 1 or one_in(draw, 8):
        fields["groups"] = groups
    return _convolved(draw, fields)


def pool(draw: Draw, x: TensorType) -> Fields:
    fields = Window(draw, x.shape[1:3], pooling=True).fields
    optional(draw, fields, "ceil_mode", lambda: draw(st.booleans()), odds=3)
    if not _every_window_sees_a_pixel(fields, x):
        del fields["dilation"]
        fields["padding"] = "same"
    return fields


def _every_window_sees_a_pixel(fields: Fields, x: TensorType) -> bool:
    """Whether no element of a dilated window's output comes from padding alone, which has no maximum and no mean."""
    kernel, dilation = both(fields["kernel"]), both(fields.get("dilation", 1))
    stride = both(fields.get("stride", kernel))
    begins = sides(fields.get("padding", "valid"), x.shape[1:3], kernel, stride, dilation)[::2]
    counts = sizes(fields, x, stride_default=True)
    return all(
        any(0 <= i * step - begin + tap * spread < size for tap in range(taps))
        for size, begin, step, taps, spread, count in zip(
            x.shape[1:3], begins, stride, kernel, dilation, counts, strict=True
        )
        for i in range(count + bool(fields.get("ceil_mode")))
        if i * step < size + begin
    )


def avg_pool(draw: Draw, x: TensorType) -> Fields:
    fields = pool(draw, x)
    optional(draw, fields, "count_include_pad", lambda: draw(st.booleans()))
    return fields


def lp_pool(draw: Draw, x: TensorType) -> Fields:
    return {**pool(draw, x), **global_lp_pool(draw, x)}


def global_lp_pool(draw: Draw, x: TensorType) -> Fields:
    fields: Fields = {}
    optional(draw, fields, "p", lambda: pick(draw, 2, 1, 3, 4))
    return fields


def upsample(draw: Draw, x: TensorType) -> Fields:
    most = max(MAX_ELEMENTS // math.prod(x.shape[1:]), 1)
    height = draw(st.integers(1, min(most, 3)))
    fields: Fields = {"scale": pair(draw, height, draw(st.integers(1, min(max(most // height, 1), 3))))}
    optional(draw, fields, "mode", lambda: pick(draw, "nearest", "bilinear"))
    return fields


def resize(draw: Draw, x: TensorType) -> Fields:
    _, height, width, channels = x.shape
    most = max(MAX_ELEMENTS // channels, 1)
    rows = draw(st.integers(1, min(2 * height + 3, most)))
    columns = draw(st.integers(1, max(min(2 * width + 3, most // rows), 1)))
    # A quarter more than enough: the result has so many rows and columns, and a part of one is left out.
    scales = [round((count + 0.25) / size, 4) for count, size in ((rows, height), (columns, width))]
    fits = [int(size * scale) for size, scale in zip((height, width), scales, strict=True)] == [rows, columns]
    if fits and one_in(draw, 3):
        fields: Fields = {"scale": scales[0] if scales[0] == scales[1] else scales}
    else:
        fields = {"size": pair(draw, rows, columns)}
        policy = pick(draw, None, *get_args(AspectRatio))
        scale = {"not_larger": min, "not_smaller": max}.get(policy, min)(rows / height, columns / width)
        sizes = [int(size * scale + 0.5) for size in (height, width)]
        if policy == "stretch" or (policy and min(sizes) >= 1 and math.prod(sizes) <= most):
            fields["keep_aspect_ratio"] = policy
    mode = pick(draw, None, *get_args(ResizeMode))
    optional_fields = {
        "mode": mode,
        "rounding": pick(draw, None, *get_args(Rounding)),
        "coordinates": pick(draw, None, *get_args(Coordinates), "tf_crop_and_resize"),
        "cubic_coeff_a": pick(draw, None, -0.75, -0.5),
        "exclude_outside": pick(draw, None, False, True),
        "antialias": pick(draw, None, False, *([True] if mode in ("linear", "cubic") else [])),
    }
    fields |= {name: value for name, value in optional_fields.items() if value is not None}
    if fields.get("coordinates") == "tf_crop_and_resize":
        fields["roi"] = [draw(st.integers(-2, 6)) / 4 for _ in range(4)]
        optional(draw, fields, "extrapolation_value", lambda: number(draw, "resize", "extrapolation_value"))
    return fields


def depth_to_space(draw: Draw, x: TensorType) -> Fields:
    fields: Fields = {"block": pick(draw, *(block for block in (1, 2, 3, 4) if x.shape[3] % block**2 == 0))}
    optional(draw, fields, "mode", lambda: pick(draw, "DCR", "CRD"))
    return fields


def space_to_depth(draw: Draw, x: TensorType) -> Fields:
    fits = [block for block in (1, 2, 3, 4) if x.shape[1] % block == 0 and x.shape[2] % block == 0]
    return {"block": pick(draw, *fits), "mode": pick(draw, "DCR", "CRD")}


def channel_shuffle(draw: Draw, x: TensorType) -> Fields:
    return {"groups": pick(draw, *divisors(x.shape[3]))}


def crop(draw: Draw, x: TensorType) -> Fields:
    _, height, width, _ = x.shape
    top, left = draw(st.integers(0, min(height - 1, 2))), draw(st.integers(0, min(width - 1, 2)))
    bottom, right = draw(st.integers(0, min(height - 1 - top, 2))), draw(st.integers(0, min(width - 1 - left, 2)))
    return {"crop": [top, bottom, left, right]}


def pad(draw: Draw, x: TensorType) -> Fields:
    _, height, width, channels = x.shape
    fields: Fields = {}
    mode = pick(draw, None, "constant", "reflect", "edge", "wrap", "wrap")
    if mode is not None:
        fields["mode"] = mode
    reflect = fields.get("mode") == "reflect"
    # A mirrored border has to lie in the image.
    rows, columns = (min(size - 1, 3) if reflect else 3 for size in (height, width))
    if fields.get("mode", "constant") == "constant":
        optional(draw, fields, "channels", lambda: [draw(st.integers(-((channels - 1) // 2), 2)) for _ in range(2)])
    if not reflect and one_in(draw, 6):
        sides = [draw(st.integers(-((size - 1) // 2), 2)) for size in (height, height, width, width)]
        return {"padding": sides, **fields}
    top, left = draw(st.integers(0, rows)), draw(st.integers(0, columns))
    form = draw(st.integers(0, 2))
    if form == 0:
        fields["padding"] = min(top, left)
    elif form == 1:
        fields["padding"] = [top, left]
    else:
        fields["padding"] = [top, draw(st.integers(0, rows)), left, draw(st.integers(0, columns))]
    optional(draw, fields, "value", lambda: number(draw, "pad", "value"), odds=3)
    return fields


def dense(draw: Draw, x: TensorType) -> Fields:
    fields: Fields = {"units": pick(draw, *(count for count in CHANNELS if count * x.shape[1] <= 8000 or count == 1))}
    return _convolved(draw, fields)


def batch_norm(draw: Draw, x: TensorType) -> Fields:
    fields: Fields = {}
    optional(draw, fields, "epsilon", lambda: number(draw, "batch_norm", "epsilon"))
    optional(draw, fields, "activation", lambda: activation(draw), odds=3)
    return fields


def statistics_norm(draw: Draw, x: TensorType) -> Fields:
    fields: Fields = {}
    optional(draw, fields, "epsilon", lambda: number(draw, "instance_norm", "epsilon"))
    for name in ("scale", "center"):
        optional(draw, fields, name, lambda: draw(st.booleans()))
    optional(draw, fields, "activation", lambda: activation(draw), odds=3)
    return fields


def group_norm(draw: Draw, x: TensorType) -> Fields:
    return {"groups": pick(draw, *divisors(x.shape[-1])), **statistics_norm(draw, x)}


def layer_norm(draw: Draw, x: TensorType) -> Fields:
    fields = statistics_norm(draw, x)
    optional(draw, fields, "axes", lambda: pick(draw, "channels", "image"))
    return fields


def lrn(draw: Draw, x: TensorType) -> Fields:
    fields: Fields = {}
    optional(draw, fields, "size", lambda: draw(st.integers(1, 9)))
    for name in ("alpha", "beta", "bias"):
        optional(draw, fields, name, lambda name=name: number(draw, "lrn", name))
    return fields


def elementwise(draw: Draw, x: TensorType) -> Fields:
    fields: Fields = {}
    optional(draw, fields, "activation", lambda: activation(draw))
    return fields


def flatten(draw: Draw, x: TensorType) -> Fields:
    fields: Fields = {}
    optional(draw, fields, "order", lambda: pick(draw, "hwc", "chw"), odds=3)
    return fields


def reshape(draw: Draw, x: TensorType) -> Fields:
    elements = math.prod(x.shape[1:])
    sizes = []
    for _ in range(pick(draw, 2, 2, 0, 1, 3)):
        sizes.append(pick(draw, *divisors(elements // math.prod(sizes))))
    sizes.append(elements // math.prod(sizes))
    if one_in(draw, 5):
        return {"shape": [-1, *sizes], "batch": False}
    if one_in(draw, 3):
        sizes[draw(st.integers(0, len(sizes) - 1))] = -1
    fields: Fields = {"shape": sizes, **flatten(draw, x)}
    optional(draw, fields, "batch", lambda: True, odds=6)
    return fields


def dropout(draw: Draw, x: TensorType) -> Fields:
    fields: Fields = {}
    optional(draw, fields, "rate", lambda: pick(draw, 0.5, 0.0, 0.2))
    return fields


def nothing(draw: Draw, x: TensorType) -> Fields:
    return {}


FIELDS: dict[str, Callable[[Draw, TensorType], Fields]] = {
    "conv2d": conv2d,
    "max_pool": pool,
    "depthwise_conv2d": depthwise_conv2d,
    "avg_pool": avg_pool,
    "conv2d_transpose": conv2d_transpose,
    "dense": dense,
    "flatten": flatten,
    "reshape": reshape,
    "batch_norm": batch_norm,
    "instance_norm": statistics_norm,
    "group_norm": group_norm,
    "layer_norm": layer_norm,
    "upsample": upsample,
    "pad": pad,
    "resize": resize,
    "depth_to_space": depth_to_space,
    "space_to_depth": space_to_depth,
    "channel_shuffle": channel_shuffle,
    "crop": crop,
    "lrn": lrn,
    "softmax": nothing,
    "log_softmax": nothing,
    "lp_pool": lp_pool,
    "global_lp_pool": global_lp_pool,
    "global_avg_pool": nothing,
    "global_max_pool": nothing,
    "dropout": dropout,
    "prelu": nothing,
    **dict.fromkeys(("add", "mul", "maximum", "minimum", "sub", "div", "power"), elementwise),
    **AXIS_FIELDS,
    **{kind: (lambda draw, x, kind=kind: function_fields(draw, kind)) for kind in ACTIVATIONS},
    **{kind: (lambda draw, x, kind=kind: elementary_fields(draw, kind)) for kind in ELEMENTARY},
}
"""How the fields of each kind are drawn for a first input of this type."""

IMAGES_ONLY = frozenset(
    {
        "conv2d",
        "conv2d_transpose",
        "depthwise_conv2d",
        "max_pool",
        "avg_pool",
        "lp_pool",
        "global_lp_pool",
        "global_avg_pool",
        "global_max_pool",
        "upsample",
        "resize",
        "depth_to_space",
        "space_to_depth",
        "channel_shuffle",
        "pad",
        "crop",
        "lrn",
        "instance_norm",
    }
)
FEATURES_ONLY = frozenset({"dense"})
