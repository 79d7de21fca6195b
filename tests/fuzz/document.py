"""A network as a spec document: what the generator draws, what is written to disk, what is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.numpy
import yaml

from cnngen import pipeline
from cnngen.frontends.weight_layouts import Format, layouts
from cnngen.frontends.weights import layer_names, needed_tensors
from cnngen.ir import Array, Graph

StoredType = Literal["float32", "float64", "float16"]


class Expression(str):
    """Text that the spec reads as arithmetic over a block's parameters: written without quotes."""


@dataclass(frozen=True)
class Layer:
    """One layer as drawn, blocks expanded: its kind and the fields that it gives, for the coverage count."""

    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Document:
    """A spec, and what it does not hold: the compiled batch sizes and how the weights file stores numbers.

    `layers` are the layers in their order with blocks expanded; a document read from a file has none, but its text
    in `as_read`.
    """

    spec: dict[str, Any]
    batches: tuple[int, ...] = (1,)
    stored: StoredType = "float32"
    layers: tuple[Layer, ...] = field(default=(), compare=False)
    as_read: str | None = None

    @property
    def text(self) -> str:
        """The spec as YAML: one line a layer."""
        if self.as_read is not None:
            return self.as_read
        return yaml.dump(
            self.spec, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True
        )

    def write(self, folder: Path, *, comment: str = "") -> Path:
        """Put `net.yaml`, and the weights file that it names, into `folder`; returns the spec's path."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"# {line}".rstrip() for line in comment.splitlines()]
        lines += [f"# batches: {' '.join(map(str, self.batches))}", f"# stored: {self.stored}"]
        path = folder / "net.yaml"
        path.write_text("\n".join([*lines, self.text]), encoding="utf-8")
        weights = self.spec["weights"]
        if isinstance(weights, dict):
            _write_weights(self, folder, folder / weights["file"], weights["format"])
        return path

    def graph(self, folder: Path, batch: int) -> Graph:
        """The network that was written to `folder`, for one batch size."""
        return pipeline.load_graph(folder / "net.yaml", batch=batch)


def read(path: Path) -> Document:
    """The document of a spec on disk; comments `# batches:` and `# stored:` say what the spec does not."""
    text = path.read_text(encoding="utf-8")
    said = dict(re.findall(r"^# (batches|stored): (.*)$", text, re.MULTILINE))
    batches = tuple(int(word) for word in said.get("batches", "1 2").split())
    spec = text[re.search(r"^(?!#)", text, re.MULTILINE).start() :]  # type: ignore[union-attr]  # the end matches
    return Document(yaml.safe_load(text), batches, said.get("stored", "float32"), as_read=spec)  # type: ignore[arg-type]


def _write_weights(document: Document, folder: Path, path: Path, source: Format) -> None:
    """Random weights in the layout and type that the spec says, at the scale of `weights: random`."""
    random = folder / "random"
    if document.as_read is None:
        replace(document, spec=document.spec | {"weights": "random"}).write(random)
    else:
        random.mkdir(exist_ok=True)
        text = re.sub(r"^weights:.*(\n .*)*$", "weights: random", document.as_read, flags=re.MULTILINE)
        (random / "net.yaml").write_text(text, encoding="utf-8")
    graph = document.graph(random, 1)
    arrays: dict[str, Array] = {}
    names = layer_names(graph)
    for node, role, shape in needed_tensors(graph).values():
        name = f"{names.get(node.name, node.name)}.{role}"
        own = node.weights[role]
        stored = layouts(node.op, role, shape, source)[0]
        arrays[name] = np.resize(own, stored.shape).astype(document.stored)
    if path.suffix == ".npz":
        np.savez(path, **arrays)  # type: ignore[arg-type]  # NumPy's stub takes the names for its own options
    else:
        safetensors.numpy.save_file(arrays, path)


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_/.-]*( [A-Za-z0-9_/.-]+)*")
"""Text that no reader takes for anything else."""


class _Dumper(yaml.SafeDumper):
    """Quotes text that would be read as an expression or a number, and no expression."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(value) and value not in ("true", "false", "null", "none")
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style=None if plain else "'")


def _mapping(dumper: yaml.SafeDumper, value: dict[Any, Any]) -> yaml.MappingNode:
    # A comma ends a plain text inside braces.
    commas = any(isinstance(item, Expression) and "," in item for item in value.values())
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=False if commas else None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(dict, _mapping)
_Dumper.add_representer(
    Expression, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style="")
)
