"""Pooling, transposed convolutions, LRN, resizing and shuffles in ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import numpy_helper

from cnngen.ir import Node, TensorType
from cnngen.onnx_writer.emitter import Emitter, onnx_pads, transposed_kernel
from cnngen.ops import LRN, Conv2DTranspose, Pool2D, Resize


class WindowEmitter(Emitter):
    """Ops on images: windows, normalisation of a neighbourhood, resizing, shuffles."""

    def transposed(self, op: Conv2DTranspose, node: Node, out: str) -> str:
        (top, bottom, left, right), (rows, columns) = op.padding, op.output_padding
        kernel = self.constant(f"{out}/weight", transposed_kernel(node.weights["weight"], op.groups))
        bias = [self.constant(f"{out}/bias", node.weights["bias"].reshape(-1, 1, 1))] if op.use_bias else []
        window = {"kernel_shape": op.kernel, "strides": op.stride, "dilations": op.dilation, "group": op.groups}
        if rows < op.stride[0] and columns < op.stride[1]:
            if op.use_bias:
                bias = [self.constant(f"{out}/flat_bias", node.weights["bias"])]
            sides = {"pads": onnx_pads(op.padding), "output_padding": op.output_padding}
            return self.emit("ConvTranspose", [node.inputs[0], kernel, *bias], out, **window, **sides)
        # ONNX Runtime refuses output padding that reaches the stride, though it is below the dilation: put zeros behind
        # the uncropped sum (or fewer than none), then the bias.
        whole = self.emit("ConvTranspose", [node.inputs[0], kernel], f"{out}/whole", **window, pads=(top, left, 0, 0))
        ends = np.array([0, 0, 0, 0, 0, 0, rows - bottom, columns - right], np.int64)
        self.initializers.append(numpy_helper.from_array(ends, f"{out}/ends"))
        padded = self.emit("Pad", [whole, f"{out}/ends"], f"{out}/padded" if bias else out)
        return self.emit("Add", [padded, *bias], out) if bias else padded

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
            self.emit(kind, [x], out, pads=onnx_pads(op.padding), ceil_mode=int(op.ceil_mode), **window, **counted)
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
