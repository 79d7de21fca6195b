"""The entries of a list of layers, and the block definitions that consist of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnngen.errors import Source, SpecError, brief
from cnngen.frontends import expressions
from cnngen.frontends.fields import MAX_NAME
from cnngen.frontends.layers import LAYERS, Common
from cnngen.frontends.spec_models import BLOCK_INPUT, INPUT_CHANNELS, Block
from cnngen.frontends.suggest import suggestion
from cnngen.frontends.yaml_reader import Expression, YamlList, YamlMap


@dataclass(frozen=True)
class Entry:
    """One entry of a list of layers, ``- kind: {fields}``: a layer or the use of a block."""

    kind: str
    fields: YamlMap
    line: int


@dataclass(frozen=True)
class Library:
    """The blocks of a spec: their models, and their layers as they stand in the file."""

    file: str
    blocks: Mapping[str, Block]
    layers: Mapping[str, YamlList]

    def entries(self, layers: YamlList) -> list[Entry]:
        """The items of a list of layers; raises `SpecError` for what is no layer or an unknown one."""
        return [self._entry(value, line) for value, line in zip(layers, layers.lines, strict=True)]

    def keys(self, kind: str) -> list[str]:
        """The keys that a layer or block of this kind takes."""
        if kind in LAYERS:
            return list(LAYERS[kind].model_fields)
        return [*self.blocks[kind].parameters, *Common.model_fields]

    def check(self, lines: Mapping[str, int]) -> None:
        """Check what can be known of the blocks before they are used: kinds, keys and parameters.

        `lines` says where each is defined. Raises `SpecError`.
        """
        for name, block in self.blocks.items():
            if name in LAYERS or name == BLOCK_INPUT:
                problem = f"the block {name!r} is called like a layer"
                raise self._error(problem, "choose another name", lines[name])
            if len(name) > MAX_NAME:
                problem = f"the block {brief(name)!r} has a name of {len(name):,} characters"
                raise self._error(problem, f"use at most {MAX_NAME}", lines[name])
            known = {**block.parameters, INPUT_CHANNELS: None}
            for entry in self.entries(self.layers[name]):
                allowed = dict.fromkeys(self.keys(entry.kind))
                for key in entry.fields:
                    if key not in allowed:
                        remedy = suggestion(key, allowed, "known keys are")
                        raise self._error(f"unknown key {brief(key)!r}", remedy, entry.fields.lines[key], name)
                self._check_parameters(entry.fields, known, name, entry.line)

    def substitute(self, entry: Entry, variables: Mapping[str, Any]) -> Entry:
        """`entry` with every expression in its fields replaced by its value."""

        def visit(value: Any, line: int) -> Any:
            if isinstance(value, YamlMap):
                mapping = YamlMap(value.line)
                for key, item in value.items():
                    mapping.put(key, visit(item, value.lines[key]), value.lines[key])
                return mapping
            if isinstance(value, YamlList):
                sequence = YamlList(value.line)
                for item, item_line in zip(value, value.lines, strict=True):
                    sequence.put(visit(item, item_line), item_line)
                return sequence
            if not isinstance(value, Expression):
                return value
            try:
                return expressions.evaluate(value, variables)
            except expressions.ExpressionError as error:
                remedy = "see docs/spec_language.md for what an expression may hold"
                raise self._error(f"`{brief(value)}`: {error}", remedy, line, entry.kind) from None

        return Entry(entry.kind, visit(entry.fields, entry.line), entry.line)

    def _entry(self, value: Any, line: int) -> Entry:
        kind, fields = value, None
        if isinstance(value, YamlMap) and len(value) == 1:
            [(kind, fields)] = value.items()
        elif isinstance(value, YamlMap) and value:
            first = brief(next(iter(value)))
            problem = f"a layer is one key, this has {len(value)}: {brief(', '.join(list(value)[:6]))}"
            remedy = f"indent its fields below `{first}:`, or write `{first}: {{...}}`"
            if all(key in LAYERS or key in self.blocks for key in value):
                remedy = "begin each layer with `- `"
            raise self._error(problem, remedy, line)
        if not isinstance(kind, str):
            raise self._error("this is no layer", "write for example `- conv2d: {filters: 6, kernel: 5}`", line)
        if kind not in LAYERS and kind not in self.blocks:
            remedy = suggestion(kind, [*LAYERS, *self.blocks], "layers are")
            raise self._error(f"unknown layer {brief(kind)!r}", remedy, line)
        if fields is not None and not isinstance(fields, YamlMap):
            problem = f"the fields of {kind} must be a mapping, not {brief(str(fields))!r}"
            raise self._error(problem, f"write `{kind}: {{key: value}}`", line)
        return Entry(kind, YamlMap(line) if fields is None else fields, line)

    def _check_parameters(self, value: Any, known: Mapping[str, Any], block: str, line: int) -> None:
        """Raise `SpecError` where an expression within `value` mentions a parameter that is not `known`."""
        if isinstance(value, YamlMap):
            for key, item in value.items():
                self._check_parameters(item, known, block, value.lines[key])
        elif isinstance(value, YamlList):
            for item, item_line in zip(value, value.lines, strict=True):
                self._check_parameters(item, known, block, item_line)
        elif isinstance(value, Expression):
            for name in expressions.parameters_in(value):
                if name not in known:
                    remedy = suggestion(name, known, "its parameters are")
                    raise self._error(f"${brief(name)} is no parameter of the block", remedy, line, block)

    def _error(self, problem: str, remedy: str, line: int, layer: str | None = None) -> SpecError:
        return SpecError(problem, remedy=remedy, source=Source(self.file, line), layer=layer)
