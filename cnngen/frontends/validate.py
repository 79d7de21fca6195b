"""Checks values from YAML against a model, and says in our form what does not fit and on which line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cnngen.errors import Source, SpecError, brief
from cnngen.frontends.fields import FieldError, shown
from cnngen.frontends.suggest import suggestion
from cnngen.frontends.yaml_reader import YamlMap, line_of

M = TypeVar("M", bound=BaseModel)
Details = Any
"""Pydantic's `ErrorDetails`."""


MISSING = {
    "cnngen": "add `cnngen: 1`",
    "input": "add for example `input: {shape: [28, 28, 1]}`",
    "weights": "add `weights: random`, or `weights: {file: ..., format: ...}`",
    "format": "add `format: keras` or `format: torch`",
}
"""What to write for a key that is missing, where that is known."""


def validate(model: type[M], values: YamlMap, file: str, layer: str | None = None) -> M:
    """`values` as a `model`; raises `SpecError` at the line of the first field that does not fit."""
    try:
        with _without_plugins():
            return model.model_validate(values)
    except ValidationError as error:
        details = min(error.errors(), key=_urgency)
        path = _path(details["loc"], values)
        problem, remedy = _explain(details, path, model)
        line = line_of(values, path, values.line)
        raise SpecError(problem, remedy=remedy, source=Source(file, line), layer=layer) from None


@contextmanager
def _without_plugins() -> Iterator[None]:
    """Our models are built on first use; Pydantic would search all installed packages for plugins then."""
    name = "PYDANTIC_DISABLE_PLUGINS"
    if name in os.environ:
        yield
        return
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name, None)


def _urgency(details: Details) -> int:
    """An unknown key comes first: it often explains a missing one."""
    return {"extra_forbidden": 0, "value_error": 1, "missing": 2}.get(details["type"], 1)


def _path(location: tuple[int | str, ...], values: Any) -> tuple[int | str, ...]:
    """The steps of `location` that exist in the file; Pydantic adds some of its own for unions."""
    path: list[int | str] = []
    value = values
    for step in location:
        inside_map = isinstance(value, dict) and step in value
        inside_list = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if inside_map or inside_list:
            path.append(step)
            value = value[step]
    return tuple(path)


def _explain(details: Details, path: tuple[int | str, ...], model: type[BaseModel]) -> tuple[str, str | None]:
    """The problem and its remedy."""
    place, context, kind = _spell(path), details.get("ctx", {}), details["type"]
    given = shown(details["input"])
    match kind:
        case "extra_forbidden":
            known = _known_keys(model, path[:-1])
            return f"unknown key {brief(str(path[-1]))!r}", suggestion(str(path[-1]), known, "known keys are")
        case "missing":
            key = details["loc"][-1]
            return f"the key {key!r} is missing{f' in {place}' if place else ''}", MISSING.get(
                str(key), f"add `{key}:`"
            )
        case "value_error" if isinstance(context.get("error"), FieldError):
            refusal = context["error"]
            problem = refusal.problem if refusal.problem.startswith("unknown") or not place else None
            return problem or f"{place} {refusal.problem}", refusal.remedy
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            [(relation, limit)] = context.items()
            words = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}
            return f"{place} is {given}, but must be {words[relation]} {limit}", None
        case "finite_number":
            return f"{place} is {given}, but must be a finite number", None
        case "float_type":
            return f"{place} must be a number, not {given}", None
        case "int_type":
            return f"{place} must be a whole number, not {given}", "write digits only"
        case "bool_type":
            return f"{place} must be true or false, not {given}", "write true or false"
        case "string_type":
            return f"{place} must be text, not {given}", "put it in quotes"
        case "literal_error":
            return f"{place} is {given}, but must be {context['expected']}", None
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"{place or 'this'} must be a mapping, not {given}", "write `key: value` pairs below it"
        case "list_type" | "tuple_type":
            return f"{place} must be a list, not {given}", None
        case "too_short":
            return f"{place} is empty", "give at least one entry"
        case _:
            return f"{place} {details['msg']}", None


def _spell(path: tuple[int | str, ...]) -> str:
    """``input.shape[2]``."""
    text = "".join(f"[{step + 1}]" if isinstance(step, int) else f".{brief(step)}" for step in path)
    return text.removeprefix(".")


def _known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Keys of the model that `path` leads to from `model`, found through its JSON Schema."""
    root = model.model_json_schema(by_alias=True)
    here: list[dict[str, Any]] = _alternatives(root, root)
    for step in path:
        below = [
            schema["properties"].get(step) or schema.get("additionalProperties")
            if "properties" in schema
            else schema.get("additionalProperties")
            for schema in here
        ]
        here = [option for schema in below if isinstance(schema, dict) for option in _alternatives(schema, root)]
    return [key for schema in here for key in schema.get("properties", {})]


def _alternatives(schema: dict[str, Any], root: dict[str, Any]) -> list[dict[str, Any]]:
    """The object schemas that `schema` allows."""
    if "$ref" in schema:
        return _alternatives(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    options = [*schema.get("anyOf", []), *schema.get("oneOf", [])]
    return [schema] if not options else [one for option in options for one in _alternatives(option, root)]
