"""The examples run, and the notebook shows what it computes."""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cnngen.backends.cpu.target import host_isas
from cnngen.ops.conv2d import Conv2D, convolve

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "convolution.ipynb"
SMALL = 150_000
"""Bytes of the notebook with its pictures, at most."""


def check_module() -> ModuleType:
    """`examples/convolution_check.py`, which is a script and no part of a package."""
    spec = importlib.util.spec_from_file_location("convolution_check", ROOT / "examples" / "convolution_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("isa", host_isas())
def test_the_convolution_is_the_formula(isa: str) -> None:
    check = check_module()
    arguments = check.data()
    ours, formula = check.by_cnngen(*arguments, isa=isa), check.by_formula(*arguments)
    assert ours.shape == formula.shape == (256, 24, 24, 3)
    assert 0 < np.abs(ours - formula).mean() <= check.LIMIT


def test_the_formula_is_a_convolution() -> None:
    """The naive loop against the reference, which is held against other libraries."""
    check = check_module()
    images, kernels, biases = check.data()
    expected = convolve(images.astype(np.float64), kernels.astype(np.float64), Conv2D(3, (5, 5))) + biases
    assert np.allclose(check.by_formula(images, kernels, biases), expected, rtol=0, atol=1e-13)


def test_the_script_fails_where_cnngen_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    check = check_module()
    assert check.main() == 0
    right = check.by_cnngen
    monkeypatch.setattr(check, "by_cnngen", lambda *arguments: right(*arguments) + np.float32(1e-6))
    assert check.main() == 1


def texts(notebook: Any) -> list[str]:
    """What each code cell prints."""
    return [
        "".join(output["text"] for output in cell["outputs"] if output["output_type"] == "stream")
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def pictures(notebook: Any) -> list[int]:
    """How many pictures each code cell shows, after a look whether each is one."""
    counts = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            shown = [output["data"]["image/png"] for output in cell["outputs"] if "image/png" in output.get("data", {})]
            assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in shown)
            counts.append(len(shown))
    return counts


def notebook_tools() -> tuple[Any, Any]:
    """nbformat and nbclient. Skips the test where a notebook cannot be run."""
    for module in ("matplotlib", "ipykernel"):
        pytest.importorskip(module, reason=f"{module} is not installed; the extra 'examples' brings it")
    return tuple(
        pytest.importorskip(module, reason=f"{module} is not installed; the extra 'examples' brings it")
        for module in ("nbformat", "nbclient")
    )


def test_the_notebook_runs_and_shows_what_it_computes(request: pytest.FixtureRequest) -> None:
    nbformat, nbclient = notebook_tools()
    committed = nbformat.read(NOTEBOOK, as_version=4)
    executed = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        executed,
        timeout=120,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": NOTEBOOK.parent}},
    )
    client.execute()  # raises CellExecutionError where an assertion of the notebook fails
    if request.config.getoption("--update-golden"):
        for cell in executed["cells"]:
            for output in cell.get("outputs", ()):
                output.get("data", {}).pop("text/plain", None)
        executed["metadata"]["language_info"] = {"name": "python"}
        nbformat.write(executed, NOTEBOOK)
        committed = nbformat.read(NOTEBOOK, as_version=4)
    assert texts(executed) == texts(committed)
    assert pictures(executed) == pictures(committed)
    assert sum(pictures(committed)) == 6
    assert NOTEBOOK.stat().st_size < SMALL


def test_the_notebook_does_not_run_if_the_arithmetic_is_wrong() -> None:
    """Its assertions are asked: with a wrong bias, the convolution is not the formula's."""
    nbformat, nbclient = notebook_tools()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    last = next(n for n, cell in enumerate(notebook["cells"]) if "mean absolute error" in cell["source"])
    notebook["cells"] = notebook["cells"][: last + 1]
    assert "bias=u)" in notebook["cells"][last]["source"]
    notebook["cells"][last]["source"] = notebook["cells"][last]["source"].replace("bias=u)", "bias=u + 1e-6)")
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": NOTEBOOK.parent}})
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="AssertionError"):
        client.execute()
