"""Many networks in few compilations: what takes the time is the compiler reading <immintrin.h>.

All networks of a group that are for one ISA make one library, whatever their batch sizes and numbers of threads.
Its unit includes the sources of each network as `cnngen.compile` prints them, and is built by the same function
with the same flags; what differs from a user's build is that the compiler sees several networks in one unit.
Kernels that have the same text for one and for two threads are compiled once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
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
from tests.fuzz.variant import BuildWarningError, Variant
from tests.native import target

THREADS = (1, 2)
SHARED = ("simd.h", "vector_math.h")
"""Headers that every network has alike."""
_FUNCTION = re.compile(r"^static .*?(\w+)\(", re.MULTILINE)


def build(
    graphs: Sequence[tuple[int, int, Graph]], isa: str, folder: Path, *, flags: Sequence[str] = ()
) -> list[Variant]:
    """Compile graphs, each with the number of its network and its batch size, for `isa`; `flags` go behind all others.

    Raises `CnngenError` where one cannot be planned or built, and `BuildWarningError` where the compiler warns.
    """
    group = _Group(f"fuzz_{isa.replace('-', '_').replace('.', '')}")
    plans = []
    for number, batch, graph in graphs:
        optimised = optimise(graph)
        one: SourceTree | None = None
        for threads in THREADS:
            named = replace(optimised, name=f"net{number}_b{batch}_t{threads}")
            plan = plan_graph(named, target(isa, threads))
            tree = pipeline.sources(plan)
            group.add(tree, one)
            one = one or tree
            plans.append((number, batch, threads, plan, graph))
    library = toolchain.build(group.tree(flags), find_compiler(), folder, jobs=1)
    said = (folder / "build.log").read_text()
    if "warning:" in said:
        raise BuildWarningError(said[-4000:])
    variants = []
    for number, batch, threads, plan, graph in plans:
        loaded = loader.load(library, plan.name, len(plan.graph.inputs), len(plan.graph.outputs))
        stages = Stages(graph, plan)
        way = f"{threads} thread{'s' if threads > 1 else ''}"
        variants.append(Variant(number, batch, isa, way, Network(Interface.of(stages), loaded, stages)))
    return variants


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

    def add(self, tree: SourceTree, before: SourceTree | None) -> None:
        """Add one network. Its kernels that are in `before`, too, word for word, are compiled once."""
        name = tree.name
        symbols: dict[str, str] = {}
        shared = []
        for path, text in tree.files.items():
            self.files[path if path in SHARED else f"{name}/{path}"] = text
            if path in SHARED:
                continue
            same = before is not None and path.startswith("kernels/") and before.files.get(path) == text
            owner = before.name if before is not None and same else name
            symbols |= dict.fromkeys(_FUNCTION.findall(text), owner)
            shared += [path] * same
        self.lines += [f"#define {symbol} {owner}_own_{symbol}" for symbol, owner in symbols.items()]
        for unit in tree.units:
            if not unit.endswith(".c"):
                continue
            for path in shared:
                self.files[f"{name}/{unit}"] = self.files[f"{name}/{unit}"].replace(f'#include "{path}"\n', "")
            self.lines.append(f'#include "{name}/{unit}"')
        self.lines += [f"#undef {symbol}" for symbol in (*symbols, "WEIGHTS", "PUBLIC")]
        self.flags |= dict.fromkeys(tree.flags)
        self.links |= dict.fromkeys(tree.links)
        self.blobs |= tree.blobs
        if tree.blobs:
            self.weights.append(tree.files[f"{name}_weights.S"])

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
