"""The front end for PyTorch: a module to a `Graph`."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from cnngen.errors import CnngenError, ModelError, ShapeError, Source
from cnngen.frontends.torch import handlers as _  # noqa: F401 - registers them
from cnngen.frontends.torch import patterns
from cnngen.frontends.torch.capture import calls, capture, key
from cnngen.frontends.torch.lowering import HANDLERS, Lowering, Tensor, UnsupportedError, Value, is_constant, natural
from cnngen.ir import Graph
from cnngen.ops import Identity
from cnngen.passes.infer_shapes import infer_shapes

MAX_LISTED = 20
TORCH_FOLDER = os.path.dirname(torch.__file__)  # noqa: PTH120 - compared with strings in stack traces


def load_module(
    module: torch.nn.Module | torch.export.ExportedProgram,
    *,
    example: Any = None,
    batch: int | None = None,
) -> Graph:
    """The network that `module` computes for inputs like `example`, typed; its interface is PyTorch's (NCHW).

    The weights are views of the module's own memory, not copies, and read-only: what changes in place there changes in
    the graph. (A compiled network has packed copies and does not change.) Nodes are called like the submodules that
    they come from. Raises `ModelError`, with every op that is not supported.
    """
    program = capture(module, example, batch)
    return lower(program, name=_identifier(type(module).__name__))


def lower(program: torch.export.ExportedProgram, *, name: str) -> Graph:
    """The graph of a captured module."""
    translation = _Translation(program)
    translation.run()
    lowering = translation.lowering
    return infer_shapes(Graph(name, tuple(lowering.inputs), tuple(lowering.nodes), translation.outputs))


@dataclass
class _Translation:
    """One walk over the nodes in order; problems are collected."""

    program: torch.export.ExportedProgram
    lowering: Lowering = field(default_factory=Lowering)
    values: dict[str, Value] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    outputs: tuple[str, ...] = ()

    def run(self) -> None:
        self._refuse_mutation()
        self._placeholders()
        skipped = patterns.recognise(self.program.graph)
        for node in calls(self.program):
            if node in skipped.inner:
                continue
            self._locate(node)
            arguments = [self.values.get(other.name) for other in _read(node, skipped)]
            if any(value is _BROKEN for value in arguments):
                self.values[node.name] = _BROKEN
                continue
            try:
                self.values[node.name] = self._translate(node, skipped)
            except (UnsupportedError, ShapeError) as error:
                self.problems.append(self._place(node) + str(error))
                self.values[node.name] = _BROKEN
        if self.problems:
            shown = self.problems[:MAX_LISTED]
            more = f"\n  and {len(self.problems) - MAX_LISTED} more" if len(self.problems) > MAX_LISTED else ""
            raise ModelError(
                "the module uses what cnngen does not support:\n  " + "\n  ".join(shown) + more,
                remedy="replace these parts, or leave them outside of what is compiled",
            )
        (end,) = (node for node in self.program.graph.nodes if node.op == "output")
        self._outputs(end.args[0])

    def _refuse_mutation(self) -> None:
        changed = {
            **self.program.graph_signature.buffers_to_mutate,
            **getattr(self.program.graph_signature, "user_inputs_to_mutate", {}),
            **getattr(self.program.graph_signature, "parameters_to_mutate", {}),
        }
        if changed:
            raise ModelError(
                f"the module writes to {', '.join(changed.values())}, and a compiled network has no state",
                remedy="let forward return the new value instead",
            )

    def _placeholders(self) -> None:
        kinds = torch.export.graph_signature.InputKind
        placeholders = {node.name: node for node in self.program.graph.nodes if node.op == "placeholder"}
        stored: dict[str, Any] = {**self.program.constants, **self.program.state_dict}
        for spec in self.program.graph_signature.input_specs:
            found = getattr(spec.arg, "name", "")
            if spec.kind != kinds.USER_INPUT:
                self.values[found] = stored.get(spec.target or "")
                continue
            node = placeholders.get(found)
            meta = node.meta.get("val") if node is not None else None
            if not isinstance(meta, torch.Tensor):
                self.values[found] = getattr(spec.arg, "value", meta)
                continue
            shape = _sizes(meta, found)
            self.values[found] = self.lowering.input(found, shape)

    def _translate(self, node: torch.fx.Node, skipped: patterns.Recognised) -> Value:
        if node in skipped.calls:
            function, given = skipped.calls[node]
            return function(self.lowering, **{name: self._value(value) for name, value in given.items()})
        if node.target is operator.getitem:
            return self._value(node.args[0])[node.args[1]]
        arguments = self._arguments(node)
        if all(map(is_constant, arguments.values())):
            return self._computed(node)
        handler = HANDLERS.get(key(node))
        if handler is None:
            raise UnsupportedError(f"{node.target} is not supported")
        schema = node.target._schema.arguments
        result = handler(self.lowering, arguments, {_plain(one.name): one.default_value for one in schema})
        _verify_result(node, result)
        return result

    def _computed(self, node: torch.fx.Node) -> Value:
        """The value of a node that no input reaches, by PyTorch itself."""
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda other: self.values[other.name])
        assert callable(node.target)
        with torch.no_grad():
            return node.target(*args, **kwargs)

    def _arguments(self, node: torch.fx.Node) -> dict[str, Value]:
        """By the names of the op's schema, defaults filled in."""
        if not isinstance(node.target, torch._ops.OpOverload):
            raise UnsupportedError(f"{node.target} is not supported")
        given = dict(zip((argument.name for argument in node.target._schema.arguments), node.args, strict=False))
        given.update(node.kwargs)
        arguments = {}
        for argument in node.target._schema.arguments:
            arguments[_plain(argument.name)] = self._value(given.get(argument.name, argument.default_value))
        return arguments

    def _value(self, argument: Any) -> Value:
        """An argument of a node with the values of other nodes in place of these."""
        if isinstance(argument, torch.fx.Node):
            return self.values[argument.name]
        if isinstance(argument, list | tuple):
            return [self._value(part) for part in argument]
        return argument

    def _outputs(self, results: Sequence[Any]) -> None:
        """The outputs of the network, in PyTorch's order of axes and each a tensor of its own."""
        lowering, names = self.lowering, list[str]()
        for result in results:
            value = self.values.get(getattr(result, "name", ""))
            if not isinstance(value, Tensor):
                raise ModelError(
                    f"output {len(names)} of the module does not depend on an input, or is no tensor",
                    remedy="let forward return tensors that it computes from its inputs",
                )
            lowering.path, lowering.hint = "", f"{value.name}/output"
            name = lowering.arranged(value, natural(value.rank))
            if name in names or any(name == tensor.name for tensor in lowering.inputs):
                name = lowering.add(Identity(), (name,), natural(value.rank)).name
            names.append(name)
        if not names:
            raise ModelError("the module returns nothing", remedy="let forward return a tensor")
        self.outputs = tuple(names)

    def _locate(self, node: torch.fx.Node) -> None:
        """Tell the lowering where the ops of this node come from."""
        self.lowering.path = _path(node)
        self.lowering.source = _line(node)
        self.lowering.hint = node.name

    def _place(self, node: torch.fx.Node) -> str:
        """For a line of the error's list: file and line, submodule, op."""
        parts = [str(_line(node) or ""), _path(node), str(node.target)]
        return ": ".join(dict.fromkeys(part for part in parts if part)) + ": "


