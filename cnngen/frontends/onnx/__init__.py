"""The front end for ONNX models: file to `Graph`, in the order of the modules.

`reading` opens the file, `tensors` and `external` its arrays, `structure` checks what every model must keep,
`inputs` settles the shapes, `conversion` walks over the nodes: what depends on constants only is `folding`'s, the
rest goes to the handler of the op (`handlers`), which adds ops to the `builder`. It reads opset 6 to the newest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnngen.errors import ModelError, Source
from cnngen.frontends.record import Record
from cnngen.ir import Array, Graph

if TYPE_CHECKING:
    import onnx

    from cnngen.frontends.onnx.conversion import Converted

SUFFIXES = (".onnx",)
Shapes = Mapping[str, Sequence[int]]
"""Shapes of inputs, batch included, by name."""


def load_onnx(path: Path, *, batch: int = 1, input_shapes: Shapes | None = None, record: Record) -> Graph:
    """The network in the ONNX file at `path`, typed.

    `batch` is the size of a first axis that the model leaves open; `input_shapes` gives the other open sizes, or
    replaces those of the model. Raises `ModelError`.
    """
    require_onnx()
    from cnngen.frontends.onnx.conversion import convert
    from cnngen.frontends.onnx.reading import read_model

    model, arrays = read_model(path, record)
    return convert(model, arrays, str(path), network_name(path), batch, input_shapes or {}, record).only_graph()


def graph_of(model: onnx.ModelProto, *, batch: int = 1, input_shapes: Shapes | None = None) -> Graph:
    """The network in a model that is in memory, typed; see `open_model`. Raises `ModelError`."""
    return open_model(model, batch=batch, input_shapes=input_shapes).only_graph()


def open_model(
    model: onnx.ModelProto,
    *,
    batch: int = 1,
    input_shapes: Shapes | None = None,
    constants: Mapping[str, Array] | None = None,
    folder: Path | None = None,
    record: Record | None = None,
) -> Converted:
    """What a model that is in memory becomes; it is not changed.

    `constants` are inputs whose values are known now: weights, or the sizes that a Reshape gets. External data
    are looked for in `folder`. Raises `ModelError`.
    """
    from cnngen.frontends.onnx.conversion import convert
    from cnngen.frontends.onnx.reading import take_model

    copy = type(model)()
    copy.CopyFrom(model)

    record = record or Record(digests=False)
    name = model.graph.name or "model"
    model, arrays = take_model(copy, folder, Source(name), record)
    return convert(model, arrays, name, network_name(Path(name)), batch, input_shapes or {}, record, constants or {})


def network_name(path: Path) -> str:
    """A network name from that of a file."""
    import re

    return re.sub(r"[^A-Za-z0-9_-]", "_", path.stem)[:64] or "network"


def require_onnx() -> None:
    """Raise `ModelError` where the package that reads the format is missing."""
    import importlib.util

    if importlib.util.find_spec("onnx") is None:
        raise ModelError("the package onnx is not installed", remedy="run: pip install 'cnngen[onnx]'")
