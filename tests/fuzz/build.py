"""Many networks in few compilations: what takes the time is the compiler reading <immintrin.h>.

All networks of a group that are for one ISA make one library, whatever their batch sizes and numbers of threads.
Its unit includes the sources of each network as `cnngen.compile` prints them, and is built by the same function
with the same flags; what differs from a user's build is that the compiler sees several networks in one unit. The
kernels of one and of two threads have the same text, which is checked, and are compiled once; what calls them is
compiled for both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from cnngen import pipeline
from cnngen.backends.cpu import loader, toolchain
from cnngen.backends.cpu.compiler import find_compiler
from cnngen.backends.cpu.plan import plan_graph
from cnngen.backends.sources import SourceTree
from cnngen.interface import Interface, Stages
from cnngen.ir import Array, Graph
from cnngen.network import Network
from cnngen.passes import optimise
from tests.native import target

THREADS = (1, 2)
SHARED = ("simd.h", "vector_math.h")
"""Headers that every network has alike."""
_FUNCTION = re.compile(r"^static .*?(\w+)\(", re.MULTILINE)


@dataclass(frozen=True)
class Variant:
    """One network for one batch size, ISA and number of threads, compiled and loaded."""

    network: int
    batch: int
    isa: str
    threads: int
    net: Network


class BuildWarningError(AssertionError):
    """The compiler had something to say about generated code."""


def build(
    graphs: Sequence[tuple[int, int, Graph]], isa: str, folder: Path, *, flags: Sequence[str] = ()
) -> list[Variant]:
    """Compile graphs, each with the number of its network and its batch size, for `isa`; `flags` go behind all others.

    Raises `CnngenError` where one cannot be planned or built, and `BuildWarningError` where the compiler warns.
    """
    group = _Group(f"fuzz_{isa.replace('-', '_').replace('.', '')}")
    plans = []
    for number, batch, graph in graphs:
        optimised = replace(optimise(graph), name=f"net{number}_b{batch}")
        trees = {}
        for threads in THREADS:
            plan = plan_graph(optimised, target(isa, threads))
            trees[threads] = pipeline.sources(plan)
            plans.append((number, batch, threads, plan, graph))
        group.add(trees)
    library = toolchain.build(group.tree(flags), find_compiler(), folder, jobs=1)
    said = (folder / "build.log").read_text()
    if "warning:" in said:
        raise BuildWarningError(said[-4000:])
    variants = []
    for number, batch, threads, plan, graph in plans:
        loaded = loader.load(library, _symbol(plan.name, threads), len(plan.graph.inputs), len(plan.graph.outputs))
        stages = Stages(graph, plan)
        variants.append(Variant(number, batch, isa, threads, Network(Interface.of(stages), loaded, stages)))
    return variants


def _symbol(name: str, threads: int) -> str:
    return name if threads == 1 else f"{name}_t{threads}"


class _Group:
    """Collects the sources of networks into one unit, and their weights into another."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: dict[str, str] = {}
        self.blobs: dict[str, Array] = {}
        self.lines: list[str] = []
        self.weights: list[str] = []
        self.flags: dict[str, None] = {}
        self.links: dict[str, None] = {}

    def add(self, trees: dict[int, SourceTree]) -> None:
        """Add one network, given its sources for each number of threads."""
        first, *others = trees.values()
        name = first.name
        for path, text in first.files.items():
            shared = "" if path in SHARED else f"{name}/"
            self.files[f"{shared}{path}"] = text
            if path != f"{name}.c":
                assert all(_body(tree.files[path]) == _body(text) for tree in others), f"{path} depends on the threads"
        for tree in trees.values():
            self.flags |= dict.fromkeys(tree.flags)
            self.links |= dict.fromkeys(tree.links)
            assert all((tree.blobs[path] == blob).all() for path, blob in first.blobs.items())
        own = "\n".join(text for path, text in first.files.items() if path not in SHARED and path != f"{name}.c")
        symbols = dict.fromkeys(_FUNCTION.findall(own))
        self.lines += [f"#define {symbol} {name}_{symbol}" for symbol in symbols]
        self.lines += [f'#include "{name}/{unit}"' for unit in first.units if "_steps_" in unit]
        self.lines += [f"#undef {symbol}" for symbol in symbols]
        for threads, tree in trees.items():
            self._main(name, threads, tree)
        self.blobs |= first.blobs
        if first.blobs:
            self.weights.append(first.files[f"{name}_weights.S"])

    def _main(self, name: str, threads: int, tree: SourceTree) -> None:
        """The functions that the caller sees, under a name of their own for each number of threads."""
        path = f"{name}/main_{threads}.c"
        self.files[path] = tree.files[f"{name}.c"]
        renamed = {"run_steps": f"{name}_t{threads}_inner"}
        if threads > 1:
            renamed |= {
                f"{name}_{part}": f"{_symbol(name, threads)}_{part}" for part in ("run", "run_steps", "arena_size")
            }
        self.lines += [f"#define {old} {new}" for old, new in renamed.items()]
        self.lines += [f'#include "{path}"']
        self.lines += [f"#undef {old}" for old in (*renamed, "WEIGHTS", "PUBLIC")]

    def tree(self, flags: Sequence[str]) -> SourceTree:
        """The sources of the whole group."""
        units = [f"{self.name}.c"]
        files = self.files | {units[0]: "\n".join([*self.lines, ""])}
        if self.weights:
            units.append(f"{self.name}_weights.S")
            files[units[1]] = "\n".join(self.weights)
        return SourceTree(
            self.name,
            MappingProxyType(files),
            MappingProxyType(self.blobs),
            tuple(units),
            (*self.flags, *flags),
            tuple(self.links),
        )


def _body(text: str) -> str:
    """Generated text without its first line, which names the number of threads."""
    return text.split("\n", 1)[1]


__all__ = ["THREADS", "BuildWarningError", "Variant", "build"]
