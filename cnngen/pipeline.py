"""The stages, one a line: from a source to a network that runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cnngen import cache as library_cache
from cnngen import frontends
from cnngen._version import __version__
from cnngen.backends.cpu import emit, loader
from cnngen.backends.cpu import target as cpu_target
from cnngen.backends.cpu.compiler import Compiler, find_compiler
from cnngen.backends.cpu.pack import pack
from cnngen.backends.cpu.plan import Plan, plan_graph
from cnngen.backends.sources import SourceTree
from cnngen.errors import SpecError, TargetError
from cnngen.ir import Graph
from cnngen.network import Network
from cnngen.passes import optimise
from cnngen.report.stages import write_stages

Source = str | Path | Graph

NUMERICS = ("fast", "reproducible")
SMALL_NETWORK_MACS = 2_000_000
"""Below it a barrier costs more than a second core saves."""


def compile(
    source: Source,
    *,
    weights: str | Path | None = None,
    target: str = "cpu",
    isa: str = "native",
    batch: int = 1,
    threads: int | None = None,
    numerics: str = "fast",
    precision: str = "fp32",
    tune: bool = False,
    build_dir: str | Path | None = None,
    cache: bool = True,
    name: str | None = None,
) -> Network:
    """Compile a network into native code and load it.

    `source`: path of a YAML spec, or a `Graph`. `weights`: a weight file instead of the spec's.
    `isa`: `scalar`, `avx2`, `avx512` or `native`, the best that this machine has. `batch`: images a
    native call. `threads`: default one for small networks, else all cores; results do not depend on
    it. `numerics`: `fast`, or `reproducible` for the same bits on every ISA with fused multiply-add.
    `build_dir`: a folder that gets every stage (graph, plan, C sources, command, log, library).
    `cache`: use and fill the cache of libraries. `name`: instead of the spec's.

    Raises `SpecError`, `WeightsError`, `TargetError` or `ToolchainError`, all of them `CnngenError`.
    """
    source_graph = load_graph(source, weights=weights, batch=batch, name=name)
    check_options(target, numerics, precision, tune)
    plan = plan_for(source_graph, isa=isa, threads=threads)
    compiler = find_compiler()
    tree = sources(plan)
    folder = Path(build_dir) if build_dir is not None else None
    library = build(plan, tree, compiler, folder=folder, use_cache=cache)
    loaded = loader.load(library, tree.name, len(plan.graph.inputs), len(plan.graph.outputs))
    return Network(plan, loaded, source_graph)


def load_graph(source: Source, *, weights: str | Path | None = None, batch: int = 1, name: str | None = None) -> Graph:
    """Read a network: a frozen `Graph` with all shapes inferred. Raises `SpecError` or `WeightsError`."""
    if batch < 1:
        raise SpecError(f"batch is {batch}", remedy="use 1 or more")
    graph = frontends.load(source, weights=Path(weights) if weights is not None else None, batch=batch)
    return replace(graph, name=name) if name else graph


def plan_for(graph: Graph, *, isa: str = "native", threads: int | None = None, run_here: bool = True) -> Plan:
    """Optimise and plan a graph for this machine's CPU or for `isa`.

    Raises `TargetError` for an ISA that this machine lacks, unless the code is not to `run_here`.
    """
    count = threads if threads is not None else default_threads(graph)
    return plan_graph(optimise(graph), cpu_target.resolve(isa, count, run_here=run_here))


def default_threads(graph: Graph) -> int:
    """One for a network too small to share out, else every core that this process may use."""
    macs = sum(node.op.cost(graph.input_types(node), graph.types[node.name]).macs for node in graph.nodes)
    return 1 if macs < SMALL_NETWORK_MACS else cpu_target.available_cores()


def sources(plan: Plan) -> SourceTree:
    """The C sources and packed weights of a plan."""
    return emit.emit(plan, pack(plan), __version__)


def build(
    plan: Plan, tree: SourceTree, compiler: Compiler, *, folder: Path | None = None, use_cache: bool = True
) -> Path:
    """The library of a source tree: from the cache, or compiled. `folder` gets every stage."""
    if folder is not None:
        write_stages(plan, tree, folder)
    return library_cache.library(tree, compiler, use_cache=use_cache, folder=folder)


def check_options(target_name: str, numerics: str, precision: str, tune: bool) -> None:
    if target_name != "cpu":
        raise TargetError(f"target {target_name!r} is not available in this version", remedy="use target='cpu'")
    if numerics not in NUMERICS:
        raise TargetError(f"unknown numerics {numerics!r}", remedy=f"use one of {', '.join(NUMERICS)}")
    if precision != "fp32":
        raise TargetError(f"precision {precision!r} is not available on the CPU", remedy="use precision='fp32'")
    if tune:
        raise TargetError("tuning is not available in this version", remedy="leave tune at False")
