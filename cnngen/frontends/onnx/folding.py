"""Nodes that depend on constants only: computed now, by ONNX's own reference implementation.

That removes the shape arithmetic that exporters leave behind. What could grow without bounds is looked at first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnngen.errors import ModelError
from cnngen.ir import Array

if TYPE_CHECKING:
    import onnx

MAX_ELEMENTS = 2**28
"""Of an array that is computed here: 1 GiB of floats."""

NEVER = frozenset(
    [
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "If",
        "Loop",
        "Scan",
        "SequenceMap",
        "StringNormalizer",
        "TfIdfVectorizer",
        "RegexFullMatch",
        "StringSplit",
        "StringConcat",
        "ImageDecoder",
    ]
)
"""Random, with graphs inside, or on text."""


def foldable(node: onnx.NodeProto) -> bool:
    """Whether a node whose inputs are known can be computed now."""
    return node.domain in ("", "ai.onnx") and node.op_type not in NEVER


def fold(node: onnx.NodeProto, inputs: Sequence[Array | None], version: int) -> list[Array]:
    """The outputs of `node`. Raises `ModelError` where it cannot be computed, or would be too large."""
    direct = _direct(node, inputs)
    if direct is not None:
        return [direct]
    sizes = _output_sizes(node, inputs, version)
    if any(size > MAX_ELEMENTS for size in sizes):
        raise ModelError(f"the constant that {node.op_type} gives has {max(sizes):,} elements, more than 2^28")
    return _evaluate(node, inputs, version)


def _direct(node: onnx.NodeProto, inputs: Sequence[Array | None]) -> Array | None:
    """What is quicker without the reference evaluator, whose import takes a second."""
    from onnx import numpy_helper

    first = inputs[0] if inputs else None
    match node.op_type:
        case "Identity" if first is not None:
            return first
        case "Shape" if first is not None and not node.attribute:
            return np.array(first.shape, np.int64)
        case "ConstantOfShape" if first is not None:
            shape = tuple(int(size) for size in first.reshape(-1))
            if any(size < 0 for size in shape) or math.prod(shape) > 2**31 - 1:
                raise ModelError(f"ConstantOfShape is asked for the shape {list(shape[:8])}")
            value = next((numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"), np.zeros(1, "f4"))
            if value.size != 1:
                raise ModelError(f"ConstantOfShape has a value of {value.size} elements, and takes one")
            return np.broadcast_to(value.reshape(()), shape)  # takes no memory, however large it is
        case "Constant":
            return _constant(node)
    return None


def _constant(node: onnx.NodeProto) -> Array | None:
    from cnngen.errors import Source
    from cnngen.frontends.onnx.external import Folder
    from cnngen.frontends.onnx.tensors import take_array
    from cnngen.frontends.record import Record

    if len(node.attribute) != 1:
        raise ModelError(f"Constant has {len(node.attribute)} values, and takes one")
    attribute = node.attribute[0]
    match attribute.name:
        case "value":
            copy = type(attribute.t)()
            copy.CopyFrom(attribute.t)
            return take_array(copy, Folder(None, Source("constant"), Record(digests=False)))
        case "value_float":
            return np.array(attribute.f, np.float32)
        case "value_floats":
            return np.array(attribute.floats, np.float32)
        case "value_int":
            return np.array(attribute.i, np.int64)
        case "value_ints":
            return np.array(attribute.ints, np.int64)
    raise ModelError(f"Constant has a {attribute.name}, which is no tensor of numbers")


def _output_sizes(node: onnx.NodeProto, inputs: Sequence[Array | None], version: int) -> list[int]:
    """Elements of each output, as ONNX's shape inference tells; 0 where it does not."""
    import onnx
    from onnx import helper, numpy_helper, shape_inference

    types, data = {}, {}
    for name, array in zip(node.input, inputs, strict=True):
        if array is not None:
            code = helper.np_dtype_to_tensor_dtype(array.dtype)
            types[name] = helper.make_tensor_type_proto(code, array.shape)
            if array.size <= 1024:
                data[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
        found = shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=[helper.make_opsetid("", version)], ir_version=onnx.IR_VERSION
        )
    except Exception as error:  # of half a dozen classes, for inputs that the op does not take
        raise ModelError(f"{node.op_type} cannot be computed ({_first_line(error)})") from None
    sizes = []
    for kind in found.values():
        dims = kind.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            sizes.append(math.prod(dim.dim_value for dim in dims))
        elif node.op_type != "NonZero":
            sizes.append(_most(node, inputs))
    return sizes


def _most(node: onnx.NodeProto, inputs: Sequence[Array | None]) -> int:
    """A bound for ops whose output's size inference does not know: the product of what the inputs hold."""
    if node.op_type in ("Range", "Expand", "Tile", "Resize", "Upsample", "Pad", "OneHot", "ConstantOfShape"):
        return MAX_ELEMENTS + 1
    return max((array.size for array in inputs if array is not None), default=0)


def _evaluate(node: onnx.NodeProto, inputs: Sequence[Array | None], version: int) -> list[Array]:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    names = [name for name in dict.fromkeys(node.input) if name]
    feeds: dict[str, Any] = {name: array for name, array in zip(node.input, inputs, strict=True) if array is not None}
    graph = helper.make_graph(
        [node],
        "constant",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(feeds[n].dtype), feeds[n].shape)
            for n in names
        ],
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            results = ReferenceEvaluator(model).run(None, feeds)
    except MemoryError:
        raise
    except Exception as error:  # whatever the reference implementation of any op may raise
        raise ModelError(f"{node.op_type} of constants cannot be computed ({_first_line(error)})") from None
    arrays = iter(results)
    found = [np.asarray(next(arrays)) if name else np.zeros(0) for name in node.output]
    if any(array.dtype == object for array in found):
        raise ModelError(f"{node.op_type} gives no tensor")
    return found


def _first_line(error: Exception) -> str:
    from cnngen.errors import inert

    return inert(str(error).strip().split("\n")[0]) or type(error).__name__
