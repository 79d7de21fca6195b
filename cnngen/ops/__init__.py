"""The ops: one family a file, each saying what it means and nothing about how it is done."""

from cnngen.ops.activation import Activate, Activation, PRelu
from cnngen.ops.axes import Cut, Expand, Slice
from cnngen.ops.base import POINTWISE, Bound, Cost, Everything, Field, Table, Window
from cnngen.ops.base import Op as BaseOp
from cnngen.ops.constant import Constant
from cnngen.ops.conv2d import Conv2D
from cnngen.ops.conv2d_transpose import Conv2DTranspose
from cnngen.ops.dense import Dense
from cnngen.ops.elementwise import Add, Div, Elementwise, Maximum, Minimum, Mul, Power, Sub
from cnngen.ops.functions import FUNCTIONS
from cnngen.ops.interpolate import UpsampleBilinear
from cnngen.ops.matmul import MatMul
from cnngen.ops.normalize import LRN, BatchNorm
from cnngen.ops.pad import Pad
from cnngen.ops.pool2d import GlobalPool2D, Pool2D, PoolReduction
from cnngen.ops.rearrange import ChannelShuffle, DepthToSpace, SpaceToDepth
from cnngen.ops.reduce import ArgReduce, Reduce, Reduction
from cnngen.ops.resize import Resize, resized
from cnngen.ops.shape import Concat, Flatten, Identity, Movement, Reshape, Transpose, Upsample
from cnngen.ops.softmax import LogSoftmax, Softmax
from cnngen.ops.statistics_norm import GroupNorm, InstanceNorm, LayerNorm, StatisticsNorm

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
    | InstanceNorm
    | GroupNorm
    | LayerNorm
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
    | Resize
    | DepthToSpace
    | SpaceToDepth
    | ChannelShuffle
    | Pad
    | Reshape
    | Identity
    | Softmax
    | LogSoftmax
    | Reduce
    | ArgReduce
    | MatMul
    | Slice
    | Expand
    | Constant
)
"""Every op; a `match` over it ends in `assert_never`."""

__all__ = [
    "FUNCTIONS",
    "LRN",
    "POINTWISE",
    "Activate",
    "Activation",
    "Add",
    "ArgReduce",
    "BaseOp",
    "BatchNorm",
    "Bound",
    "ChannelShuffle",
    "Concat",
    "Constant",
    "Conv2D",
    "Conv2DTranspose",
    "Cost",
    "Cut",
    "Dense",
    "DepthToSpace",
    "Div",
    "Elementwise",
    "Everything",
    "Expand",
    "Field",
    "Flatten",
    "GlobalPool2D",
    "GroupNorm",
    "Identity",
    "InstanceNorm",
    "LayerNorm",
    "LogSoftmax",
    "MatMul",
    "Maximum",
    "Minimum",
    "Movement",
    "Mul",
    "Op",
    "PRelu",
    "Pad",
    "Pool2D",
    "PoolReduction",
    "Power",
    "Reduce",
    "Reduction",
    "Reshape",
    "Resize",
    "Slice",
    "Softmax",
    "SpaceToDepth",
    "StatisticsNorm",
    "Sub",
    "Table",
    "Transpose",
    "Upsample",
    "UpsampleBilinear",
    "Window",
    "resized",
]
