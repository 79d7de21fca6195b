"""The JSON Schema of the spec language, generated from the models, so that editors complete and check specs.

``python -m cnngen.frontends.schema`` writes it beside the shipped specs.
"""

from __future__ import annotations

import json
from typing import Any

from cnngen.frontends.activations import activation_schema
from cnngen.frontends.layers import LAYERS
from cnngen.frontends.spec_models import Spec
from cnngen.resources import specs_folder

FILE_NAME = "cnngen.schema.json"
Schema = dict[str, Any]


def json_schema() -> Schema:
    """The schema of a spec, JSON Schema 2020-12."""
    schema = Spec.model_json_schema()
    definitions: Schema = schema.setdefault("$defs", {})
    for kind, layer in LAYERS.items():
        definitions[kind] = layer.model_json_schema()
        if "activation" in layer.model_fields:
            definitions[kind]["properties"]["activation"] |= activation_schema()
        definitions[f"{kind} in a block"] = _with_expressions(definitions[kind])
    definitions["Expression"] = {
        "type": "string",
        "pattern": r"\$[A-Za-z_]",
        "description": "Arithmetic over block parameters, such as $filters * 4",
    }
    definitions["Layer"] = _layer_entry("")
    definitions["BlockLayer"] = _layer_entry(" in a block")
    schema["properties"]["layers"]["items"] = {"$ref": "#/$defs/Layer"}
    definitions["Block"]["properties"]["layers"]["items"] = {"$ref": "#/$defs/BlockLayer"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_without_titles(schema)}


def text() -> str:
    """The schema as the file holds it."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def _without_titles(schema: Any) -> Any:
    """`schema` without the titles that Pydantic makes of the names, which say nothing more."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _without_titles(value) for key, value in schema.items() if key != "title" or isinstance(value, dict)}


def _layer_entry(suffix: str) -> Schema:
    """``flatten``, ``conv2d: {...}``, or the use of a block, whose parameters are not checked here."""
    fields = {
        kind: {"anyOf": [{"$ref": f"#/$defs/{kind}{suffix}"}, {"type": "null"}]}
        if not LAYERS[kind].model_json_schema().get("required")
        else {"$ref": f"#/$defs/{kind}{suffix}"}
        for kind in LAYERS
    }
    alone = [kind for kind in LAYERS if not LAYERS[kind].model_json_schema().get("required")]
    return {
        "anyOf": [
            {"enum": alone},
            {"type": "string", "not": {"enum": list(LAYERS)}, "description": "A block without arguments"},
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "properties": fields,
                "additionalProperties": {"type": ["object", "null"], "description": "The use of a block"},
            },
        ]
    }


def _with_expressions(schema: Any) -> Any:
    """`schema` with an expression allowed wherever a single value or a list is."""
    if isinstance(schema, list):
        return [_with_expressions(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {
        key: {name: _with_expressions(value) for name, value in item.items()}
        if key == "properties"
        else _with_expressions(item)
        if key in ("anyOf", "oneOf", "items", "additionalProperties")
        else item
        for key, item in schema.items()
    }
    if schema.get("type") == "object" or "anyOf" in schema or "oneOf" in schema or schema.get("type") == "null":
        return inner
    if "type" not in schema and "enum" not in schema and "const" not in schema:
        return inner
    kept = {key: inner.pop(key) for key in ("default", "description", "title") if key in inner}
    return {"anyOf": [inner, {"$ref": "#/$defs/Expression"}], **kept}


if __name__ == "__main__":
    path = specs_folder() / FILE_NAME
    path.write_text(text(), encoding="utf-8")
    print(f"wrote {path}")
