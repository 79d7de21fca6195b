"""A Graph as an ONNX model with the same weights, for ONNX Runtime as an independent witness.

Images are channels-first in ONNX: every tensor of rank 4 is held transposed, and the twin's inputs
and outputs are those of the graph, transposed by `to_onnx_layout`.
"""

from __future__ import annotations

from typing import Any, assert_never

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from cnngen.ir import Array, Graph, Node, TensorType
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

OPSET = 20
"""The first with Gelu; 19 is the first with dilations in AveragePool."""
TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)


def to_onnx_layout(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(TO_NCHW)) if x.ndim == 4 else x


def from_onnx_layout(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(TO_NHWC)) if x.ndim == 4 else x


class OnnxTwin:
    """Runs `graph` in ONNX Runtime, one thread, graph optimisations off: the ops as they are defined.

    With `matrices` images are resized by products with the matrices that our tables stand for: its own Resize computes
    positions in float32, which fall to another pixel wherever one lies between two.
    """

    def __init__(self, graph: Graph, *, matrices: bool = False) -> None:
        self.graph = graph
        self.model = onnx_model(graph, matrices=matrices)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            self.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, feed: dict[str, Array]) -> dict[str, Array]:
        """Every output by name; inputs and outputs in the graph's own layout."""
        results = self.session.run(None, {name: to_onnx_layout(x) for name, x in feed.items()})
        return {name: from_onnx_layout(np.asarray(y)) for name, y in zip(self.graph.outputs, results, strict=True)}


def onnx_model(graph: Graph, *, matrices: bool = False) -> onnx.ModelProto:
    """The twin as a checked model; for `matrices` see `OnnxTwin`."""
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


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    onnx_shape = tuple(shape[axis] for axis in TO_NCHW) if len(shape) == 4 else shape
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, onnx_shape)