def _plain(name: str) -> str:
    """An argument's name as a parameter of a handler."""
    return "x" if name == "self" else name


_BROKEN = object()
"""The value of a node that could not be translated, or that reads one."""


def _read(node: torch.fx.Node, skipped: patterns.Recognised) -> list[torch.fx.Node]:
    """The nodes whose values are needed for this one."""
    if node in skipped.calls:
        return [value for value in skipped.calls[node][1].values() if isinstance(value, torch.fx.Node)]
    return list(node.all_input_nodes)


def _verify_result(node: torch.fx.Node, result: Value) -> None:
    """Raise `UnsupportedError` where a result is not what PyTorch says: of another type, or by a defect."""
    expected = node.meta.get("val")
    results = result if isinstance(result, list | tuple) else [result]
    wanted = expected if isinstance(expected, list | tuple) else [expected]
    for value, meta in zip(results, wanted, strict=False):
        if not isinstance(value, Tensor) or not isinstance(meta, torch.Tensor):
            continue
        if meta.dtype != torch.float32:
            raise UnsupportedError(f"computes {str(meta.dtype).removeprefix('torch.')}, only float32 is supported")
        if tuple(meta.shape) != value.shape:
            raise UnsupportedError(f"gives {value.shape} here and {tuple(meta.shape)} in PyTorch: a defect of cnngen")


def _sizes(meta: torch.Tensor, name: str) -> tuple[int, ...]:
    if not all(isinstance(size, int) for size in meta.shape):
        raise ModelError(
            f"input {name} has the sizes {list(meta.shape)}, which are not all known",
            remedy="export it without dynamic_shapes, or give the module and an example",
        )
    if meta.dtype != torch.float32:
        raise ModelError(
            f"input {name} is {meta.dtype}, networks take float32", remedy="convert it in front of the module"
        )
    return tuple(meta.shape)


def _path(node: torch.fx.Node) -> str:
    """Of the innermost submodule that the node comes from; empty for the module itself."""
    stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def _line(node: torch.fx.Node) -> Source | None:
    """The innermost line of the user's code that the node comes from."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    own = [(file, line) for file, line in frames if not file.startswith(TORCH_FOLDER)]
    return Source(own[-1][0], int(own[-1][1])) if own else None


def _identifier(name: str) -> str:
    """A network name from that of a class."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "network"


__all__ = ["CnngenError", "load_module", "lower"]
