"""Front ends: whatever describes a network, to a `Graph` with weights and types.

What reads a spec is imported when one is read: a warm start only looks at the files, and a caller with
a `Graph` needs neither PyYAML nor Pydantic.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from cnngen.errors import ModelError, SpecError
from cnngen.frontends.record import Record
from cnngen.ir import Graph, TensorType, verify_graph

YAML_SUFFIXES = (".yaml", ".yml")
ONNX_SUFFIXES = (".onnx",)


class Module(Protocol):
    """What a `torch.nn.Module` is to those who do without PyTorch."""

    training: bool

    def eval(self) -> Any: ...

    def state_dict(self) -> Any: ...


def load(
    source: str | Path | Graph | Module,
    *,
    weights: str | Path | None = None,
    example: Any = None,
    batch: int | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    record: Record | None = None,
) -> Graph:
    """The network that `source` describes, typed and verified, for `batch` images at a time.

    `source` is the path of a YAML spec or of an ONNX model; or a `Graph`, which is returned as it is (with a `batch`
    other than 1, for that batch); or a `torch.nn.Module` (or `torch.export.ExportedProgram`), which needs an `example`
    of its input: a tensor, an array, a shape, or a tuple of them. `weights` is a .safetensors or .npz file that
    replaces the one the spec names. `batch` is 1 by default, and that of the `example` for a module. `input_shapes` are
    shapes of inputs, batch included, that an ONNX model leaves open. `record` notes the files that are read and the
    warnings. Raises `SpecError`, `WeightsError`, and `ModelError` for a format, model or module that is not read.
    """
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise SpecError(f"the batch is {batch!r}", remedy="give a whole number of at least 1")
    if is_module(source):
        if weights is not None:
            raise SpecError("a module has its weights already", remedy="load them into it with load_state_dict")
        from cnngen.frontends.torch.module import load_module

        return verify_graph(load_module(source, example=example, batch=batch))
    if example is not None:
        raise SpecError("an example was given for a network that knows its inputs", remedy="leave it out")
    batch = 1 if batch is None else batch
    if input_shapes and not (isinstance(source, str | os.PathLike) and Path(source).suffix.lower() in ONNX_SUFFIXES):
        raise SpecError("input shapes are for ONNX models", remedy="a spec says them itself: leave them out")
    if isinstance(source, Graph):
        if weights is not None:
            raise SpecError("a Graph has its weights already", remedy="pass weights= with the path of a spec")
        from cnngen.passes.infer_shapes import infer_shapes

        return verify_graph(infer_shapes(source if batch == 1 else _rebatch(source, batch)))
    if not isinstance(source, str | os.PathLike):
        raise SpecError(
            f"{type(source).__name__} is no network",
            remedy="give the path of a .yaml spec, a Graph, or a torch.nn.Module",
        )
    path = Path(source)
    if path.suffix.lower() in ONNX_SUFFIXES:
        if weights is not None:
            raise ModelError(f"{path}: an ONNX model has its weights already", remedy="leave the weights file out")
        from cnngen.frontends.onnx import load_onnx

        return load_onnx(path, batch=batch, input_shapes=input_shapes, record=record or Record(digests=False))
    if path.suffix.lower() not in YAML_SUFFIXES:
        raise ModelError(
            f"{path}: the suffix {path.suffix!r} is not one that cnngen reads",
            remedy="give a .yaml or .yml spec, or an .onnx model",
        )
    from cnngen.frontends.yaml_spec import load_spec

    record = record or Record(digests=False)
    return verify_graph(load_spec(path, weights=None if weights is None else Path(weights), batch=batch, record=record))


def is_module(source: object) -> bool:
    """Whether `source` is a module or an exported program of PyTorch, which is not imported to find out."""
    if "torch" not in sys.modules:
        return False
    from cnngen.frontends.torch.capture import is_module as is_one

    return is_one(source)


def _rebatch(graph: Graph, batch: int) -> Graph:
    inputs = tuple(replace(tensor, type=TensorType((batch, *tensor.type.shape[1:]))) for tensor in graph.inputs)
    return replace(graph, inputs=inputs)
