"""An op in a few words for tables: its kind and the parameters that are not the usual ones."""

from __future__ import annotations

from typing import assert_never

from cnngen.ir import TensorType
from cnngen.ops import (
    LRN,
    Activate,
    Activation,
    ArgReduce,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Constant,
    Conv2D,
    Conv2DTranspose,
    Cut,
    Dense,
    DepthToSpace,
    Elementwise,
    Expand,
    Flatten,
    GlobalPool2D,
    GroupNorm,
    Identity,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    MatMul,
    Op,
    Pad,
    Pool2D,
    PRelu,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    SpaceToDepth,
    Transpose,
    Upsample,
    UpsampleBilinear,
)
from cnngen.ops.resampling import Resampling


def describe(op: Op, inputs: tuple[TensorType, ...]) -> str:
    """Like ``conv2d 3x3 s2 p1 g32 +relu6``: kernel, stride, padding, dilation, groups, fused epilogue.

    Stride and dilation 1, padding 0 and one group are left out; padding is one number, or top,
    bottom, left and right where they differ.
    """
    match op:
        case Conv2D() | Conv2DTranspose():
            kind = "depthwise" if isinstance(op, Conv2D) and op.depthwise(inputs) else op.kind
            groups = f" g{op.groups}" if op.groups > 1 and kind != "depthwise" else ""
            residual = " +residual" if op.residual else ""
            added = op.output_padding if isinstance(op, Conv2DTranspose) else (0, 0)
            extra = f" out+{pair(added)}" if any(added) else ""
            return f"{kind} {window(op)}{extra}{groups}{residual}{epilogue(op.activation)}"
        case Pool2D():
            ceil = " ceil" if op.ceil_mode else ""
            count = " count_pad" if op.count_include_pad and any(op.padding) else ""
            order = f" L{op.order}" if op.reduction == "lp" else ""
            return f"{op.kind}{order} {window(op)}{ceil}{count}"
        case GlobalPool2D(reduction="lp"):
            return f"{op.kind} L{op.order}"
        case Dense():
            return f"{op.kind}{epilogue(op.activation)}"
        case Elementwise():
            broadcast = " broadcast" if len(set(inputs)) > 1 else ""
            return f"{op.kind}{broadcast}{epilogue(op.activation)}"
        case Activate():
            return activation(op.activation)
        case BatchNorm() | InstanceNorm():
            return f"{op.kind}{epilogue(op.activation)}"
        case GroupNorm():
            return f"{op.kind} g{op.groups}{epilogue(op.activation)}"
        case LayerNorm():
            return f"{op.kind} over {op.axes}{epilogue(op.activation)}"
        case LRN():
            return f"lrn over {op.size}"
        case Reshape():
            return f"reshape {op.order}"
        case Flatten():
            return f"flatten {op.order}"
        case Transpose():
            return f"transpose {' '.join(map(str, op.axes))}"
        case Reduce():
            return f"{op.kind} {','.join(map(str, op.axes))}"
        case ArgReduce():
            return f"{op.kind} {op.axis}"
        case Expand():
            return f"expand to {'x'.join(map(str, op.shape))}"
        case Slice():
            return f"slice {', '.join(cut_text(cut) for cut in op.cuts)}"
        case Concat() if op.axis != -1:
            return f"concat axis {op.axis}"
        case Pad():
            what = "" if op.kind == "crop" else f" {op.mode}" if op.mode != "constant" else f" {op.value:g}"
            channels = f" c{','.join(map(str, op.channels))}" if any(op.channels) else ""
            return f"{op.kind}{what} {','.join(map(str, op.padding))}{channels}"
        case Upsample() | UpsampleBilinear():
            return f"{op.kind} {pair(op.scale)}"
        case Resize():
            return f"resize {resampling(op.how)} {'x'.join(map(str, op.size))}"
        case DepthToSpace() | SpaceToDepth():
            return f"{op.kind} {op.block} {op.mode}"
        case ChannelShuffle():
            return f"{op.kind} g{op.groups}"
        case GlobalPool2D() | PRelu() | Concat() | Identity() | Softmax() | LogSoftmax() | Constant() | MatMul():
            return op.kind
        case _:
            assert_never(op)


def resampling(how: Resampling) -> str:
    """Mode and coordinates, with what is not the usual."""
    rounding = f" {how.rounding}" if how.mode == "nearest" else ""
    extras = f"{' exclude_outside' if how.exclude_outside else ''}{' antialias' if how.antialias else ''}"
    return f"{how.mode} {how.coordinates}{rounding}{extras}"


def cut_text(cut: Cut) -> str:
    """Axis, and first and last element: ``3: 0..7 by 2``."""
    last = cut.start + cut.step * (cut.count - 1)
    return f"{cut.axis}: {cut.start}..{last}" + (f" by {cut.step}" if cut.step != 1 else "")


def window(op: Conv2D | Conv2DTranspose | Pool2D) -> str:
    """Kernel, stride, padding and dilation."""
    words = ["x".join(map(str, op.kernel))]
    if op.stride != (1, 1):
        words.append("s" + pair(op.stride))
    if any(op.padding):
        words.append("p" + (str(op.padding[0]) if len(set(op.padding)) == 1 else ",".join(map(str, op.padding))))
    if op.dilation != (1, 1):
        words.append("d" + pair(op.dilation))
    return " ".join(words)


def pair(values: tuple[int, int]) -> str:
    """One number where both are the same, ``2x1`` where not."""
    return str(values[0]) if values[0] == values[1] else "x".join(map(str, values))


def epilogue(function: Activation | None) -> str:
    """A fused activation, or nothing."""
    return f" +{activation(function)}" if function else ""


def activation(function: Activation) -> str:
    """The function with those of its parameters that it takes."""
    name = function.function.replace("_tanh", " tanh")
    return " ".join([name, *(f"{parameter:g}" for parameter in function.parameters)])
