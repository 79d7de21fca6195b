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
from cnngen.errors import CacheError, DeviceError, RunError, SpecError, TargetError
from cnngen.frontends.record import Record
from cnngen.interface import Interface, Stages
from cnngen.ir import Graph
from cnngen.manifest import Known, Request
from cnngen.network import Network
from cnngen.tuning import BUDGET, Fields, Tuned, path_of, tuned_choices
from cnngen.weight_storage import FORMATS

if TYPE_CHECKING:
    from cnngen.backends import AnyPlan
    from cnngen.backends.cpu.plan import Plan
    from cnngen.backends.cpu.target import Target
    from cnngen.backends.cuda.driver import Properties
    from cnngen.backends.cuda.launcher import Launcher
    from cnngen.backends.cuda.plan import CudaPlan
    from cnngen.backends.sources import SourceTree
    from cnngen.backends.toolchains import AnyCompiler

Source = str | Path | Graph | frontends.Module

TARGETS = ("cpu", "cuda", "cuda-emulated")
NUMERICS = ("fast", "reproducible")
SMALL_NETWORK_MACS = 2_000_000
"""Below it a barrier costs more than a second core saves."""
KEPT_WEIGHTS = 16 << 20
"""Bytes of weights up to which a network that can be read again keeps its graph, which holds them a second time."""


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
    weight_storage: str = "fp32",
    precision: str = "fp32",
    architectures: str = "native",
    tune: bool | str | Path = False,
    tune_seconds: float = BUDGET,
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
    `target`: `cpu`; `cuda`, the first GPU, or `cuda:1` and so on for another one; `cuda-emulated`: the CUDA kernels,
    run on this machine's CPU to check them. `batch`: images a native call, by default 1, or those of the `example`.

    On a CPU: `isa`: `scalar`, `sse4.1`, `avx2`, `avx512` or `native`, the best that this machine has. `threads`:
    default one for small networks, else all cores, of which a run never takes more than there are; results do not
    depend on it. `numerics`: `fast`, where
    convolutions may be computed by Winograd's algorithm, or `reproducible`: plain sums, the same bits on every ISA
    with fused multiply-add. `weight_storage`: `bf16` or `fp16` keep the weights of large dense layers in 16 bits, which
    halves what batch 1 waits for there, and rounds them (docs/weight_storage.md).

    With CUDA: `precision`: `fp32`, or `tf32` or `fp16` on tensor cores, with sums in float32. `architectures`: such
    as `sm_80,sm_90`, or `native`, the one of the GPU.

    `tune`: choose kernels by measuring them, for at most about `tune_seconds`: True keeps what was found in your own
    file, a path in that one, which can be shared (docs/performance.md). What a file knows is not measured again.

    `build_dir`: a folder that gets every stage (graph, plan, sources, command, log, library or fatbin).
    `cache`: use and fill the cache of compiled networks. `name`: instead of the spec's.
    `strict`: weights that look wrong (NaN, infinity) are an error instead of a `WeightsWarning`.

    Raises `SpecError`, `WeightsError`, `ModelError`, `TargetError`, `TuningError`, `ToolchainError` or `DeviceError`,
    all of them `CnngenError`.
    """
    kind, device = check_options(target, numerics, precision, isa, threads, architectures, weight_storage)
    tuning = path_of(tune)
    gpu = None
    if kind == "cuda":
        architectures, gpu = planned_for(device, architectures)
    asked = None
    if cache:
        asked = manifest.ask(
            source,
            weights=weights,
            shapes=input_shapes,
            name=name,
            batch=batch or 1,
            isa=isa,
            threads=threads,
            numerics=numerics,
            weight_storage=weight_storage,
            target=kind,
            precision=precision,
            architectures=architectures,
            tuning=tuning,
            gpu=gpu,
        )
    known = manifest.find(asked) if asked is not None and build_dir is None else None
    # A network that was compiled with a warning is read again where that may be an error.
    if asked is not None and known is not None and not (strict and known.warnings):
        return recall(asked, known, device)
    record = Record(digests=asked is not None, strict=strict)
    source_graph = load_graph(
        source, example=example, weights=weights, input_shapes=input_shapes, batch=batch, name=name, record=record
    )
    tuned = Tuned()
    if tuning is not None:
        tuned = tuned_choices(
            source_graph,
            tuning,
            target=kind,
            isa=isa,
            threads=threads,
            numerics=numerics,
            weight_storage=weight_storage,
            precision=precision,
            architectures=architectures,
            device=device,
            seconds=tune_seconds,
            cache=cache,
        )
    plan = any_plan_for(
        source_graph,
        target=kind,
        isa=isa,
        threads=threads,
        numerics=numerics,
        weight_storage=weight_storage,
        precision=precision,
        architectures=architectures,
        choices=tuned.used,
        gpu=gpu,
    )
    compiler = find_compiler(kind)
    from cnngen.backends.text import keeping_templates

    with keeping_templates(cache):
        tree = sources(plan)
    folder = Path(build_dir) if build_dir is not None else None
    library = build(plan, tree, compiler, folder=folder, use_cache=cache)
    stages = Stages(source_graph, plan)
    interface = Interface.of(stages)
    loaded = load(library, interface, device)
    if asked is not None and tuned.complete:
        known = Known(interface, library, tree.digest.hex(), record.warnings, tuned)
        kept = manifest.keep(asked, record, known, compiler)
        if kept and 4 * plan.blob_floats > KEPT_WEIGHTS:
            return Network(interface, loaded, partial(make_again, asked, known))
    return Network(interface, loaded, stages)


def recall(asked: Request, known: Known, device: int = 0) -> Network:
    """The network that `asked` gave before, from the cache: loaded at once, its stages on demand."""
    for text, category in known.warnings:
        warnings.warn(text, category, stacklevel=3)
    return Network(known.interface, load(known.library, known.interface, device), partial(make_again, asked, known))


def make_again(asked: Request, known: Known) -> Stages:
    """The stages of a network that came from the cache. Raises `CacheError` where they give another one today."""
    spec, weights = asked.files()
    record = Record(digests=False, silent=True)
    source_graph = load_graph(
        spec, weights=weights, input_shapes=dict(asked.shapes), batch=asked.batch, name=asked.name, record=record
    )
    plan = any_plan_for(
        source_graph,
        target=asked.target,
        isa=known.interface.isa,
        threads=known.interface.threads,
        numerics=asked.numerics,
        weight_storage=asked.weight_storage,
        precision=asked.precision,
        architectures=asked.architectures,
        choices=known.tuned.used,
        gpu=asked.gpu,
    )
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


def any_plan_for(
    graph: Graph,
    *,
    target: str = "cpu",
    isa: str = "native",
    threads: int | None = None,
    numerics: str = "fast",
    weight_storage: str = "fp32",
    precision: str = "fp32",
    architectures: str = "native",
    gpu: Properties | None = None,
    run_here: bool = True,
    choices: Mapping[str, Fields] | None = None,
) -> AnyPlan:
    """Optimise and plan a graph for one of `TARGETS`; see `plan_for` and `cuda_plan_for`."""
    if target == "cpu":
        return plan_for(
            graph,
            isa=isa,
            threads=threads,
            numerics=numerics,
            weight_storage=weight_storage,
            run_here=run_here,
            choices=choices,
        )
    cuda = {"target": target, "architectures": architectures, "precision": precision}
    return cuda_plan_for(graph, **cuda, gpu=gpu, choices=choices)


def plan_for(
    graph: Graph,
    *,
    isa: str = "native",
    threads: int | None = None,
    numerics: str = "fast",
    weight_storage: str = "fp32",
    run_here: bool = True,
    choices: Mapping[str, Fields] | None = None,
) -> Plan:
    """Optimise and plan a graph for this machine's CPU or for `isa`; `choices` for layers are those of tuning.

    Raises `TargetError` for an ISA that this machine lacks, unless the code is not to `run_here`.
    """
    from cnngen.backends.cpu.choices import Choice, Choices
    from cnngen.backends.cpu.plan import plan_graph
    from cnngen.batching import compiled_graph

    target = cpu_target_for(
        graph, isa=isa, threads=threads, numerics=numerics, weight_storage=weight_storage, run_here=run_here
    )
    own = Choices.of({key: Choice.from_json(fields) for key, fields in (choices or {}).items() if fields})
    compiled, repeats = compiled_graph(graph, target)
    return replace(plan_graph(compiled, replace(target, choices=own)), in_turn=repeats)


def cpu_target_for(
    graph: Graph,
    *,
    isa: str = "native",
    threads: int | None = None,
    numerics: str = "fast",
    weight_storage: str = "fp32",
    run_here: bool = True,
) -> Target:
    """The target that these options mean for a graph, with what is known of this machine. Raises `TargetError`."""
    count = threads if threads is not None else default_threads(graph)
    target = cpu_target.resolve(isa, count, run_here=run_here, reproducible=numerics == "reproducible")
    return replace(cpu_target.here(target), weight_storage=weight_storage)


def cuda_plan_for(
    graph: Graph,
    *,
    target: str,
    architectures: str = "native",
    precision: str = "fp32",
    gpu: Properties | None = None,
    choices: Mapping[str, Fields] | None = None,
) -> CudaPlan:
    """Optimise and plan a graph for a GPU, or for the emulation of one.

    `architectures`: such as `sm_80,sm_90`; `native` is a list of usual ones. `gpu`: the one to choose tiles for, in
    place of the usual card of its architecture. `choices` for layers are those of tuning. Raises `TargetError` for an
    architecture or a precision that does not exist.
    """
    from cnngen.backends.cuda.choices import TileChoices, tile_of
    from cnngen.backends.cuda.plan import plan_graph
    from cnngen.backends.cuda.target import EMULATED, resolve
    from cnngen.passes import optimise

    resolved = resolve(architectures, precision, emulated=target == EMULATED, gpu=gpu)
    tiles = TileChoices.of({key: tile_of(fields) for key, fields in (choices or {}).items() if fields})
    return plan_graph(optimise(graph), replace(resolved, choices=tiles))


def default_threads(graph: Graph) -> int:
    """One for a network too small to share out, else every core that this process may use."""
    macs = sum(node.op.cost(graph.input_types(node), graph.types[node.name]).macs for node in graph.nodes)
    return 1 if macs < SMALL_NETWORK_MACS else cpu_target.available_cores()


def sources(plan: AnyPlan) -> SourceTree:
    """The sources and packed weights of a plan."""
    from cnngen import backends

    return backends.print_sources(plan)


def find_compiler(target: str = "cpu") -> AnyCompiler:
    """What compiles for one of `TARGETS`: a C compiler, or nvcc or NVRTC. Raises `ToolchainError`."""
    if target == "cuda":
        from cnngen.backends.cuda import compiler as cuda

        return cuda.find_compiler()
    from cnngen.backends.cpu import compiler as cpu

    return cpu.find_compiler()


def build(
    plan: AnyPlan, tree: SourceTree, compiler: AnyCompiler, *, folder: Path | None = None, use_cache: bool = True
) -> Path:
    """The library or fatbin of a source tree: from the cache, or compiled. `folder` gets every stage."""
    from cnngen import cache
    from cnngen.report.stages import write_stages

    if folder is not None:
        write_stages(plan, tree, folder)
    return cache.library(tree, compiler, use_cache=use_cache, folder=folder)


def load(library: Path, interface: Interface, device: int = 0) -> loader.Library | Launcher:
    """The functions of a library in this process, or of a fatbin on a GPU. Raises `RunError` or `DeviceError`."""
    if interface.isa.startswith("cuda "):
        return load_device_code(library, interface, device)
    counts = len(interface.inputs), len(interface.outputs)
    return loader.load(library, interface.symbol, *counts, checked=interface.isa.startswith("cuda-emulated"))


def load_device_code(image: Path, interface: Interface, device: int) -> loader.Library | Launcher:
    """What lies beside a fatbin is read, and all of it loaded onto GPU number `device`."""
    import numpy as np

    from cnngen.backends.cuda import launcher
    from cnngen.backends.cuda.launches import Description
    from cnngen.backends.sources import launches_file, weights_file

    try:
        description = Description.from_json((image.parent / launches_file(interface.symbol)).read_text())
        weights = np.fromfile(image.parent / weights_file(interface.symbol), np.float32)
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"cannot load {image}: {error}", remedy="delete its folder and compile again") from error
    return launcher.load(image, description, weights, device)


def planned_for(device: int, architectures: str) -> tuple[str, Properties | None]:
    """The architectures to compile for, and the GPU to plan for: its own for `native`, else the usual cards.

    Raises `DeviceError` where GPU number `device` cannot be used.
    """
    from cnngen.backends.cuda.architectures import architecture_for
    from cnngen.backends.cuda.device import open_device

    try:
        gpu = open_device(device).properties
        own = architecture_for(gpu.capability)
    except DeviceError as error:
        error.remedy = f"{error.remedy}; target='cuda-emulated' checks the CUDA kernels without a GPU"
        raise
    return (own, gpu) if architectures == "native" else (architectures, None)


def check_options(
    target_name: str,
    numerics: str,
    precision: str,
    isa: str = "native",
    threads: int | None = None,
    architectures: str = "native",
    weight_storage: str = "fp32",
) -> tuple[str, int]:
    """The kind of target (one of `TARGETS`) and the number of the GPU.

    Raises `TargetError` for a target or an option that this version, or this target, does not have.
    """
    kind, _, number = target_name.partition(":")
    if kind not in TARGETS or (number and (kind != "cuda" or not number.isdecimal())) or target_name.endswith(":"):
        known = ", ".join(TARGETS)
        raise TargetError(f"unknown target {target_name!r}", remedy=f"use one of {known}, or cuda:1 for the second GPU")
    if numerics not in NUMERICS:
        raise TargetError(f"unknown numerics {numerics!r}", remedy=f"use one of {', '.join(NUMERICS)}")
    if weight_storage not in FORMATS:
        raise TargetError(f"unknown weight storage {weight_storage!r}", remedy=f"use one of {', '.join(FORMATS)}")
    if kind == "cpu":
        if precision != "fp32":
            raise TargetError(f"precision {precision!r} is not available on the CPU", remedy="use precision='fp32'")
        if architectures != "native":
            raise TargetError(f"{architectures!r} names GPU architectures", remedy="use target='cuda', or isa=")
    else:
        if isa != "native":
            raise TargetError(
                f"isa {isa!r} is for CPUs, and the target is {kind}", remedy="use architectures= (--arch)"
            )
        if threads is not None and threads != 1:
            raise TargetError(f"{threads} threads are for CPUs, and the target is {kind}", remedy="leave threads out")
        if weight_storage != "fp32":
            raise TargetError(
                f"weight storage {weight_storage!r} is for CPUs, and the target is {kind}",
                remedy="use precision='fp16' (--precision), which stores all tensors in 16 bits",
            )
    return kind, int(number or 0)
