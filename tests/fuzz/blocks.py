"""Blocks of a random network: a chain of layers whose fields may be arithmetic over parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from cnngen.ir import TensorType
from tests.fuzz.choices import Draw, one_in, pick
from tests.fuzz.document import Expression, Layer


@dataclass(frozen=True)
class Block:
    """A block that takes tensors of type `input`, and returns what it takes where it `passes`.

    `values` are its parameters; those in `defaults` may be left out.
    """

    name: str
    input: TensorType
    output: TensorType
    layers: tuple[Layer, ...]
    passes: bool
    values: dict[str, Any]
    defaults: frozenset[str]

    def arguments(self, draw: Draw) -> dict[str, Any]:
        """The parameters of one use: all that have no default, and some that have."""
        return {name: value for name, value in self.values.items() if name not in self.defaults or one_in(draw, 3)}


@dataclass
class Blocks:
    """The blocks of a network: `definitions` is what the spec says."""

    definitions: dict[str, Any] = field(default_factory=dict)
    known: list[Block] = field(default_factory=list)

    def reading(self, tensor: TensorType) -> list[Block]:
        return [block for block in self.known if block.input == tensor]

    def define(
        self,
        draw: Draw,
        entries: list[Any],
        source: TensorType,
        output: TensorType,
        layers: tuple[Layer, ...],
        passes: bool,
    ) -> Block:
        """A block of these layers, some of their fields turned into expressions."""
        values: dict[str, Any] = {}
        constants = {"input_channels": source.shape[-1]}
        body = []
        for entry in entries:
            if isinstance(entry, str):
                body.append(entry)
                continue
            [(kind, fields)] = entry.items()
            body.append(
                {kind: {key: _parametrised(draw, key, value, values, constants) for key, value in fields.items()}}
            )
        defaults = frozenset(name for name in values if one_in(draw, 3))
        definition: dict[str, Any] = {"layers": body}
        if values:
            required = [name for name in values if name not in defaults]
            definition = {
                "parameters": [*required, *({name: values[name]} for name in values if name in defaults)]
            } | definition
        name = f"block{len(self.known)}"
        self.definitions[name] = definition
        block = Block(name, source, output, layers, passes, values, defaults)
        self.known.append(block)
        return block


def _parametrised(draw: Draw, key: str, value: Any, values: dict[str, Any], constants: dict[str, int]) -> Any:
    """`value`, or an expression with that value, whose parameters go into `values`."""
    if key in ("name", "inputs") or not one_in(draw, 3):
        return value
    parameter = f"p{len(values)}"
    if isinstance(value, bool):
        values[parameter] = draw(st.integers(0, 9))
        test = f"${parameter} > 4" if (values[parameter] > 4) == value else f"not ${parameter} > 4"
        return Expression(test)
    if isinstance(value, int):
        forms = [
            (value, "${p}"),
            (value - 1, "${p} + 1"),
            (2 * value, "${p} // 2"),
            (3, f"{value} if ${{p}} == 3 else 1"),
            (value, "min(${p}, 1000) * 1"),
        ]
        forms += [(value // 2, "${p} * 2")] if value % 2 == 0 else []
        forms += [(value + 3, "max(${p} - 3, 0)")] if value >= 0 else []
        name, known = next(iter(constants.items()))
        forms += [(value - known, f"${name} + ${{p}}")]
        argument, form = pick(draw, *forms)
        values[parameter] = argument
        return Expression(form.replace("${p}", f"${parameter}"))
    values[parameter] = value
    return Expression(f"${parameter}")
