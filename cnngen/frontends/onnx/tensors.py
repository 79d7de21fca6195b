"""The arrays that an ONNX model holds, each checked against what it says of itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cnngen.errors import ModelError, inert
from cnngen.ir import Array

if TYPE_CHECKING:
    import onnx

    from cnngen.frontends.onnx.external import Folder

MAX_RANK = 32
MAX_ELEMENTS = 2**31 - 1

FIELDS = {
    "float32": "float_data",
    "float64": "double_data",
    "int32": "int32_data",
    "int16": "int32_data",
    "int8": "int32_data",
    "uint16": "int32_data",
    "uint8": "int32_data",
    "bool": "int32_data",
    "int64": "int64_data",
    "uint32": "uint64_data",
    "uint64": "uint64_data",
}
"""The field of a TensorProto for each type, where `raw_data` is not used (onnx.proto)."""


def type_name(code: int) -> str:
    """What ONNX calls the element type `code`."""
    from onnx import TensorProto

    try:
        return str(TensorProto.DataType.Name(code))
    except ValueError:
        return f"type {code}"


def dtype_of(code: int) -> np.dtype[np.generic] | None:
    """The NumPy type for an element type of ONNX; None for those without one, such as text or 4 bits."""
    from onnx import TensorProto

    names: dict[int, str] = {
        TensorProto.FLOAT: "float32",
        TensorProto.DOUBLE: "float64",
        TensorProto.FLOAT16: "float16",
        TensorProto.BFLOAT16: "bfloat16",
        TensorProto.INT8: "int8",
        TensorProto.INT16: "int16",
        TensorProto.INT32: "int32",
        TensorProto.INT64: "int64",
        TensorProto.UINT8: "uint8",
        TensorProto.UINT16: "uint16",
        TensorProto.UINT32: "uint32",
        TensorProto.UINT64: "uint64",
        TensorProto.BOOL: "bool",
    }
    name = names.get(code)
    if name is None:
        return None
    return np.dtype(np.float32) if name == "bfloat16" else np.dtype(name)


def take_array(tensor: onnx.TensorProto, files: Folder, raw: Array | None = None) -> Array:
    """The array of `tensor`, whose data are dropped; bfloat16 comes as float32.

    `raw` are the bytes of its data where they were read before it (`skeleton`).

    Raises `ModelError` where the data do not have the size that its shape and type ask for.
    """
    from onnx import TensorProto

    shape = checked_shape(tensor.dims)
    dtype = dtype_of(tensor.data_type)
    if dtype is None:
        raise ModelError(f"has the element type {type_name(tensor.data_type)}", remedy="store it as FLOAT")
    count = math.prod(shape)
    stored = np.dtype("<u2") if tensor.data_type == TensorProto.BFLOAT16 else dtype.newbyteorder("<")
    if tensor.data_location == TensorProto.EXTERNAL:
        array = np.frombuffer(files.read(tensor, count * stored.itemsize), stored)
    elif raw is not None or tensor.HasField("raw_data"):
        data = tensor.raw_data if raw is None else raw
        if len(data) != count * stored.itemsize:
            raise ModelError(
                f"has {len(data):,} bytes of data, its shape {list(shape)} of {type_name(tensor.data_type)} needs "
                f"{count * stored.itemsize:,}",
                remedy="the file is damaged or was exported wrongly: export it again",
            )
        tensor.ClearField("raw_data")
        array = np.frombuffer(data, stored)
    else:
        array = _from_fields(tensor, count, dtype, stored)
    if tensor.data_type == TensorProto.BFLOAT16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(array, array.dtype.newbyteorder("=")).reshape(shape)


def checked_shape(dims: object) -> tuple[int, ...]:
    """`dims` as a shape. Raises `ModelError` for negative sizes and for more elements than are addressed."""
    shape = tuple(int(size) for size in dims)  # type: ignore[attr-defined]  # a repeated field of protobuf
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        raise ModelError(f"has the shape {inert(str(list(shape[:MAX_RANK])))}", remedy="export the model again")
    if math.prod(shape) > MAX_ELEMENTS:
        raise ModelError(f"has {math.prod(shape):,} elements, more than 2^31 - 1")
    return shape


def _from_fields(
    tensor: onnx.TensorProto, count: int, dtype: np.dtype[np.generic], stored: np.dtype[np.generic]
) -> Array:
    name = FIELDS.get(dtype.name, "int32_data")  # half floats are stored as their bits
    if stored.name == "uint16" and dtype.name == "float32":
        name = "int32_data"
    values = getattr(tensor, name)
    if len(values) != count:
        raise ModelError(
            f"has {len(values):,} numbers, its shape {list(tensor.dims)} needs {count:,}",
            remedy="the file is damaged or was exported wrongly: export it again",
        )
    wide = {"int32_data": np.int32, "int64_data": np.int64, "uint64_data": np.uint64}.get(name, dtype)
    array = np.array(values, wide)
    tensor.ClearField(name)
    if dtype.name == "float16":
        return array.astype(np.uint16).view(np.float16)
    return array.astype(stored if stored.name == "uint16" else dtype)
