"""The committed JSON Schema is current, accepts the shipped specs and refuses what the models refuse."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml

from cnngen.frontends.layers import LAYERS
from cnngen.frontends.schema import FILE_NAME, text
from cnngen.resources import specs_folder

PATH = specs_folder() / FILE_NAME


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(PATH.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_committed_schema_is_current() -> None:
    assert PATH.read_text(encoding="utf-8") == text(), "run `make docs`"


@pytest.mark.parametrize("name", sorted(path.name for path in specs_folder().glob("*.yaml")))
def test_shipped_specs_are_valid(validator: Any, name: str) -> None:
    source = (specs_folder() / name).read_text(encoding="utf-8")
    validator.validate(yaml.safe_load(source))
    assert source.startswith(f"# yaml-language-server: $schema={FILE_NAME}\n")


def spec(layers: str) -> Any:
    return yaml.safe_load(f"{{cnngen: 1, input: {{shape: [8, 8, 3]}}, weights: random, layers: {layers}}}")


@pytest.mark.parametrize(
    "layers",
    [
        "[conv2d: {filters: 4, kernel: [1, 2], padding: same}]",
        "[flatten, softmax, relu: ]",
        "[my_block, my_block: {n: 1}]",
        "[conv2d: {filters: 4, kernel: 3, activation: {leaky_relu: {alpha: 0.1}}}]",
        "[max_pool: {kernel: 2, name: x}]",
        "[add: {inputs: [a, b], activation: none}]",
        "[relu: {inputs: a, when: false, repeat: 3}]",
    ],
)
def test_valid(validator: Any, layers: str) -> None:
    validator.validate(spec(layers))


@pytest.mark.parametrize(
    "layers",
    [
        "[conv2d: {filters: 4}]",
        "[conv2d: {filters: 4, kernel: 3, stirde: 1}]",
        "[conv2d: {filters: 0, kernel: 3}]",
        "[]",
        "[conv2d: {filters: 4.5, kernel: 3}]",
        "[conv2d: {filters: 4, kernel: 3, padding: smae}]",
        "[conv2d]",
        "[5]",
        "[conv2d: {filters: 4, kernel: 3, activation: rleu}]",
        "[dense: {units: $n}]",
        "[dense: {units: 1}, dense: ]",
        "[{relu: , tanh: }]",
        "[conv2d: {filters: 4, kernel: 3, activation: {relu: {alpha: 1}}}]",
    ],
)
def test_invalid(validator: Any, layers: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(spec(layers))


def test_expressions_are_valid_in_blocks_only(validator: Any) -> None:
    layers = "[dense: {units: $n}, conv2d: {filters: $n * 4, kernel: [$n, 1], padding: $p, when: $n == 1}]"
    document = spec("[b]") | {"blocks": {"b": {"parameters": ["n", {"p": 1}], "layers": spec(layers)["layers"]}}}
    validator.validate(document)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(spec("[dense: {units: $n}]"))
    document["blocks"]["b"]["layers"][0]["dense"]["uints"] = 1
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(document)


@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_is_documented(kind: str) -> None:
    layer = LAYERS[kind]
    assert layer.__doc__
    assert "Becomes `ops." in layer.__doc__
    for name, field in layer.model_fields.items():
        assert field.description or name in ("alpha", "beta", "bias"), f"{kind}.{name}"
