"""From a file to a parsed model and its arrays; nothing of it is trusted yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cnngen.errors import ModelError, Source
from cnngen.frontends.files import open_regular
from cnngen.frontends.onnx.external import Folder
from cnngen.frontends.onnx.skeleton import read_skeleton
from cnngen.frontends.onnx.tensors import take_array
from cnngen.frontends.record import Record
from cnngen.ir import Array

if TYPE_CHECKING:
    import onnx

MAX_MODEL_BYTES = 2**31 - 1
"""Of one protobuf message."""
LARGE = 1 << 20
"""Bytes of a file from which on the data of weights go past protobuf."""


def read_model(path: Path, record: Record) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The model in the file at `path`, and the arrays of its initialisers, which are taken out of it.

    Raises `ModelError` for what is no ONNX file, or where an array is not what it says.
    """
    with open_regular(path, ModelError) as handle:
        size = handle.seek(0, 2)
        if size > MAX_MODEL_BYTES:
            raise ModelError(
                f"is {size:,} bytes, and protobuf reads at most 2 GiB",
                remedy="save it with its weights in a file of their own: onnx.save(..., save_as_external_data=True)",
                source=Source(str(path)),
            )
        handle.seek(0)
        record.read_model(handle)
        found = read_skeleton(handle, size) if size >= LARGE else None
        text, large = found or (handle.read(), {})
        model = parse(text, Source(str(path)))
    return take_model(model, path.parent, Source(str(path)), record, large)


def parse(data: bytes, source: Source) -> onnx.ModelProto:
    """`data` as a model. Raises `ModelError` where they are none."""
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"is truncated or no ONNX file ({error})", remedy="export the model again", source=source
        ) from None
    if not model.HasField("graph") or not model.ir_version:
        remedy = "export the model again" if data else "the file is empty: export the model again"
        raise ModelError("is no ONNX model: it has no graph or no version", remedy=remedy, source=source)
    if any(isinstance(text, bytes) for text in _texts(model)):
        raise ModelError("has a name that is no UTF-8", remedy="export the model again", source=source)
    return model


def _texts(model: onnx.ModelProto) -> Iterator[object]:
    """Every text that is used as one; protobuf gives bytes in place of text that is damaged."""
    for opset in model.opset_import:
        yield opset.domain
    graph = model.graph
    yield graph.name
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output)
    for node in (*graph.node, *(node for function in model.functions for node in function.node)):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for value in (*graph.input, *graph.output):
        yield value.name
        if value.type.HasField("tensor_type"):
            yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        yield tensor.name
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)


def take_model(
    model: onnx.ModelProto,
    folder: Path | None,
    source: Source,
    record: Record,
    large: Mapping[int, Array] | None = None,
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The arrays of the initialisers by name; external ones are read from `folder`.

    `large` has the bytes of those whose data are no longer in the model, by their numbers. Raises `ModelError`.
    """
    arrays: dict[str, Array] = {}
    with Folder(folder, source, record) as files:
        for number, tensor in enumerate(model.graph.initializer):
            if tensor.name in arrays or not tensor.name:
                problem = "two initialisers carry this name" if tensor.name else "an initialiser has no name"
                raise ModelError(problem, source=source, layer=tensor.name or None)
            try:
                arrays[tensor.name] = take_array(tensor, files, (large or {}).get(number))
            except ModelError as error:
                raise error.at(source, tensor.name) from None
    if len(model.graph.sparse_initializer):
        raise ModelError("has sparse initialisers", remedy="store them as dense tensors", source=source)
    return model, arrays