class _Builder:
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
                    pads=_pads(op.padding),
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
                if len(self.graph.types[out].shape) == 4:
                    inputs = [self.aligned(name, out) for name in inputs]
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
                result = out if op.activation is None else f"{out}/linear"
                self.emit("BatchNormalization", [inputs[0], *names], result, epsilon=op.epsilon)
                if op.activation is not None:
                    self.activate(op.activation, result, out)
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
                    source = self.emit("Transpose", [source], f"{out}/nhwc", perm=TO_NHWC)
                self.emit("Flatten", [source], out, axis=1)
            case Transpose():
                last = self.emit("Transpose", inputs, f"{out}/nhwc", perm=TO_NHWC)
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
                (top, left, bottom, right), (first, last) = _pads(op.padding), op.channels
                sides = np.array([0, first, top, left, 0, last, bottom, right], np.int64)
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
                        source = self.emit("Transpose", [source], f"{out}/nhwc", perm=TO_NHWC)
                    moved = self.emit("Reshape", [source, f"{out}/shape"], f"{out}/moved")
                    self.emit("Transpose", [moved], out, perm=TO_NCHW)
            case Identity():
                self.emit("Identity", inputs, out)
            case Softmax():
                self.emit("Softmax", inputs, out, axis=1)
            case LogSoftmax():
                self.emit("LogSoftmax", inputs, out, axis=1)
            case _:
                assert_never(op)

    def shuffle(self, x: str, out: str, groups: int) -> None:
        """The channels of all groups in turn."""
        _, height, width, channels = self.graph.types[out].shape
        split, whole = (0, groups, channels // groups, height, width), (0, channels, height, width)
        for name, shape in (("split", split), ("whole", whole)):
            self.initializers.append(numpy_helper.from_array(np.array(shape, np.int64), f"{out}/{name}"))
        parts = self.emit("Reshape", [x, f"{out}/split"], f"{out}/parts")
        turned = self.emit("Transpose", [parts], f"{out}/turned", perm=(0, 2, 1, 3, 4))
        self.emit("Reshape", [turned, f"{out}/whole"], out)

    def resize(self, op: Resize, x: str, out: str) -> None:
        if self.matrices:
            self.resize_by_matrices(op, x, out)
            return
        how, (top, left, bottom, right) = op.how, op.region
        modes: dict[str, Any] = {"mode": how.mode, "coordinate_transformation_mode": how.coordinates}
        if how.mode == "nearest":
            modes["nearest_mode"] = how.rounding
        if how.mode == "cubic":
            modes |= {"cubic_coeff_a": how.cubic_coeff_a, "exclude_outside": int(how.exclude_outside)}
        region = ""
        if how.coordinates == "tf_crop_and_resize":
            region = self.constant(f"{out}/roi", np.array([0, 0, top, left, 1, 1, bottom, right]))
            modes["extrapolation_value"] = op.extrapolation_value
        if op.scale is not None:
            given = [self.constant(f"{out}/scales", np.array([1, 1, *op.scale]))]
        else:
            batch, _, _, channels = self.graph.types[out].shape
            sizes = np.array([batch, channels, *op.size], np.int64)
            self.initializers.append(numpy_helper.from_array(sizes, f"{out}/sizes"))
            given = ["", f"{out}/sizes"]
        self.emit("Resize", [x, region, *given], out, antialias=int(how.antialias), **modes)

    def resize_by_matrices(self, op: Resize, x: str, out: str) -> None:
        shape = self.graph.types[x].shape
        tables, inside = op.tables(shape), np.zeros((1, 1, *op.size), bool)
        rows, columns = (np.zeros((table.size, size)) for table, size in zip(tables, shape[1:3], strict=True))
        for table, matrix in zip(tables, (rows, columns), strict=True):
            for number, (indices, weights) in enumerate(zip(table.indices, table.weights, strict=True)):
                np.add.at(matrix[number], list(indices), weights)
        inside[:, :, slice(*tables[0].inside), slice(*tables[1].inside)] = True
        wide = self.emit("MatMul", [x, self.constant(f"{out}/columns", columns.T)], f"{out}/wide")
        whole = self.emit("MatMul", [self.constant(f"{out}/rows", rows), wide], f"{out}/whole")
        self.initializers.append(numpy_helper.from_array(inside, f"{out}/within"))
        value = self.constant(f"{out}/value", np.array(op.extrapolation_value))
        self.emit("Where", [f"{out}/within", whole, value], out)

    def of_images(self, op: Transpose | Reshape, source: str) -> bool:
        """Whether it makes an image, or changes the layout of one."""
        if isinstance(op, Reshape):
            return len(op.shape) == 3 and not op.whole
        return len(self.graph.types[source].shape) == 4

    def inside(self, name: str, out: str) -> str:
        """A tensor in the layout of cnngen: its axes are those that ops count."""
        if len(self.graph.types[name].shape) != 4:
            return name
        return self.emit("Transpose", [name], f"{out}/{name}/nhwc", perm=TO_NHWC)

    def aligned(self, name: str, out: str) -> str:
        """A tensor that arithmetic aligns with the last axes of an image, as an image."""
        shape = self.graph.types[name].shape
        if len(shape) == 4:
            return name
        sizes = self.integers(f"{out}/{name}/shape", [1] * (4 - len(shape)) + list(shape))
        image = self.emit("Reshape", [name, sizes], f"{out}/{name}/image")
        return self.emit("Transpose", [image], f"{out}/{name}/nchw", perm=TO_NCHW)

    def integers(self, name: str, values: tuple[int, ...] | list[int]) -> str:
        self.initializers.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def along_axes(self, op: Op, node: Node) -> None:
        """An op on any axes, between transpositions to the layout of cnngen and back."""
        out, shape = node.name, self.graph.types[node.name].shape
        inputs = [self.inside(name, out) for name in node.inputs]
        result = out if len(shape) != 4 else f"{out}/nhwc"
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

    def transposed(self, op: Conv2DTranspose, node: Node, out: str) -> str:
        (top, bottom, left, right), (rows, columns) = op.padding, op.output_padding
        kernel = self.constant(f"{out}/weight", transposed_kernel(node.weights["weight"], op.groups))
        bias = [self.constant(f"{out}/bias", node.weights["bias"].reshape(-1, 1, 1))] if op.use_bias else []
        window = {"kernel_shape": op.kernel, "strides": op.stride, "dilations": op.dilation, "group": op.groups}
        if rows < op.stride[0] and columns < op.stride[1]:
            if op.use_bias:
                bias = [self.constant(f"{out}/flat_bias", node.weights["bias"])]
            sides = {"pads": _pads(op.padding), "output_padding": op.output_padding}
            return self.emit("ConvTranspose", [node.inputs[0], kernel, *bias], out, **window, **sides)
        # ONNX Runtime refuses output padding that reaches the stride, though it is below the dilation: put zeros behind
        # the uncropped sum (or fewer than none), then the bias.
        whole = self.emit("ConvTranspose", [node.inputs[0], kernel], f"{out}/whole", **window, pads=(top, left, 0, 0))
        ends = np.array([0, 0, 0, 0, 0, 0, rows - bottom, columns - right], np.int64)
        self.initializers.append(numpy_helper.from_array(ends, f"{out}/ends"))
        padded = self.emit("Pad", [whole, f"{out}/ends"], f"{out}/padded" if bias else out)
        return self.emit("Add", [padded, *bias], out) if bias else padded

    def lp_pool(self, op: Pool2D, node: Node, x: str, out: str) -> None:
        """With the padding in front of it: zeros, so many that there are as many windows as there should be."""
        (_, height, width, _), (_, rows, columns, _) = (
            self.graph.input_types(node)[0].shape,
            self.graph.types[out].shape,
        )
        top, _, left, _ = op.padding
        end = (rows - 1) * op.stride[0] + op.dilation[0] * (op.kernel[0] - 1) + 1 - top - height
        side = (columns - 1) * op.stride[1] + op.dilation[1] * (op.kernel[1] - 1) + 1 - left - width
        pads = numpy_helper.from_array(np.array([0, 0, top, left, 0, 0, end, side], np.int64), f"{out}/pads")
        self.initializers.append(pads)
        padded = self.emit("Pad", [x, pads.name], f"{out}/padded")
        window = {"kernel_shape": op.kernel, "strides": op.stride, "dilations": op.dilation}
        self.emit("LpPool", [padded], out, p=op.order, **window)

    def pool(self, op: Pool2D, node: Node, x: str, out: str) -> None:
        if op.reduction == "lp":
            self.lp_pool(op, node, x, out)
            return
        kind = "AveragePool" if op.reduction == "avg" else "MaxPool"
        window = {"kernel_shape": op.kernel, "strides": op.stride, "dilations": op.dilation}
        top, bottom, left, right = op.padding
        shapes = self.graph.input_types(node)[0], self.graph.types[out]
        # A window in the end padding is dropped, but ONNX's inference counts it, and refuses what reads the tensor.
        counted_too = (
            op.ceil_mode and window_count(op, shapes[0]) != shapes[1].shape[1:3] and self.graph.consumers()[out]
        )
        if max(top, bottom) < op.kernel[0] and max(left, right) < op.kernel[1] and not counted_too:
            counted = {"count_include_pad": int(op.count_include_pad)} if op.reduction == "avg" else {}
            self.emit(kind, [x], out, pads=_pads(op.padding), ceil_mode=int(op.ceil_mode), **window, **counted)
            return
        # ONNX Runtime refuses padding of a dilated window that is as large as the kernel: put it around the image
        # first, so much of it (or less than nothing) that the output has the size that it should have.
        (_, height, width, _), (_, rows, columns, _) = (tensor.shape for tensor in shapes)
        end = (rows - 1) * op.stride[0] + op.dilation[0] * (op.kernel[0] - 1) + 1 - top - height
        side = (columns - 1) * op.stride[1] + op.dilation[1] * (op.kernel[1] - 1) + 1 - left - width
        pads = numpy_helper.from_array(np.array([0, 0, top, left, 0, 0, end, side], np.int64), f"{out}/pads")
        self.initializers.append(pads)
        fill = self.constant(f"{out}/fill", np.array(-np.inf if op.reduction == "max" else 0.0))
        padded = self.emit("Pad", [x, pads.name, fill], f"{out}/padded")
        if op.reduction == "max":
            self.emit(kind, [padded], out, **window)
            return
        # The mean over the padded image, over the share of the window that counts.
        inside = np.ones((1, 1, height, width))
        if op.count_include_pad:
            inside = np.pad(inside, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=1)
            pads = numpy_helper.from_array(
                np.array([0, 0, 0, 0, 0, 0, end - bottom, side - right], np.int64), f"{out}/rest"
            )
            self.initializers.append(pads)
        ones = self.emit("Pad", [self.constant(f"{out}/ones", inside), pads.name, fill], f"{out}/inside")
        share = self.emit(kind, [ones], f"{out}/share", **window)
        self.emit("Div", [self.emit(kind, [padded], f"{out}/mean", **window), share], out)

    def statistics_norm(self, op: InstanceNorm | GroupNorm | LayerNorm, node: Node) -> str:
        """ONNX has scale and bias always; over a group they are its instance normalisation's, here all one and zero."""
        shape, out = self.graph.types[node.inputs[0]].shape, node.name
        affine = op.affine_shape(shape)
        gamma = np.broadcast_to(node.weights.get("gamma", np.ones(())), affine)
        beta = np.broadcast_to(node.weights.get("beta", np.zeros(())), affine)
        image = len(shape) == 4
        if isinstance(op, LayerNorm) and (op.axes == "image" or not image):
            arrays = [a.transpose(2, 0, 1) if len(affine) == 3 else a for a in (gamma, beta)]
            names = [self.constant(f"{out}/{role}", a) for role, a in zip(("gamma", "beta"), arrays, strict=True)]
            return self.emit(
                "LayerNormalization", [node.inputs[0], *names], f"{out}/normal", axis=1, epsilon=op.epsilon
            )
        if isinstance(op, LayerNorm):
            names = [self.constant(f"{out}/gamma", gamma), self.constant(f"{out}/beta", beta)]
            last = self.emit("Transpose", [node.inputs[0]], f"{out}/nhwc", perm=TO_NHWC)
            last = self.emit("LayerNormalization", [last, *names], f"{out}/moved", axis=-1, epsilon=op.epsilon)
            return self.emit("Transpose", [last], f"{out}/normal", perm=TO_NCHW)
        groups = op.groups if isinstance(op, GroupNorm) else shape[-1]
        back = (0, shape[3], shape[1], shape[2]) if image else (0, shape[1])
        for name, sizes in (("grouped", (0, groups, -1)), ("whole", back)):
            self.initializers.append(numpy_helper.from_array(np.array(sizes, np.int64), f"{out}/{name}_shape"))
        grouped = self.emit("Reshape", [node.inputs[0], f"{out}/grouped_shape"], f"{out}/grouped")
        one = [self.constant(f"{out}/ones", np.ones(groups)), self.constant(f"{out}/zeros", np.zeros(groups))]
        normal = self.emit("InstanceNormalization", [grouped, *one], f"{out}/by_groups", epsilon=op.epsilon)
        whole = self.emit("Reshape", [normal, f"{out}/whole_shape"], f"{out}/whole")
        column = (-1, 1, 1) if image else (-1,)
        scale = self.constant(f"{out}/gamma", gamma.reshape(column))
        scaled = self.emit("Mul", [whole, scale], f"{out}/scaled")
        return self.emit("Add", [scaled, self.constant(f"{out}/beta", beta.reshape(column))], f"{out}/normal")

    def lrn(self, op: LRN, x: str, out: str) -> None:
        if op.size % 2 and op.beta > 0 and op.alpha > 0:
            self.emit("LRN", [x], out, size=op.size, alpha=op.alpha, beta=op.beta, bias=op.bias)
            return
        # ONNX Runtime has no even sizes, and takes positive parameters only: a mean of squares along the channels,
        # moved to a spatial axis.
        squares = self.emit("Transpose", [self.emit("Mul", [x, x], f"{out}/squares")], f"{out}/rows", perm=(0, 2, 1, 3))
        pads = [(op.size - 1) // 2, 0, op.size // 2, 0]
        mean = self.emit(
            "AveragePool", [squares], f"{out}/mean", kernel_shape=(op.size, 1), pads=pads, count_include_pad=1
        )
        mean = self.emit("Transpose", [mean], f"{out}/channels", perm=(0, 2, 1, 3))
        alpha, beta, bias = (
            self.constant(f"{out}/{name}", np.array(getattr(op, name))) for name in ("alpha", "beta", "bias")
        )
        base = self.emit("Add", [bias, self.emit("Mul", [alpha, mean], f"{out}/scaled")], f"{out}/base")
        self.emit("Div", [x, self.emit("Pow", [base, beta], f"{out}/power")], out)

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
                beta = self.constant(f"{out}/beta", np.array(activation.alpha))
                gate = self.emit("Sigmoid", [self.emit("Mul", [x, beta], f"{out}/scaled")], f"{out}/gate")
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


def transposed_kernel(weight: Array, groups: int) -> Array:
    """(kh, kw, in / groups, filters) as ONNX and PyTorch store it: (in, filters / groups, kh, kw)."""
    kh, kw, inputs, filters = weight.shape
    grouped = weight.reshape(kh, kw, inputs, groups, filters // groups)
    return grouped.transpose(3, 2, 4, 0, 1).reshape(groups * inputs, filters // groups, kh, kw)


def window_count(op: Pool2D, x: TensorType) -> tuple[int, int]:
    """Output height and width with `ceil_mode` as ONNX's shape inference has them: no window is dropped."""
    top, bottom, left, right = op.padding
    height, width = (
        -(-(size + pads - spread * (taps - 1) - 1) // step) + 1
        for size, pads, spread, taps, step in zip(
            x.shape[1:3], (top + bottom, left + right), op.dilation, op.kernel, op.stride, strict=True
        )
    )
    return height, width


def _pads(padding: tuple[int, int, int, int]) -> list[int]:
    """(top, bottom, left, right) in ONNX's order: all begins, then all ends."""
    top, bottom, left, right = padding
    return [top, left, bottom, right]
