"""A graph as an ONNX model with the same weights, for other runtimes: witnesses in tests, contenders in races.

Images are channels-first in ONNX: every tensor of rank 4 is held transposed, and the model's inputs and outputs are
those of the graph, transposed by `to_onnx_layout`.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cnngen.ir import Array, Graph, Node
from cnngen.onnx_writer.axes import AxisEmitter
from cnngen.onnx_writer.emitter import TO_NCHW, TO_NHWC, onnx_pads
from cnngen.onnx_writer.windows import WindowEmitter
from cnngen.ops import (
    LRN,
    Activate,
    ArgReduce,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Constant,
    Conv2D,
    Conv2DTranspose,
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

OPSET = 20
"""The first with Gelu; 19 is the first with dilations in AveragePool."""


def onnx_model(graph: Graph, *, matrices: bool = False) -> onnx.ModelProto:
    """`graph` as a checked model with the same weights; with `matrices` images are resized by products with
    the matrices that our tables stand for. Raises what ONNX's checker raises."""
    twin = _Builder(graph, matrices)
    for node in graph.nodes:
        twin.node(node)
    model = helper.make_model(
        helper.make_graph(
            twin.nodes,
            graph.name,
            [_value(tensor.name, tensor.type.shape) for tensor in graph.inputs],
            # Without sizes: ONNX's own inference ignores that a window in the end padding is dropped.
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(graph.types[name].shape))
                for name in graph.outputs
            ],
            twin.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=9,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def to_onnx_layout(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(TO_NCHW)) if x.ndim == 4 else x


def from_onnx_layout(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(TO_NHWC)) if x.ndim == 4 else x


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    onnx_shape = tuple(shape[axis] for axis in TO_NCHW) if len(shape) == 4 else shape
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, onnx_shape)


