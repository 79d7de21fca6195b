"""Slices, reductions, products of matrices and normalisations in ONNX."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, numpy_helper

from cnngen.ir import Node
from cnngen.onnx_writer.emitter import TO_NCHW, TO_NHWC, Emitter
from cnngen.ops import (
    ArgReduce,
    Constant,
    Expand,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    MatMul,
    Op,
    Reduce,
    Reshape,
    Slice,
    Transpose,
)


class AxisEmitter(Emitter):
    """Ops on any axes, and normalisations by statistics."""

    def along_axes(self, op: Op, node: Node) -> None:
        """An op on any axes, between transpositions to the layout of cnngen and back."""
        out, shape = node.name, self.graph.types[node.name].shape
        inputs = [self.inside(name, out) for name in node.inputs]
        result = out if len(shape) != 4 else f"{out}/as_nhwc"
        match op:
            case Slice():
                last = [cut.start + cut.step * cut.count for cut in op.cuts]
                numbers = (
                    [cut.start for cut in op.cuts],
                    [-(10**6) if end < 0 else end for end in last],
                    [cut.axis for cut in op.cuts],
                    [cut.step for cut in op.cuts],
                )
                operands = [self.integers(f"{out}/{role}", values) for role, values in enumerate(numbers)]
                self.emit("Slice", [*inputs, *operands], result)
            case Expand():
                self.emit("Expand", [*inputs, self.integers(f"{out}/shape", op.shape)], result)
            case Constant():
                self.emit("Identity", [self.constant(f"{out}/value", node.weights["value"])], result)
            case Transpose():
                self.emit("Transpose", inputs, result, perm=op.axes)
            case Reshape():
                source = inputs[0] if op.order == "hwc" else node.inputs[0]
                self.emit("Reshape", [source, self.integers(f"{out}/shape", shape)], result)
            case Reduce():
                name = "Reduce" + op.function.title().replace("_", "")
                axes = self.integers(f"{out}/axes", op.axes)
                self.emit(name, [*inputs, axes], result, keepdims=int(op.keep_dims))
            case ArgReduce():
                options = {"keepdims": int(op.keep_dims), "select_last_index": int(op.select_last)}
                index = self.emit(f"Arg{op.function.title()}", inputs, f"{out}/index", axis=op.axis, **options)
                self.emit("Cast", [index], result, to=TensorProto.FLOAT)
            case MatMul():
                self.emit("MatMul", inputs, result)
        if result != out:
            self.emit("Transpose", [result], out, perm=TO_NCHW)

    def statistics_norm(self, op: InstanceNorm | GroupNorm | LayerNorm, node: Node) -> str:
        """ONNX has scale and bias always; over a group they are its instance normalisation's, here all one and zero."""
        shape, out = self.graph.types[node.inputs[0]].shape, node.name
        affine = op.affine_shape(shape)
        gamma = np.broadcast_to(node.weights.get("gamma", np.ones(())), affine)
        beta = np.broadcast_to(node.weights.get("beta", np.zeros(())), affine)
        image = len(shape) == 4
        if isinstance(op, LayerNorm) and (op.axes == "image" or not image):
            arrays = [a.transpose(2, 0, 1) if len(affine) == 3 and image else a for a in (gamma, beta)]
            names = [self.constant(f"{out}/{role}", a) for role, a in zip(("gamma", "beta"), arrays, strict=True)]
            axis = 1 if op.axes == "image" else -1
            return self.emit(
                "LayerNormalization", [node.inputs[0], *names], f"{out}/normal", axis=axis, epsilon=op.epsilon
            )
        if isinstance(op, LayerNorm):
            names = [self.constant(f"{out}/gamma", gamma), self.constant(f"{out}/beta", beta)]
            last = self.emit("Transpose", [node.inputs[0]], f"{out}/as_nhwc", perm=TO_NHWC)
            last = self.emit("LayerNormalization", [last, *names], f"{out}/moved", axis=-1, epsilon=op.epsilon)
            return self.emit("Transpose", [last], f"{out}/normal", perm=TO_NCHW)
        groups = op.groups if isinstance(op, GroupNorm) else shape[-1]
        whole_shape = (0, shape[-1], *shape[1:-1])
        for name, sizes in (("grouped", (0, groups, -1)), ("whole", whole_shape)):
            self.initializers.append(numpy_helper.from_array(np.array(sizes, np.int64), f"{out}/{name}_shape"))
        source = self.channels_second(node.inputs[0], out)
        grouped = self.emit("Reshape", [source, f"{out}/grouped_shape"], f"{out}/grouped")
        one = [self.constant(f"{out}/ones", np.ones(groups)), self.constant(f"{out}/zeros", np.zeros(groups))]
        normal = self.emit("InstanceNormalization", [grouped, *one], f"{out}/by_groups", epsilon=op.epsilon)
        whole = self.emit("Reshape", [normal, f"{out}/whole_shape"], f"{out}/whole")
        column = (-1, *[1] * (len(shape) - 2))
        scale = self.constant(f"{out}/gamma", gamma.reshape(column))
        scaled = self.emit("Mul", [whole, scale], f"{out}/scaled")
        shifted = self.emit("Add", [scaled, self.constant(f"{out}/beta", beta.reshape(column))], f"{out}/normal")
        return self.channels_back(shifted, len(shape), out)
