"""Turns the layers of a spec into graph nodes: names, inputs, blocks, conditions and repetition.

Layers are taken in order, and each is typed as soon as it is added, so that a block can ask for the
channels of its input, and every mistake is reported at the line it was made on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cnngen.errors import ShapeError, Source, SpecError
from cnngen.frontends.entries import Entry, Library
from cnngen.frontends.fields import MAX_INTEGER, MAX_NAME
from cnngen.frontends.layers import LAYERS, Common, Layer, Options
from cnngen.frontends.spec_models import BLOCK_INPUT, INPUT_CHANNELS, REQUIRED
from cnngen.frontends.suggest import suggestion
from cnngen.frontends.validate import validate
from cnngen.frontends.yaml_reader import MAX_VALUES, YamlList, YamlMap
from cnngen.ir import Node, TensorType
from cnngen.ops import Op

MAX_LAYERS = 10_000
MAX_BLOCK_DEPTH = 20
MAX_SUBSTITUTED = MAX_VALUES
"""Values in the uses of blocks, of layers that their conditions leave out, too."""
MAX_INPUTS = 1000
"""Tensors that one layer reads."""
SEPARATOR = "/"
"""Between the name of a block's instance and the names inside it."""

Instance = Callable[[str, tuple[str, ...]], str]
"""Adds one layer or block of a local name to the graph, reading these tensors; returns its output."""


@dataclass
class Scope:
    """The names that the layers of one list can see: `tensors` maps them to tensors of the graph."""

    prefix: str = ""
    tensors: dict[str, str] = field(default_factory=dict)
    given: dict[str, int] = field(default_factory=dict)
    """Names that layers of this list carry, with their lines, those further down included."""
    outer: Scope | None = None
    """Where the block is used whose layers these are: its names are not visible here."""
    counters: Counter[str] = field(default_factory=Counter)

    def knows(self, name: str) -> bool:
        """Whether a layer or input of this list, or of one around it, has this name."""
        return name in self.tensors or name in self.given or (self.outer is not None and self.outer.knows(name))

    def fresh(self, kind: str) -> str:
        """A default name such as ``conv2d_3`` that nobody else has."""
        while True:
            self.counters[kind] += 1
            name = f"{kind}_{self.counters[kind]}"
            if name not in self.given and name not in self.tensors:
                return name


