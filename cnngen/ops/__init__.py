"""The ops: one family a file, each saying what it means and nothing about how it is done."""

from cnngen.ops.activation import Activate, Activation, PRelu
from cnngen.ops.base import POINTWISE, Bound, Cost, Everything, Field, Window
from cnngen.ops.base import Op as BaseOp
from cnngen.ops.conv2d import Conv2D
from cnngen.ops.conv2d_transpose import Conv2DTranspose
from cnngen.ops.dense import Dense
from cnngen.ops.elementwise import Add, Div, Elementwise, Maximum, Minimum, Mul, Power, Sub
from cnngen.ops.functions import FUNCTIONS
from cnngen.ops.interpolate import UpsampleBilinear
from cnngen.ops.normalize import LRN, BatchNorm
from cnngen.ops.pad import Pad
from cnngen.ops.pool2d import GlobalPool2D, Pool2D
from cnngen.ops.shape import Concat, Flatten, Identity, Movement, Reshape, Transpose, Upsample
from cnngen.ops.softmax import LogSoftmax, Softmax

Op = (
    Conv2D
    | Conv2DTranspose
    | Pool2D
    | GlobalPool2D
    | Dense
    | Activate
    | PRelu
    | BatchNorm
    | LRN
    | Add
    | Sub
    | Mul
    | Div
    | Power
    | Maximum
    | Minimum
    | Concat
    | Flatten
    | Transpose
    | Upsample
    | UpsampleBilinear
    | Pad
    | Reshape
    | Identity
    | Softmax
    | LogSoftmax
)
"""Every op; a `match` over it ends in `assert_never`."""

__all__ = [
    "FUNCTIONS",
    "LRN",
    "POINTWISE",
    "Activate",
    "Activation",
    "Add",
    "BaseOp",
    "BatchNorm",
    "Bound",
    "Concat",
    "Conv2D",
    "Conv2DTranspose",
    "Cost",
    "Dense",
    "Div",
    "Elementwise",
    "Everything",
    "Field",
    "Flatten",
    "GlobalPool2D",
    "Identity",
    "LogSoftmax",
    "Maximum",
    "Minimum",
    "Movement",
    "Mul",
    "Op",
    "PRelu",
    "Pad",
    "Pool2D",
    "Power",
    "Reshape",
    "Softmax",
    "Sub",
    "Transpose",
    "Upsample",
    "UpsampleBilinear",
    "Window",
]
