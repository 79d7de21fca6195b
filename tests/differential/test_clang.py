"""Clang takes the generated C as gcc does: without a warning, and with the same bits."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import cnngen
from cnngen import pipeline, resources
from cnngen.backends.cpu.compiler import find_compiler
from cnngen.backends.cpu.plan import plan_graph
from cnngen.backends.cpu.target import ISAS, Target, host_isas
from cnngen.backends.sources import SourceTree
from cnngen.errors import ToolchainError
from tests.guarded import everything
from tests.native import write_tree

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror")
COMPILERS = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"))
    for name in ("gcc", "clang")
]


@functools.cache
def tree_for(isa: str) -> SourceTree:
    return pipeline.sources(plan_graph(everything(), Target(ISAS[isa], threads=2)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_text_has_nothing_to_warn_of(compiler: str, isa: str, tmp_path: Path) -> None:
    """Every op case and example, also for ISAs that this machine cannot run."""
    tree = tree_for(isa)
    write_tree(tree, tmp_path)
    units = [unit for unit in tree.units if unit.endswith(".c")]
    # Without optimisation gcc's own intrinsics are macros that warn.
    command = [compiler, "-std=c11", "-O1", *WARNINGS, "-iquote.", *tree.flags, "-fsyntax-only", *units]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
@pytest.mark.parametrize("threads", [1, 2])
def test_clang_gives_the_bits_of_the_other_compiler(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_compiler().kind == "clang":
        pytest.skip("clang is the only compiler here")
    x = np.random.default_rng(0).random((1, 28, 28, 1), np.float32)
    found = []
    for compiler in (None, "clang"):
        if compiler:
            monkeypatch.setenv("CNNGEN_CC", compiler)
        try:
            net = cnngen.compile(resources.specs_folder() / "lenet.yaml", isa=host_isas()[-1], threads=threads)
        except ToolchainError as error:
            if compiler and "OpenMP" in str(error):
                pytest.skip(f"clang has no OpenMP here: {error.remedy}")
            raise
        with net:
            found.append(net(x).tobytes())
    assert found[0] == found[1]