class _Builder(AxisEmitter, WindowEmitter):
    def node(self, node: Node) -> None:
        op, inputs, out = node.op, list(node.inputs), node.name
        weights = node.weights
        match op:
            case Conv2D():
                linear = f"{out}/linear"
                operands = [inputs[0], self.constant(f"{out}/weight", weights["weight"].transpose(3, 2, 0, 1))]
                operands += [self.constant(f"{out}/bias", weights["bias"])] if op.use_bias else []
                self.emit(
                    "Conv",
                    operands,
                    linear,
                    kernel_shape=op.kernel,
                    strides=op.stride,
                    dilations=op.dilation,
                    pads=onnx_pads(op.padding),
                    group=op.groups,
                )
                if op.residual:
                    linear = self.emit("Add", [linear, inputs[1]], f"{out}/sum")
                self.activate(op.activation, linear, out)
            case Conv2DTranspose():
                linear = self.transposed(op, node, f"{out}/linear")
                if op.residual:
                    linear = self.emit("Add", [linear, inputs[1]], f"{out}/sum")
                self.activate(op.activation, linear, out)
            case Dense():
                operands = [inputs[0], self.constant(f"{out}/weight", weights["weight"])]
                operands += [self.constant(f"{out}/bias", weights["bias"])] if op.use_bias else []
                self.activate(op.activation, self.emit("Gemm", operands, f"{out}/linear"), out)
            case Activate():
                self.activate(op.activation, inputs[0], out)
            case Elementwise():
                kind = {"maximum": "Max", "minimum": "Min", "power": "Pow"}.get(op.kind, op.kind.capitalize())
                lay = self.aligned if len(self.graph.types[out].shape) == 4 else self.inside
                laid = {name: lay(name, out) for name in dict.fromkeys(inputs)}
                inputs = [laid[name] for name in inputs]
                result = inputs[0]
                for position, other in enumerate(inputs[1:]):
                    result = self.emit(kind, [result, other], f"{out}/result{position}")
                self.activate(op.activation, result, out)
            case PRelu():
                image = len(self.graph.types[inputs[0]].shape) == 4
                slopes = weights["alpha"].reshape(-1, 1, 1) if image else weights["alpha"]
                self.emit("PRelu", [inputs[0], self.constant(f"{out}/alpha", slopes)], out)
            case Pool2D():
                self.pool(op, node, inputs[0], out)
            case GlobalPool2D(reduction="lp"):
                self.emit("GlobalLpPool", inputs, out, p=op.order)
            case GlobalPool2D():
                self.emit("GlobalMaxPool" if op.reduction == "max" else "GlobalAveragePool", inputs, out)
            case BatchNorm():
                names = [
                    self.constant(f"{out}/{role}", weights[role]) for role in ("gamma", "beta", "mean", "variance")
                ]
                source = self.channels_second(inputs[0], out)
                normal = self.emit("BatchNormalization", [source, *names], f"{out}/linear", epsilon=op.epsilon)
                rank = len(self.graph.types[out].shape)
                self.activate(op.activation, self.channels_back(normal, rank, out), out)
            case InstanceNorm() | GroupNorm() | LayerNorm():
                self.activate(op.activation, self.statistics_norm(op, node), out)
            case LRN():
                self.lrn(op, inputs[0], out)
            case Concat():
                if len(self.graph.types[inputs[0]].shape) == 4:
                    self.emit("Concat", inputs, out, axis=(0, 2, 3, 1)[op.axis])
                else:
                    self.emit("Concat", inputs, out, axis=op.axis)
            case Slice() | Expand() | Reduce() | ArgReduce() | MatMul() | Constant():
                self.along_axes(op, node)
            case Transpose() | Reshape() if not self.of_images(op, inputs[0]):
                self.along_axes(op, node)
            case Flatten():
                source = inputs[0]
                if op.order == "hwc" and len(self.graph.types[source].shape) == 4:
                    source = self.emit("Transpose", [source], f"{out}/as_nhwc", perm=TO_NHWC)
                self.emit("Flatten", [source], out, axis=1)
            case Transpose():
                last = self.emit("Transpose", inputs, f"{out}/as_nhwc", perm=TO_NHWC)
                last = self.emit("Transpose", [last], f"{out}/moved", perm=op.axes)
                self.emit("Transpose", [last], out, perm=TO_NCHW)
            case Upsample():
                scales = self.constant(f"{out}/scales", np.array([1, 1, *op.scale]))
                # Asymmetric and floor: x[i // scale], whatever the scale.
                modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
                self.emit("Resize", [*inputs, "", scales], out, mode="nearest", **modes)
            case UpsampleBilinear():
                scales = self.constant(f"{out}/scales", np.array([1, 1, *op.scale]))
                self.emit(
                    "Resize", [*inputs, "", scales], out, mode="linear", coordinate_transformation_mode="half_pixel"
                )
            case Resize():
                self.resize(op, inputs[0], out)
            case DepthToSpace():
                self.emit("DepthToSpace", inputs, out, blocksize=op.block, mode=op.mode)
            case SpaceToDepth():
                source = self.emit(
                    "SpaceToDepth", inputs, f"{out}/dcr" if op.mode == "CRD" else out, blocksize=op.block
                )
                if op.mode == "CRD":
                    self.shuffle(source, out, op.block**2)
            case ChannelShuffle():
                self.shuffle(inputs[0], out, op.groups)
            case Pad():
                (top, left, bottom, right), (before, after) = onnx_pads(op.padding), op.channels
                sides = np.array([0, before, top, left, 0, after, bottom, right], np.int64)
                self.initializers.append(numpy_helper.from_array(sides, f"{out}/pads"))
                value = [self.constant(f"{out}/value", np.array(op.value))] if op.mode == "constant" else []
                self.emit("Pad", [*inputs, f"{out}/pads", *value], out, mode=op.mode)
            case Reshape():
                height, width, channels = op.shape
                target = (0, height, width, channels) if op.order == "hwc" else (0, channels, height, width)
                self.initializers.append(numpy_helper.from_array(np.array(target, np.int64), f"{out}/shape"))
                source = inputs[0]
                if op.order == "chw":
                    self.emit("Reshape", [source, f"{out}/shape"], out)
                else:
                    if len(self.graph.types[source].shape) == 4:
                        source = self.emit("Transpose", [source], f"{out}/as_nhwc", perm=TO_NHWC)
                    moved = self.emit("Reshape", [source, f"{out}/shape"], f"{out}/moved")
                    self.emit("Transpose", [moved], out, perm=TO_NCHW)
            case Identity():
                self.emit("Identity", inputs, out)
            case Softmax():
                self.emit("Softmax", inputs, out, axis=self.channel_axis(out))
            case LogSoftmax():
                self.emit("LogSoftmax", inputs, out, axis=self.channel_axis(out))
            case _:
                assert_never(op)


__all__ = ["from_onnx_layout", "onnx_model", "to_onnx_layout"]
