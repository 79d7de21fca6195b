"""Many networks in one compilation of the CUDA emulation: what takes the time is g++ reading the standard headers.

All networks of a group that have one precision make one library. Its unit includes the sources of each as
`cnngen.compile` prints them. Each network comes twice: with the blocks of a grid and the threads of a block run
first to last, and last to first.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from cnngen import pipeline
from cnngen.backends.cpu import loader, toolchain
from cnngen.backends.cpu.compiler import find_compiler
from cnngen.backends.cuda.plan import plan_graph
from cnngen.backends.cuda.target import EMULATED, PRECISIONS, resolve
from cnngen.backends.sources import SourceTree
from cnngen.interface import Interface, Stages
from cnngen.ir import Array, Graph
from cnngen.network import Network
from cnngen.passes import optimise
from tests.fuzz.variant import BuildWarningError, Variant

CUDA = tuple(f"{EMULATED} {precision}" for precision in PRECISIONS)
"""What stands for an ISA: the emulation with one precision."""
HEADERS = ("device.cuh", "activations.cuh", "emulation.h")
"""What every network has alike."""
WAYS = {"first to last": False, "last to first": True}
"""The order of blocks and threads, and whether it is backwards."""
_KERNEL = re.compile(r"^(\w+__\w+)\(", re.MULTILINE)


def build(
    graphs: Sequence[tuple[int, int, Graph]], isa: str, folder: Path, *, flags: Sequence[str] = ()
) -> list[Variant]:
    """Compile graphs, each with the number of its network and its batch size; `flags` go behind all others.

    Raises `CnngenError` where one cannot be planned or built, and `BuildWarningError` where the compiler warns.
    """
    precision = isa.removeprefix(EMULATED).strip()
    files: dict[str, str] = {}
    blobs: dict[str, Array] = {}
    lines: list[str] = []
    weights: list[str] = []
    plans = []
    tree: SourceTree | None = None
    for number, batch, graph in graphs:
        named = replace(optimise(graph), name=f"net{number}_b{batch}")
        plan = plan_graph(named, resolve("native", precision, emulated=True))
        tree = pipeline.sources(plan)
        files |= {name if name in HEADERS else f"{tree.name}/{name}": text for name, text in tree.files.items()}
        symbols = dict.fromkeys(_KERNEL.findall(tree.files[f"{tree.name}.cu"]))
        lines += [f"#define {symbol} {tree.name}_own_{symbol}" for symbol in symbols]
        lines += [f"namespace {tree.name}_host {{", f'#include "{tree.name}/{tree.name}_emulation.cpp"', "}"]
        lines += [f"#undef {symbol}" for symbol in (*symbols, "WEIGHTS", "PUBLIC", "CNNGEN_EMULATION")]
        blobs |= tree.blobs
        if tree.blobs:
            weights.append(tree.files[f"{tree.name}_weights.S"])
        plans.append((number, batch, plan, graph))
    assert tree is not None
    name = f"fuzz_{precision}"
    includes = ["#define CNNGEN_EMULATION", *(f'#include "{header}"' for header in HEADERS)]
    units = {f"{name}.cpp": "\n".join([*includes, *lines, ""])}
    if weights:
        units[f"{name}_weights.S"] = "\n".join(weights)
    whole = SourceTree(
        name,
        MappingProxyType(files | units),
        MappingProxyType(blobs),
        tuple(units),
        (*tree.flags, *flags),
        tree.links,
        tree.standard,
    )
    library = toolchain.build(whole, find_compiler(), folder, jobs=1)
    said = (folder / "build.log").read_text()
    if "warning:" in said:
        raise BuildWarningError(said[-4000:])
    variants = []
    for number, batch, plan, graph in plans:
        stages = Stages(graph, plan)
        loaded = loader.load(library, plan.name, len(plan.graph.inputs), len(plan.graph.outputs), checked=True)
        for way, backwards in WAYS.items():
            turned = in_order(loaded, library, plan.name, backwards)
            variants.append(Variant(number, batch, isa, way, Network(Interface.of(stages), turned, stages)))
    return variants


def in_order(loaded: loader.Library, path: Path, name: str, backwards: bool) -> loader.Library:
    """The same functions, with blocks and threads in the order asked for."""
    order = getattr(ctypes.CDLL(str(path)), f"{name}_order")

    def turned(function: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: object) -> None:
            order(backwards)
            function(*arguments)

        return run

    return loaded._replace(run=turned(loaded.run), run_steps=turned(loaded.run_steps))
