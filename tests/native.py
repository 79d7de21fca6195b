"""Native code for tests: planned graphs without passes, small C functions, and the ISAs to try.

net = native(graph, "avx2", threads=2)          # planned as it is, compiled quickly, loaded
functions = c_library(folder, source, flags)    # a ctypes library of a hand-made C file
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cnngen import pipeline
from cnngen.backends.cpu import loader
from cnngen.backends.cpu.choices import NO_CHOICES, Choices
from cnngen.backends.cpu.compiler import find_compiler
from cnngen.backends.cpu.plan import Plan, plan_graph
from cnngen.backends.cpu.target import EMULATED_SUFFIX, ISAS, Target, host_isas, resolve
from cnngen.backends.sources import SourceTree
from cnngen.cache import library
from cnngen.interface import Interface, Stages
from cnngen.ir import Graph
from cnngen.network import Network

RUNNABLE = (*host_isas(), *(f"{name}{EMULATED_SUFFIX}" for name in ISAS if name not in host_isas()))
"""Every ISA once: as itself where this machine runs it, else emulated."""
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")


def target(isa: str, threads: int = 1, *, fast: bool = False) -> Target:
    """The target `isa`, also one that this machine can only compile for.

    Without `fast` convolutions are plain sums, which integers make exact.
    """
    if isa in RUNNABLE or isa not in ISAS:
        return resolve(isa, threads, reproducible=not fast)
    return Target(ISAS[isa], threads, reproducible=not fast)


def planned(
    graph: Graph,
    isa: str,
    threads: int = 1,
    *,
    fast: bool = False,
    choices: Choices = NO_CHOICES,
    weight_storage: str = "fp32",
) -> Plan:
    """`graph` planned as it is: no pass sees it. `choices` force how layers are computed."""
    chosen = replace(target(isa, threads, fast=fast), choices=choices, weight_storage=weight_storage)
    return plan_graph(graph, chosen)


def native(
    graph: Graph,
    isa: str = "native",
    threads: int = 1,
    flags: Sequence[str] = (),
    *,
    fast: bool = False,
    choices: Choices = NO_CHOICES,
    weight_storage: str = "fp32",
) -> Network:
    """`graph` planned as it is, compiled (with `flags` behind all others) and loaded."""
    plan = planned(graph, isa, threads, fast=fast, choices=choices, weight_storage=weight_storage)
    tree = pipeline.sources(plan)
    tree = replace(tree, flags=(*tree.flags, *flags))
    path = library(tree, find_compiler())
    loaded = loader.load(path, tree.name, len(graph.inputs), len(graph.outputs))
    stages = Stages(graph, plan)
    return Network(Interface.of(stages), loaded, stages)


def write_tree(tree: SourceTree, folder: Path) -> None:
    """The files of `tree` on disk."""
    for name, text in tree.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, blob in tree.blobs.items():
        blob.tofile(folder / name)


def cc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the C compiler in `folder`; a failure shows what it said."""
    command = [*find_compiler().command, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done


def c_library(folder: Path, source: str, flags: Sequence[str] = ()) -> ctypes.CDLL:
    """A shared library of one C file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "functions.c").write_text(source, encoding="utf-8")
    cc(folder, "-std=c11", "-O1", "-ffp-contract=off", *WARNINGS, "-shared", "-fPIC", *flags,
       "functions.c", "-o", "functions.so", "-lm")  # fmt: skip
    return ctypes.CDLL(str(folder / "functions.so"))
