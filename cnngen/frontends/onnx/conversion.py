"""The walk over the nodes of a model: constants are folded, the rest becomes ops, what cannot is listed at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnngen.errors import ModelError, ShapeError, Source, inert
from cnngen.frontends.onnx.builder import Builder
from cnngen.frontends.onnx.folding import fold, foldable
from cnngen.frontends.onnx.functions import BY_DEFINITION, definition_of, inline_functions
from cnngen.frontends.onnx.handlers import HANDLERS
from cnngen.frontends.onnx.inputs import input_shapes
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.patterns import Shuffle, shuffles
from cnngen.frontends.onnx.structure import STANDARD, check_node, check_structure, label
from cnngen.frontends.onnx.values import Tensor, Value
from cnngen.frontends.record import Record
from cnngen.ir import Array, Graph, verify_graph
from cnngen.ops import ChannelShuffle

if TYPE_CHECKING:
    import onnx

MAX_LISTED = 12


@dataclass(frozen=True)
class Problem:
    """A node that cannot be converted: its op, why in a few words, the whole of it, and what to do."""

    node: str
    op: str
    reason: str
    text: str
    remedy: str | None = None
    needs: tuple[str, ...] = ()
    """Inputs of the model that would have to be constants."""


class UnsupportedModelError(ModelError):
    """The model uses what cnngen does not compute; `problems` are all of them."""

    def __init__(self, problems: Sequence[Problem], source: Source) -> None:
        self.problems = tuple(problems)
        first = problems[0]
        if len(problems) == 1:
            super().__init__(first.text, remedy=first.remedy or SEE, source=source, layer=first.node)
            return
        found: dict[str, list[str]] = {}
        for problem in problems:
            found.setdefault(problem.text, []).append(problem.node)
        lines = [f"{text} ({_some(nodes)})" for text, nodes in list(found.items())[:MAX_LISTED]]
        if len(found) > MAX_LISTED:
            lines.append(f"and {len(found) - MAX_LISTED} more")
        text = f"{len(problems)} nodes are not supported:\n  " + "\n  ".join(lines)
        super().__init__(text, remedy=SEE, source=source)


@dataclass(frozen=True, eq=False)
class Converted:
    """What a model became: a graph, None where no output depends on an input, and outputs that are constants.

    `inputs` are the names in the graph of the model's inputs, `outputs` those of the model's that the graph computes.
    """

    graph: Graph | None
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]
    source: Source

    def only_graph(self) -> Graph:
        """The graph. Raises `ModelError` where an output is no part of it."""
        if self.graph is None or self.constants:
            name = inert(next(iter(self.constants)))
            text = f"the output {name!r} does not depend on the inputs"
            raise UnsupportedModelError([Problem(name, "", "constant output", text)], self.source)
        return self.graph


SEE = "docs/onnx_support.md lists what is supported"


def convert(
    model: onnx.ModelProto,
    arrays: Mapping[str, Array],
    file: str,
    name: str,
    batch: int,
    shapes: Mapping[str, Sequence[int]],
    record: Record,
    constants: Mapping[str, Array] | None = None,
) -> Converted:
    """What becomes of `model`, whose initialisers are `arrays`; see `load_onnx` and `graph_of`. Raises `ModelError`."""
    source = Source(file)
    model = inline_functions(model, source)
    known: dict[str, Array] = {**arrays, **(constants or {})}
    version = check_structure(model, known, source)
    builder = Builder(file)
    values: dict[str, Value] = dict(known)
    inputs: dict[str, str] = {}
    for input_name, shape in input_shapes(model.graph, known, batch, shapes, source, record).items():
        values[input_name] = tensor = builder.input(input_name, shape)
        inputs[input_name] = tensor.forms["plain"]
    problems = _Walk(model, version, builder, values, source, record).run()
    outputs: dict[str, Tensor] = {}
    fixed: dict[str, Array] = {}
    for output in model.graph.output:
        value = values.get(output.name)
        if isinstance(value, Tensor):
            outputs[output.name] = value
        elif value is not None:
            fixed[output.name] = value
    if problems:
        raise UnsupportedModelError(problems, source)
    try:
        graph = verify_graph(builder.graph(name, outputs)) if outputs else None
    except (ModelError, ShapeError) as error:
        raise error.at(source) from None
    return Converted(graph, inputs, tuple(outputs), fixed, source)


class _Walk:
    def __init__(
        self,
        model: onnx.ModelProto,
        version: int,
        builder: Builder,
        values: dict[str, Value],
        source: Source,
        record: Record,
    ) -> None:
        self.graph, self.version, self.builder = model.graph, version, builder
        self.values, self.source, self.record = values, source, record
        self.problems: list[Problem] = []

    def run(self) -> list[Problem]:
        """Convert every node that an output needs; `values` then holds what could be."""
        self._note_types()
        needed = {output.name for output in self.graph.output}
        live = []
        for node in reversed(self.graph.node):
            if needed.intersection(node.output):
                needed.update(node.input)
                live.append(node)
        found = shuffles(reversed(live), frozenset(output.name for output in self.graph.output))
        inside = {id(node) for shuffle in found.values() for node in shuffle.inner}
        for node in reversed(live):
            if id(node) in inside:
                continue
            shuffle = found.get(node.output[0]) if node.output else None
            groups = shuffle.groups(self.values) if shuffle else None
            if shuffle and groups:
                self._shuffle(shuffle, groups)
                continue
            for part in (*shuffle.inner, node) if shuffle else (node,):
                self._try(part)
        return self.problems

    def _shuffle(self, shuffle: Shuffle, groups: int) -> None:
        """Enter the result of three nodes that are one op."""
        node = shuffle.join
        reader = NodeReader(node, [self.values[shuffle.split.input[0]]], self.version, self.builder, label(node))
        self.values[node.output[0]] = reader.result(
            reader.add(ChannelShuffle(groups), reader.last(reader.tensor(0))), "last"
        )

    def _try(self, node: onnx.NodeProto) -> None:
        """Convert `node`, or add what is wrong with it to the problems."""
        try:
            self._node(node)
        except UnsupportedError as error:
            problem = Problem(label(node), node.op_type, error.reason, error.problem, error.remedy, error.needs)
            self.problems.append(problem)
        except ModelError as error:
            raise error.at(self.source, label(node)) from None
        except ShapeError as error:
            raise ModelError(error.problem, remedy=error.remedy, source=self.source, layer=label(node)) from None

    def _node(self, node: onnx.NodeProto) -> None:
        """Enter the outputs of `node` in `values`, unless something that it reads could not be converted."""
        standard = node.domain in STANDARD
        if standard:
            check_node(node, self.version)
        missing = [name for name in node.input if name and name not in self.values]
        inputs = [self.values.get(name) if name else None for name in node.input]
        arrays = [value for value in inputs if not isinstance(value, Tensor)]
        if standard and not missing and len(arrays) == len(inputs) and foldable(node):
            results: Sequence[Value] = fold(node, arrays, self.version)
        else:
            defined = standard and node.op_type in BY_DEFINITION and not missing
            inner = definition_of(node, inputs, self.version, self.values.keys()) if defined else None
            if inner is not None:
                for part in inner:
                    self._try(part)
                return
            if not standard or node.op_type not in HANDLERS:
                op = f"{inert(node.domain)}.{node.op_type}" if not standard else node.op_type
                raise UnsupportedError(f"the op {inert(op)} (opset {self._opset(node)})", reason="op")
            if missing:
                return
            name = node.name or next((out for out in node.output if out), node.op_type)
            found = HANDLERS[node.op_type](NodeReader(node, inputs, self.version, self.builder, name))
            results = [found] if isinstance(found, Tensor | np.ndarray) else found
        for name, value in zip(node.output, results, strict=False):
            if name:
                self.values[name] = value

    def _opset(self, node: onnx.NodeProto) -> int:
        return self.version

    def _note_types(self) -> None:
        """Say that weights of other types are converted."""
        odd = {
            array.dtype.name for array in self.values.values() if isinstance(array, np.ndarray) and array.ndim > 0
        } & {"float64", "float16"}
        if odd:
            text = f"{self.source}: weights of type {' and '.join(sorted(odd))} are converted to float32"
            self.record.warn(text, UserWarning)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
