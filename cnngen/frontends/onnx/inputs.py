"""The inputs of a network: which the caller provides, and with which shapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnngen.errors import ModelError, Source, inert
from cnngen.frontends.onnx.node import UnsupportedError
from cnngen.frontends.onnx.tensors import dtype_of, type_name
from cnngen.frontends.record import Record

if TYPE_CHECKING:
    import onnx

FLOATS = ("float32", "float64", "float16")
TYPES = "types other than float"
MAX_SIZE = 2**31 - 1


def input_shapes(
    graph: onnx.GraphProto,
    constants: Collection[str],
    batch: int,
    given: Mapping[str, Sequence[int]],
    source: Source,
    record: Record,
) -> dict[str, tuple[int, ...]]:
    """The shape of every input of `graph` that the caller provides, in order.

    An input that is in `constants` has its value already. An open first axis is the `batch`; `given` shapes go before
    those of the model. Raises `ModelError` for open sizes, and for types that no float stands for.
    """
    values = [value for value in graph.input if value.name not in constants]
    names = [value.name for value in values]
    unknown = [name for name in given if name not in names]
    if unknown:
        remedy = f"its inputs are {', '.join(map(inert, names[:8]))}"
        raise ModelError(f"has no input {inert(unknown[0])!r} to give a shape", remedy=remedy, source=source)
    shapes, problems, example = {}, [], ""
    for value in values:
        _check_type(value, source, record)
        dims = value.type.tensor_type.shape.dim
        if value.name in given:
            shapes[value.name] = _given(value, given[value.name], source)
            continue
        if not value.type.tensor_type.HasField("shape"):
            problems.append(f"{inert(value.name)} has no shape")
            example = example or f"{value.name}=1,3,224,224"
            continue
        sizes: list[int] = []
        for axis, dim in enumerate(dims):
            if dim.HasField("dim_value") and dim.dim_value >= 0:
                sizes.append(_fixed(value.name, axis, dim.dim_value, batch, source))
            elif axis == 0:
                sizes.append(batch)
            else:
                what = f" ({inert(dim.dim_param)!r})" if dim.dim_param else ""
                problems.append(f"axis {axis}{what} of {inert(value.name)} is open")
                sizes.append(0)
        if 0 in sizes and any(value.name in problem for problem in problems):
            example = example or f"{value.name}={','.join(str(size or 224) for size in sizes)}"
        shapes[value.name] = tuple(sizes)
    if problems:
        remedy = f"give the sizes: --input-shape {inert(example)}, or input_shapes= in Python"
        raise ModelError("; ".join(problems[:8]), remedy=remedy, source=source)
    return shapes


def _check_type(value: onnx.ValueInfoProto, source: Source, record: Record) -> None:
    if value.type.WhichOneof("value") != "tensor_type":
        kind = value.type.WhichOneof("value") or "nothing"
        raise UnsupportedError(f"the input {inert(value.name)!r} is no tensor but {kind}", reason=TYPES).at(source)
    code = value.type.tensor_type.elem_type
    dtype = dtype_of(code)
    if dtype is None or dtype.name not in FLOATS:
        problem = f"the input {inert(value.name)!r} is of type {type_name(code)}, and a network takes FLOAT"
        remedy = "make it a constant of the model, or an input of floats"
        raise UnsupportedError(problem, reason=TYPES, remedy=remedy).at(source)
    if dtype != np.float32:
        text = f"{source}: the input {inert(value.name)!r} is {type_name(code)}: it is taken and computed as FLOAT"
        record.warn(text, UserWarning)


def _given(value: onnx.ValueInfoProto, shape: Sequence[int], source: Source) -> tuple[int, ...]:
    sizes = tuple(shape)
    if 0 in sizes:
        raise UnsupportedError(f"the input {inert(value.name)!r} is empty", reason="empty tensors").at(source)
    if any(isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_SIZE for size in sizes):
        problem = f"the shape {list(sizes)} for the input {inert(value.name)!r} is none"
        raise ModelError(problem, remedy="give whole numbers from 1", source=source)
    tensor = value.type.tensor_type
    if tensor.HasField("shape") and len(tensor.shape.dim) != len(sizes):
        problem = f"the input {inert(value.name)!r} has {len(tensor.shape.dim)} axes, the shape given {len(sizes)}"
        raise ModelError(problem, remedy="give all sizes, the batch first", source=source)
    return sizes


def _fixed(name: str, axis: int, size: int, batch: int, source: Source) -> int:
    if size == 0:
        remedy = f"give its whole shape: --input-shape {inert(name)}=..."
        problem = f"the input {inert(name)!r} is empty along axis {axis}"
        raise UnsupportedError(problem, reason="empty tensors", remedy=remedy).at(source)
    if axis == 0 and batch not in (1, size):
        raise ModelError(
            f"fixes the batch of {inert(name)!r} to {size}, {batch} was asked for",
            remedy="export it with an open batch, or give the whole shape: --input-shape",
            source=source,
        )
    return size
