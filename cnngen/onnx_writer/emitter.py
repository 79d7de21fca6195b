"""What the writers of all ops share: layouts, nodes, constants, activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cnngen.ir import Array, Graph
from cnngen.ops import Activation, Reshape, Transpose

OPSET = 20
"""The first with Gelu; 19 is the first with dilations in AveragePool."""
TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)


class Emitter:
    """Gathers the nodes and constants of an ONNX graph, with what all ops need."""

    def __init__(self, graph: Graph, matrices: bool) -> None:
        self.graph = graph
        self.matrices = matrices
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def emit(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, array: Array) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(array, np.float32, order="C"), name))
        return name

    def integers(self, name: str, values: tuple[int, ...] | list[int]) -> str:
        self.initializers.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def inside(self, name: str, out: str) -> str:
        """A tensor in the layout of cnngen: its axes are those that ops count."""
        if len(self.graph.types[name].shape) != 4:
            return name
        return self.emit("Transpose", [name], f"{out}/{name}/as_nhwc", perm=TO_NHWC)

    def channel_axis(self, name: str) -> int:
        """Where the channels of a tensor are: second in an image, else last."""
        return 1 if len(self.graph.types[name].shape) == 4 else -1

    def channels_second(self, name: str, out: str) -> str:
        """A tensor with its channels on axis 1, where ONNX's normalisations look for them."""
        rank = len(self.graph.types[name].shape)
        if rank in (2, 4):
            return name
        return self.emit("Transpose", [name], f"{out}/channels_second", perm=(0, rank - 1, *range(1, rank - 1)))

    def channels_back(self, name: str, rank: int, out: str) -> str:
        """A tensor of so many axes with its channels from axis 1 to where they belong."""
        if rank in (2, 4):
            return name
        return self.emit("Transpose", [name], f"{out}/channels_back", perm=(0, *range(2, rank), 1))

    def aligned(self, name: str, out: str) -> str:
        """A tensor that arithmetic aligns with the last axes of an image, as an image."""
        shape = self.graph.types[name].shape
        if len(shape) == 4:
            return name
        sizes = self.integers(f"{out}/{name}/shape", [1] * (4 - len(shape)) + list(shape))
        image = self.emit("Reshape", [name, sizes], f"{out}/{name}/image")
        return self.emit("Transpose", [image], f"{out}/{name}/nchw", perm=TO_NCHW)

    def of_images(self, op: Transpose | Reshape, source: str) -> bool:
        """Whether it makes an image, or changes the layout of one."""
        if isinstance(op, Reshape):
            return len(op.shape) == 3 and not op.whole
        return len(self.graph.types[source].shape) == 4

    def activate(self, activation: Activation | None, x: str, out: str) -> None:
        if activation is None:
            self.emit("Identity", [x], out)
            return
        match activation.function:
            case "relu6" | "clip":
                low, high = (0.0, 6.0) if activation.function == "relu6" else (activation.alpha, activation.beta)
                limits = [
                    self.constant(f"{out}/{name}", np.array(limit)) if np.isfinite(limit) else ""
                    for name, limit in (("low", low), ("high", high))
                ]
                self.emit("Clip", [x, *limits], out)
            case "thresholded_relu":
                self.emit("ThresholdedRelu", [x], out, alpha=activation.alpha)
            case "celu":
                self.emit("Celu", [x], out, alpha=activation.alpha)
            case "swish":
                beta = self.constant(f"{out}/swish_beta", np.array(activation.alpha))
                gate = self.emit("Sigmoid", [self.emit("Mul", [x, beta], f"{out}/times_beta")], f"{out}/gate")
                self.emit("Mul", [x, gate], out)
            case "pow" | "square":
                exponent = 2.0 if activation.function == "square" else activation.alpha
                self.emit("Pow", [x, self.constant(f"{out}/exponent", np.array(exponent))], out)
            case "leaky_relu":
                self.emit("LeakyRelu", [x], out, alpha=activation.alpha)
            case "hard_sigmoid":
                self.emit("HardSigmoid", [x], out, alpha=activation.alpha, beta=activation.beta)
            case "silu":
                self.emit("Mul", [x, self.emit("Sigmoid", [x], f"{out}/sigmoid")], out)
            case "elu":
                self.emit("Elu", [x], out, alpha=activation.alpha)
            case "gelu_tanh":
                self.emit("Gelu", [x], out, approximate="tanh")
            case function:
                names = {
                    "relu": "Relu",
                    "sigmoid": "Sigmoid",
                    "tanh": "Tanh",
                    "hard_swish": "HardSwish",
                    "selu": "Selu",
                    "gelu": "Gelu",
                    "mish": "Mish",
                    "softplus": "Softplus",
                    "softsign": "Softsign",
                }
                self.emit(names.get(function, function.capitalize()), [x], out)


def onnx_pads(padding: tuple[int, int, int, int]) -> list[int]:
    """(top, bottom, left, right) in ONNX's order: all begins, then all ends."""
    top, bottom, left, right = padding
    return [top, left, bottom, right]


def transposed_kernel(weight: Array, groups: int) -> Array:
    """(kh, kw, in / groups, filters) as ONNX and PyTorch store it: (in, filters / groups, kh, kw)."""
    kh, kw, inputs, filters = weight.shape
    grouped = weight.reshape(kh, kw, inputs, groups, filters // groups)
    return grouped.transpose(3, 2, 4, 0, 1).reshape(groups * inputs, filters // groups, kh, kw)
