"""docs/spec_language.md is true: its examples load, and it mentions every layer and field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cnngen.frontends.layers import LAYERS, Common
from cnngen.frontends.spec_models import Spec, WeightsFile
from tests.specs import parse

DOCUMENT = (Path(__file__).parents[2] / "docs" / "spec_language.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_load(tmp_path: Path, example: str) -> None:
    assert len(parse(tmp_path, example).nodes) >= 2


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("model", [Spec, WeightsFile, Common])
def test_every_key_has_a_row(model: type) -> None:
    for key in model.model_fields:  # type: ignore[attr-defined]
        assert f"\n| `{key}` |" in DOCUMENT


@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_and_field_has_a_row(kind: str) -> None:
    rows = [line for line in DOCUMENT.splitlines() if re.match(rf"\|[^|]*`{kind}`[^|]*\|", line)]
    assert rows
    row = rows[0] + ("`kernel` `stride` `padding` `dilation` `ceil_mode`" if kind == "avg_pool" else "")
    for field in LAYERS[kind].model_fields.keys() - Common.model_fields.keys():
        assert f"`{field}`" in row, field