@dataclass
class NetworkBuilder:
    """Collects the nodes of a network; `types` holds the type of every tensor so far."""

    file: str
    library: Library
    options: Options
    types: dict[str, TensorType] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    parameters: int = 0
    _steps: int = 0
    _substituted: int = 0
    _blocks_in_use: list[str] = field(default_factory=list)

    def add(self, name: str, op: Op, inputs: tuple[str, ...], line: int | None = None) -> str:
        """Append a node and type it; returns its name. Raises `SpecError` where it cannot be."""
        if len(name) > MAX_NAME:
            problem = f"the full name {name[:60]}... has {len(name)} characters, more than {MAX_NAME}"
            raise self._error(problem, "shorten the names of the blocks around it", line)
        types = [self.types[tensor] for tensor in inputs]
        try:
            output = op.infer(types)
            shapes = op.weight_shapes(types)
        except ShapeError as error:
            raise error.at(Source(self.file, line), name) from None
        self.parameters += sum(math.prod(shape) for shape in shapes.values())
        if output.elements > MAX_INTEGER:
            problem = f"its output {output} has {output.elements:,} elements, more than 2^31 - 1"
            raise self._error(problem, "reduce the sizes or the batch", line, name)
        if self.parameters > MAX_INTEGER:
            problem = f"the network has {self.parameters:,} parameters up to here, more than 2^31 - 1"
            raise self._error(problem, "reduce filters, units or kernels", line, name)
        self.nodes.append(Node(name, op, inputs, source=Source(self.file, line)))
        self.types[name] = output
        return name

    def run(
        self, layers: YamlList, scope: Scope, previous: str | None, variables: Mapping[str, Any] | None = None
    ) -> str:
        """Add all `layers`; returns the tensor that the last one produces.

        `previous` is what the first layer reads (None where the network has several inputs);
        `variables` are the parameters, within a block.
        """
        entries = self.library.entries(layers)
        if variables is not None:
            self._substituted += layers.size
            if self._substituted > MAX_SUBSTITUTED:
                problem = f"the blocks that are used hold more than {MAX_SUBSTITUTED:,} values"
                raise self._error(problem, "use fewer repetitions, or smaller blocks", layers.line)
            entries = [self.library.substitute(entry, variables) for entry in entries]
        self._collect_names(entries, scope)
        for entry in entries:
            add = self._layer if entry.kind in LAYERS else self._block
            output = add(entry, scope, previous)
            if entry.kind not in LAYERS or LAYERS[entry.kind].arity != 0:
                previous = output  # what reads nothing is not in the way of what it stands between
        assert previous is not None
        return previous

    def resolve(self, name: str, scope: Scope, line: int, label: str | None, own: str | None = None) -> str:
        """The tensor called `name` in `scope`; raises `SpecError` where there is none above `line`."""
        if name in scope.tensors:
            return scope.tensors[name]
        if name == own:
            problem, remedy = "the layer reads its own output, which is a cycle", "name a layer above it"
        elif name in scope.given:
            problem = f"reads {name!r}, which is defined further down on line {scope.given[name]}"
            remedy = "a layer reads layers above it only: cycles are not allowed"
        elif scope.outer is not None and scope.outer.knows(name):
            problem = f"reads {name!r}, which is outside of the block"
            remedy = "in a block `input` names what it reads, and nothing else outside is visible: join the two outside"
        else:
            problem = f"reads {name!r}, but no layer has this name"
            remedy = suggestion(name, scope.tensors, "layers above it are")
        raise self._error(problem, remedy, line, label)

    def _collect_names(self, entries: list[Entry], scope: Scope) -> None:
        for entry in entries:
            name = entry.fields.get("name")
            if not isinstance(name, str):
                continue
            line = entry.fields.lines["name"]
            if name in scope.given or name in scope.tensors:
                where = f"on line {scope.given[name]}" if name in scope.given else "for an input"
                raise self._error(f"the name is taken {where}", "give each layer a name of its own", line, name)
            scope.given[name] = line

    def _layer(self, entry: Entry, scope: Scope, previous: str | None) -> str:
        label = self._label(entry, scope)
        layer = validate(LAYERS[entry.kind], entry.fields, self.file, label)
        sources = self._sources(entry, layer, scope, previous, label) if layer.arity != 0 else ()
        if layer.arity == 0:
            self._check_alone(entry, layer, label)

        def instance(name: str, inputs: tuple[str, ...]) -> str:
            self._check_arity(layer, inputs, entry, label)
            try:
                lowered = layer.lower([self.types[tensor] for tensor in inputs], self.options)
            except ShapeError as error:
                raise error.at(Source(self.file, entry.line), scope.prefix + name) from None
            if not isinstance(lowered, list):
                return self.add(scope.prefix + name, lowered, inputs, entry.line)
            for number, op in enumerate(lowered):
                part = f"{name}.{number}"
                if scope.prefix + part in self.types or part in scope.tensors:
                    raise self._error(f"its part {part!r} has the name of a layer", "rename it", entry.line, label)
                scope.tensors[part] = self.add(scope.prefix + part, op, inputs, entry.line)
            return scope.tensors[f"{name}.0"]

        return self._repeat(entry, layer, scope, sources, instance)

    def _block(self, entry: Entry, scope: Scope, previous: str | None) -> str:
        label = self._label(entry, scope)
        common_fields, arguments = YamlMap(entry.fields.line), YamlMap(entry.fields.line)
        for key, value in entry.fields.items():
            (common_fields if key in Common.model_fields else arguments).put(key, value, entry.fields.lines[key])
        common = validate(Common, common_fields, self.file, label)
        sources = self._sources(entry, common, scope, previous, label)
        if len(sources) > 1:
            problem = f"a block reads one tensor, not {len(sources)}"
            raise self._error(problem, "join them before, by add or concat", entry.line, label)
        parameters = self._arguments(entry, arguments, label)

        def instance(name: str, inputs: tuple[str, ...]) -> str:
            inner = Scope(f"{scope.prefix}{name}{SEPARATOR}", {BLOCK_INPUT: inputs[0]}, outer=scope)
            channels = {INPUT_CHANNELS: self.types[inputs[0]].shape[-1]}
            output = self._expand(entry, inner, inputs[0], parameters | channels, label)
            inner.tensors.pop(BLOCK_INPUT)
            scope.tensors.update({f"{name}{SEPARATOR}{local}": tensor for local, tensor in inner.tensors.items()})
            return output

        return self._repeat(entry, common, scope, sources, instance)

    def _expand(self, entry: Entry, inner: Scope, source: str, variables: Mapping[str, Any], label: str) -> str:
        """The layers of one instance of a block; returns its output."""
        if entry.kind in self._blocks_in_use:
            circle = " > ".join([*self._blocks_in_use, entry.kind])
            raise self._error(f"the block uses itself: {circle}", "use repeat, or break the circle", entry.line, label)
        if len(self._blocks_in_use) >= MAX_BLOCK_DEPTH:
            problem = f"blocks are nested deeper than {MAX_BLOCK_DEPTH} levels"
            raise self._error(problem, "use fewer levels", entry.line, label)
        self._blocks_in_use.append(entry.kind)
        try:
            return self.run(self.library.layers[entry.kind], inner, source, variables)
        except SpecError as error:
            if len(self._blocks_in_use) == 1:
                error.problem += f" (in the block {entry.kind!r} used on line {entry.line})"
            raise
        finally:
            self._blocks_in_use.pop()

    def _repeat(self, entry: Entry, common: Common, scope: Scope, sources: tuple[str, ...], instance: Instance) -> str:
        """Add the instances of a layer or block one behind the other; returns the last one's output."""
        output = sources[0] if sources else ""
        for number in range(1, (common.repeat if common.when else 0) + 1):
            self._steps += 1
            if self._steps > MAX_LAYERS:
                problem = f"the network has more than {MAX_LAYERS:,} layers, blocks expanded"
                raise self._error(problem, "use fewer layers or repetitions", entry.line)
            if common.name is None:
                name = scope.fresh(entry.kind)
            else:
                name = f"{common.name}_{number}" if "repeat" in entry.fields else common.name
            if scope.prefix + name in self.types or name in scope.tensors:
                problem = "the name is taken by another layer"
                raise self._error(problem, "rename one of the two", entry.line, scope.prefix + name)
            output = instance(name, sources if number == 1 else (output,))
            scope.tensors[name] = output
        if common.name is not None:
            scope.tensors[common.name] = output
        return output

    def _sources(self, entry: Entry, common: Common, scope: Scope, previous: str | None, label: str) -> tuple[str, ...]:
        """The tensors that a layer reads: those it names, or the one before it."""
        if common.inputs is not None:
            line = entry.fields.lines["inputs"]
            if len(common.inputs) > MAX_INPUTS:
                problem = f"reads {len(common.inputs):,} tensors, more than {MAX_INPUTS:,}"
                raise self._error(problem, "join some of them before", line, label)
            return tuple(self.resolve(name, scope, line, label, common.name) for name in common.inputs)
        if previous is None:
            problem = "the network has several inputs, and this layer does not say which it reads"
            raise self._error(problem, "add inputs: [name]", entry.line, label)
        return (previous,)

    def _arguments(self, entry: Entry, arguments: YamlMap, label: str) -> dict[str, Any]:
        """The value of every parameter of the block in this use."""
        block = self.library.blocks[entry.kind]
        for key in arguments:
            if key not in block.parameters:
                remedy = suggestion(key, self.library.keys(entry.kind), "it takes")
                problem = f"the block {entry.kind!r} has no parameter {key!r}"
                raise self._error(problem, remedy, arguments.lines[key], label)
        parameters = {**block.parameters, **arguments}
        missing = [name for name, value in parameters.items() if value is REQUIRED]
        if missing:
            problem = f"the block {entry.kind!r} needs {', '.join(missing)}"
            raise self._error(problem, f"add `{missing[0]}:`", entry.line, label)
        return parameters

    def _check_arity(self, layer: Layer, inputs: tuple[str, ...], entry: Entry, label: str) -> None:
        if layer.arity is None and len(inputs) < 2:
            problem = f"{entry.kind} needs at least two inputs, and has {len(inputs)}"
            raise self._error(problem, "add inputs: [first, second]", entry.line, label)
        if layer.arity is not None and len(inputs) != layer.arity:
            problem = f"{entry.kind} takes one input, and has {len(inputs)}"
            raise self._error(problem, "join them before, by add or concat", entry.line, label)

    def _check_alone(self, entry: Entry, layer: Layer, label: str) -> None:
        """Raise `SpecError` unless a layer that reads nothing stands for itself."""
        for key in ("inputs", "repeat", "when"):
            if key in entry.fields:
                problem = f"{entry.kind} reads nothing, and has {key!r}"
                raise self._error(problem, f"leave {key!r} out", entry.fields.lines[key], label)

    def _label(self, entry: Entry, scope: Scope) -> str:
        """How messages call a layer that may not have its name yet."""
        given = entry.fields.get("name")
        return scope.prefix + (given if isinstance(given, str) and len(given) <= MAX_NAME else entry.kind)

    def _error(self, problem: str, remedy: str, line: int | None, layer: str | None = None) -> SpecError:
        return SpecError(problem, remedy=remedy, source=Source(self.file, line), layer=layer)
