"""The generated C under AddressSanitizer and UndefinedBehaviourSanitizer, and under strict warnings.

The network is built as a plain C program, as a user would: inputs, outputs and the arena come from
malloc in exactly the size that the header states, so that one float too far is seen. Beside LeNet the
networks are those of test_kernels.py, which hold every kernel in all its forms.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnngen import pipeline
from cnngen.backends.cpu.choices import Choices
from cnngen.backends.cpu.target import ISAS, host_isas
from cnngen.backends.sources import SourceTree
from cnngen.ir import Graph
from cnngen.passes import optimise
from cnngen.resources import specs_folder
from tests.differential import test_fused_pools, test_kernels
from tests.graphs import feed
from tests.native import RUNNABLE, WARNINGS, cc, native, planned, write_tree

SANITIZE = ("-g", "-O0", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
STRICT = ("-std=c11", *WARNINGS, "-fsyntax-only")


def lenet() -> Graph:
    return optimise(pipeline.load_graph(specs_folder() / "lenet.yaml"))


NETWORKS = {"lenet": lenet} | {name: make for name, make in test_kernels.NETWORKS.items() if name != "widths1"}


def program(tree: SourceTree, graph: Graph) -> str:
    """A C program that reads the inputs from a file, runs the network and writes the outputs."""
    sizes_in = [tensor.type.elements for tensor in graph.inputs]
    sizes_out = [graph.types[name].elements for name in graph.outputs]
    lines = ["#include <stdio.h>", "#include <stdlib.h>", f'#include "{tree.name}.h"', ""]
    lines += ["int main(int count, char **files)", "{", "    if (count != 3) return 2;"]
    lines += ['    FILE *in = fopen(files[1], "rb"), *out = fopen(files[2], "wb");', "    if (!in || !out) return 3;"]
    names = []
    for kind, sizes in (("x", sizes_in), ("y", sizes_out)):
        for index, size in enumerate(sizes):
            names.append(f"{kind}{index}")
            lines.append(f"    float *{names[-1]} = malloc({size} * sizeof(float));")
    for index, size in enumerate(sizes_in):
        lines.append(f"    if (fread(x{index}, sizeof(float), {size}, in) != {size}) return 4;")
    # aligned_alloc wants a multiple of the alignment, which the arena's size is.
    lines.append(f"    size_t bytes = {tree.name}_arena_size();")
    lines.append("    void *arena = aligned_alloc(64, bytes ? bytes : 64);")
    lines.append(f"    {tree.name}_run({', '.join(names)}, arena);")
    for index, size in enumerate(sizes_out):
        lines.append(f"    fwrite(y{index}, sizeof(float), {size}, out);")
    lines += [f"    free({name});" for name in names]
    lines += ["    free(arena);", "    fclose(in);", "    return fclose(out);", "}", ""]
    return "\n".join(lines)


@pytest.mark.parametrize("isa", host_isas())
@pytest.mark.parametrize("name", NETWORKS)
def test_a_program_with_the_network_runs_clean(name: str, isa: str, tmp_path: Path) -> None:
    run_sanitized(NETWORKS[name](), isa, tmp_path)


@pytest.mark.parametrize("isa", [isa for isa in host_isas() if isa != "scalar"])
@pytest.mark.parametrize("which", ["channels", "planes"])
def test_convolutions_along_the_height_run_clean(which: str, isa: str, tmp_path: Path) -> None:
    """With pooling, on many channels and on one, planes between them; and nothing for an optimiser to warn about."""
    graph = test_fused_pools.networks(5, 4)[which == "planes"]
    choices = test_fused_pools.forced(graph, 4)
    run_sanitized(graph, isa, tmp_path, choices)
    with native(graph, isa, flags=("-Werror",), fast=True, choices=choices) as net:
        assert net.isa == isa


def run_sanitized(graph: Graph, isa: str, folder: Path, choices: Choices | None = None) -> None:
    """Build the graph, as it is, as a program with sanitizers; run it, and compare with the ordinary build.

    With `choices` numerics are fast.
    """
    options: dict[str, Any] = {"fast": True, "choices": choices} if choices else {}
    tree = pipeline.sources(planned(graph, isa, **options))
    write_tree(tree, folder)
    (folder / "main.c").write_text(program(tree, graph))
    flags = ("-std=c11", *SANITIZE, *tree.flags, "-ffp-contract=off", "-I.")
    cc(folder, *flags, "main.c", *tree.units, "-lm", "-o", "main")
    x = feed(graph, "random")
    rng = np.random.default_rng(0)
    for array in x.values():  # a few numbers that conversions and tables of functions must not trip over
        np.put(array, rng.integers(array.size, size=2), [np.nan, -np.inf])
    np.concatenate([x[tensor.name].reshape(-1) for tensor in graph.inputs]).tofile(folder / "in")
    done = subprocess.run(
        [folder / "main", "in", "out"],
        cwd=folder,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    got = np.fromfile(folder / "out", np.float32)
    with native(graph, isa, flags=("-O1",), **options) as net:
        results = net(x)
    expected = [results] if len(graph.outputs) == 1 else results
    assert np.array_equal(got, np.concatenate([y.reshape(-1) for y in expected]), equal_nan=True)


def test_the_sanitizer_would_see_one_float_too_far(tmp_path: Path) -> None:
    """The check above checks something: an arena that is one line too short stops the program."""
    graph = lenet()
    tree = pipeline.sources(planned(graph, "scalar"))
    write_tree(tree, tmp_path)
    short = program(tree, graph).replace("lenet_arena_size();", "lenet_arena_size() - 64;")
    (tmp_path / "main.c").write_text(short)
    cc(tmp_path, "-std=c11", *SANITIZE, "-I.", "main.c", *tree.units, "-lm", "-o", "main")
    np.zeros(28 * 28, np.float32).tofile(tmp_path / "in")
    done = subprocess.run(
        [tmp_path / "main", "in", "out"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", list(ISAS))
def test_generated_c_compiles_without_a_warning(isa: str, threads: int, tmp_path: Path) -> None:
    """Also for an ISA that this machine lacks."""
    for name, make in NETWORKS.items():
        tree = pipeline.sources(planned(make(), isa, threads))
        folder = tmp_path / name
        write_tree(tree, folder)
        # The number of threads changes only the unit that calls the steps.
        units = (unit for unit in tree.units if unit.endswith(".c") and (threads == 1 or "_steps_" not in unit))
        cc(folder, *STRICT, *tree.flags, "-I.", *units)


@pytest.mark.parametrize("isa", RUNNABLE)
def test_optimisers_find_nothing_to_warn_about(isa: str) -> None:
    """With the flags of every build: what is used uninitialised or out of bounds is only seen at this level."""
    with native(lenet(), isa, flags=("-Werror",)) as net:
        assert net.isa == isa


def test_the_header_is_c_plus_plus_as_well(tmp_path: Path) -> None:
    tree = pipeline.sources(planned(lenet(), "scalar"))
    write_tree(tree, tmp_path)
    (tmp_path / "use.cpp").write_text('#include "lenet.h"\nsize_t bytes() { return lenet_arena_size(); }\n')
    cc(tmp_path, "-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "use.cpp")
