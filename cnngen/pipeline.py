"""The stages, one a line: from a source to a network that runs.

Each function imports its stage when it is called: a network that comes from the cache needs none of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnngen import frontends, manifest
from cnngen.backends.cpu import loader
from cnngen.backends.cpu import target as cpu_target
from cnngen.backends.cpu.compiler import Compiler, find_compiler
from cnngen.errors import CacheError, SpecError, TargetError
from cnngen.frontends.record import Record
from cnngen.interface import Interface, Stages
from cnngen.ir import Graph
from cnngen.manifest import Known, Request
from cnngen.network import Network

if TYPE_CHECKING:
    from cnngen.backends import AnyPlan
    from cnngen.backends.cpu.plan import Plan
    from cnngen.backends.cuda.plan import CudaPlan
    from cnngen.backends.sources import SourceTree

Source = str | Path | Graph | frontends.Module

TARGETS = ("cpu", "cuda-emulated")
NUMERICS = ("fast", "reproducible")
SMALL_NETWORK_MACS = 2_000_000
"""Below it a barrier costs more than a second core saves."""


def compile(
    source: Source,
    example: Any = None,
    *,
    weights: str | Path | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    target: str = "cpu",
    isa: str = "native",
    batch: int | None = None,
    threads: int | None = None,
    numerics: str = "fast",
    precision: str = "fp32",
    tune: bool = False,
    build_dir: str | Path | None = None,
    cache: bool = True,
    name: str | None = None,
    strict: bool = False,
) -> Network:
    """Compile a network into native code and load it.

    `source`: path of a YAML spec or an ONNX model, a `Graph`, or a `torch.nn.Module` in eval mode, whose weights as
    they are now become part of the network. `example`: what a module takes: a tensor, an array, a shape, or a tuple
    of them (docs/pytorch.md). `weights`: a weight file instead of the spec's.
    `input_shapes`: shapes of inputs, batch included, that an ONNX model leaves open or that replace its own.
    `target`: `cpu`, or `cuda-emulated`: the CUDA kernels, run on this machine's CPU to check them.
    `isa`: `scalar`, `sse4.1`, `avx2`, `avx512` or `native`, the best that this machine has. `batch`: images a
    native call, by default 1, or those of the `example`. `threads`: default one for small networks, else all cores;
    results do not depend on it. `numerics`: `fast`, where 3x3 convolutions may be computed by
    Winograd's algorithm, or `reproducible`: plain sums, the same bits on every ISA with fused multiply-add.
    `build_dir`: a folder that gets every stage (graph, plan, C sources, command, log, library).
    `cache`: use and fill the cache of libraries. `name`: instead of the spec's.
    `strict`: weights that look wrong (NaN, infinity) are an error instead of a `WeightsWarning`.

    Raises `SpecError`, `WeightsError`, `ModelError`, `TargetError` or `ToolchainError`, all of them `CnngenError`.
    """
    check_options(target, numerics, precision, tune)
    asked = None
    if cache and target == "cpu":
        asked = manifest.ask(
            source,
            weights=weights,
            shapes=input_shapes,
            name=name,
            batch=batch or 1,
            isa=isa,
            threads=threads,
            numerics=numerics,
        )
    known = manifest.find(asked) if asked is not None and build_dir is None else None
    # A network that was compiled with a warning is read again where that may be an error.
    if asked is not None and known is not None and not (strict and known.warnings):
        return recall(asked, known)
    record = Record(digests=asked is not None, strict=strict)
    source_graph = load_graph(
        source, example=example, weights=weights, input_shapes=input_shapes, batch=batch, name=name, record=record
    )
    plan: AnyPlan
    if target == "cpu":
        plan = plan_for(source_graph, isa=isa, threads=threads, numerics=numerics)
    else:
        plan = cuda_plan_for(source_graph, target=target, isa=isa, precision=precision)
    compiler = find_compiler()
    tree = sources(plan)
    folder = Path(build_dir) if build_dir is not None else None
    library = build(plan, tree, compiler, folder=folder, use_cache=cache)
    stages = Stages(source_graph, plan)
    interface = Interface.of(stages)
    network = Network(interface, load(library, interface), stages)
    if asked is not None:
        manifest.keep(asked, record, Known(interface, library, tree.digest.hex(), record.warnings), compiler)
    return network


def recall(asked: Request, known: Known) -> Network:
    """The network that `asked` gave before, from the cache: loaded at once, its stages on demand."""
    for text, category in known.warnings:
        warnings.warn(text, category, stacklevel=3)
    return Network(known.interface, load(known.library, known.interface), partial(make_again, asked, known))


def make_again(asked: Request, known: Known) -> Stages:
    """The stages of a network that came from the cache. Raises `CacheError` where they give another one today."""
    spec, weights = asked.files()
    record = Record(digests=False, silent=True)
    source_graph = load_graph(
        spec, weights=weights, input_shapes=dict(asked.shapes), batch=asked.batch, name=asked.name, record=record
    )
    plan = plan_for(source_graph, isa=known.interface.isa, threads=known.interface.threads, numerics=asked.numerics)
    if sources(plan).digest.hex() != known.sources:
        raise CacheError(f"{spec}, its weights or cnngen have changed since it was compiled", remedy="compile it again")
    return Stages(source_graph, plan)


def load_graph(
    source: Source,
    example: Any = None,
    *,
    weights: str | Path | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    batch: int | None = None,
    name: str | None = None,
    record: Record | None = None,
) -> Graph:
    """Read a network: a frozen `Graph` with all shapes inferred. Raises `SpecError`, `WeightsError` or `ModelError`.

    `example` is for a `torch.nn.Module`, `input_shapes` for an ONNX model, see `compile`. `record` notes which files
    were read, and the warnings.
    """
    if batch is not None and batch < 1:
        raise SpecError(f"batch is {batch}", remedy="use 1 or more")
    file = Path(weights) if weights is not None else None
    graph = frontends.load(source, weights=file, example=example, batch=batch, input_shapes=input_shapes, record=record)
    return replace(graph, name=name) if name else graph


def plan_for(
    graph: Graph, *, isa: str = "native", threads: int | None = None, numerics: str = "fast", run_here: bool = True
) -> Plan:
    """Optimise and plan a graph for this machine's CPU or for `isa`.

    Raises `TargetError` for an ISA that this machine lacks, unless the code is not to `run_here`.
    """
    from cnngen.backends.cpu.plan import plan_graph
    from cnngen.passes import optimise

    count = threads if threads is not None else default_threads(graph)
    reproducible = numerics == "reproducible"
    return plan_graph(optimise(graph), cpu_target.resolve(isa, count, run_here=run_here, reproducible=reproducible))


def cuda_plan_for(graph: Graph, *, target: str, isa: str = "native", precision: str = "fp32") -> CudaPlan:
    """Optimise and plan a graph for a GPU, or for the emulation of one; `isa` lists architectures.

    Raises `TargetError` for an architecture or a precision that does not exist.
    """
    from cnngen.backends.cuda.plan import plan_graph
    from cnngen.backends.cuda.target import EMULATED, resolve
    from cnngen.passes import optimise

    return plan_graph(optimise(graph), resolve(isa, precision, emulated=target == EMULATED))


def default_threads(graph: Graph) -> int:
    """One for a network too small to share out, else every core that this process may use."""
    macs = sum(node.op.cost(graph.input_types(node), graph.types[node.name]).macs for node in graph.nodes)
    return 1 if macs < SMALL_NETWORK_MACS else cpu_target.available_cores()


def sources(plan: AnyPlan) -> SourceTree:
    """The sources and packed weights of a plan."""
    from cnngen import backends

    return backends.print_sources(plan)


def build(
    plan: AnyPlan, tree: SourceTree, compiler: Compiler, *, folder: Path | None = None, use_cache: bool = True
) -> Path:
    """The library of a source tree: from the cache, or compiled. `folder` gets every stage."""
    from cnngen import cache
    from cnngen.report.stages import write_stages

    if folder is not None:
        write_stages(plan, tree, folder)
    return cache.library(tree, compiler, use_cache=use_cache, folder=folder)


def load(library: Path, interface: Interface) -> loader.Library:
    """The functions of a library, in this process."""
    counts = len(interface.inputs), len(interface.outputs)
    return loader.load(library, interface.symbol, *counts, checked=interface.isa.startswith("cuda-emulated"))


def check_options(target_name: str, numerics: str, precision: str, tune: bool) -> None:
    """Raise `TargetError` for a target or an option that this version does not have."""
    if target_name not in TARGETS:
        raise TargetError(f"unknown target {target_name!r}", remedy=f"use one of {', '.join(TARGETS)}")
    if numerics not in NUMERICS:
        raise TargetError(f"unknown numerics {numerics!r}", remedy=f"use one of {', '.join(NUMERICS)}")
    if precision != "fp32" and target_name == "cpu":
        raise TargetError(f"precision {precision!r} is not available on the CPU", remedy="use precision='fp32'")
    if tune:
        raise TargetError("tuning is not available in this version", remedy="leave tune at False")
