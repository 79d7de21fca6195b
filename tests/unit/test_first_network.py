"""docs/first_network.md: what it shows and says is what happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import cnngen
from cnngen.cli import app

DOCUMENT = (Path(__file__).parents[2] / "docs" / "first_network.md").read_text(encoding="utf-8")
(SPEC,) = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
BLOCKS: dict[str, str] = dict(re.findall(r"^```python\n# (.*?)\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL))
"""Python shown, by the comment in its first line."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nothing but the spec; the current one."""
    (tmp_path / "digits.yaml").write_text(SPEC, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_table_shown_is_the_beginning_of_what_inspect_prints(folder: Path) -> None:
    (shown,) = re.findall(r"^```text\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    done = CliRunner().invoke(app, ["inspect", "digits.yaml"], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    printed = [line.rstrip() for line in done.output.splitlines()]
    assert printed[: len(shown.splitlines())] == [line.rstrip() for line in shown.splitlines()]
    assert "10 /2" in done.output


def test_verify_passes_with_the_number_of_lines_that_is_said(folder: Path) -> None:
    with cnngen.compile("digits.yaml") as net:
        report = cnngen.verify(net)
    assert report.ok
    said = {6: "The table has six lines for nine layers", 7: "without AVX2 the maxima have a line of their own"}
    assert said[len(report.layers)] in DOCUMENT
    assert len(cnngen.load_graph("digits.yaml").nodes) == 9


def test_the_python_that_runs_it(folder: Path) -> None:
    names: dict[str, Any] = {}
    exec(BLOCKS["any: run"], names)
    assert np.allclose(names["scores"].sum(), 1)
    assert "# (5, 10)" in DOCUMENT
    with cnngen.compile("digits.yaml") as net:
        assert net(names["images"]).shape == (5, 10)
        assert net(names["image"]).shape == (10,)


def test_the_other_programs_are_run_where_pytorch_is() -> None:
    assert set(BLOCKS) == {"any: run", "PyTorch: train_digits.py", "PyTorch: compare", "Keras: train_digits_keras.py"}
