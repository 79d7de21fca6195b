"""`cnngen compile`: from a spec to a folder that holds every stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from cnngen.cli.common import (
    ArchitecturesOption,
    BatchOption,
    DebugOption,
    IsaOption,
    NumericsOption,
    PrecisionOption,
    ShapesOption,
    SpecArgument,
    StrictOption,
    TargetOption,
    ThreadsOption,
    WeightsOption,
    WeightStorageOption,
    console,
    find_spec,
    input_shapes,
    quantity,
    working,
)
from cnngen.weight_storage import phrase

BUDGET = 60.0
"""Seconds of tuning, as in `cnngen.tuning`, which the help does without."""

if TYPE_CHECKING:
    from cnngen.backends import AnyPlan
    from cnngen.backends.cuda.driver import Properties
    from cnngen.backends.sources import SourceTree
    from cnngen.ir import Graph


def compile_(
    spec: SpecArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder to write; build/NAME by default.")
    ] = None,
    weights: WeightsOption = None,
    input_shape: ShapesOption = None,
    strict: StrictOption = False,
    target: TargetOption = "cpu",
    precision: PrecisionOption = "fp32",
    architectures: ArchitecturesOption = "native",
    isa: IsaOption = "native",
    batch: BatchOption = 1,
    threads: ThreadsOption = None,
    numerics: NumericsOption = "fast",
    weight_storage: WeightStorageOption = "fp32",
    tune: Annotated[bool, typer.Option("--tune", help="Choose kernels by measuring them.")] = False,
    tune_file: Annotated[
        Path | None,
        typer.Option("--tune-file", metavar="FILE", help="Where tuned choices are read and kept; your own by default."),
    ] = None,
    tune_seconds: Annotated[
        float, typer.Option("--tune-seconds", min=0, help="Begin no measurement of tuning after so long.")
    ] = BUDGET,
    emit_only: Annotated[bool, typer.Option("--emit-only", help="Write the sources, do not compile them.")] = False,
    _debug: DebugOption = False,
) -> None:
    """Compile a network into native code.

    Writes every stage into one folder: the graph, the plan, the sources, the packed weights, the
    compiler's command and log, and the shared library. With --target cuda: a fatbin with code for each
    architecture in place of the library, and a table of the registers that each kernel takes; no GPU
    is needed.

    Examples:

      cnngen compile specs/lenet.yaml

      cnngen compile resnet50 -o out --isa avx2 --threads 4

      cnngen compile lenet --emit-only --isa avx512

      cnngen compile resnet18 --target cuda --precision fp16 --arch sm_80,sm_90
    """
    from cnngen import manifest, pipeline
    from cnngen.backends.files import write_tree
    from cnngen.frontends.record import Record
    from cnngen.interface import Interface, Stages
    from cnngen.manifest import Known
    from cnngen.report.stages import write_stages
    from cnngen.tuning import Tuned, path_of, tuned_choices

    path = find_spec(spec)
    tuning = path_of(tune_file or tune)
    watch = Stopwatch()
    with working(f"Compiling {path.name}") as say:
        say("reading")
        with watch("read"):
            kind, device = pipeline.check_options(
                target, numerics, precision, isa, threads, architectures, weight_storage
            )
            gpu, no_device = None, None
            if kind == "cuda":
                architectures, gpu, no_device = _planned_for(device, architectures)
            asked = None
            if not emit_only:
                asked = manifest.ask(
                    path,
                    weights=weights,
                    shapes=input_shapes(input_shape),
                    name=None,
                    batch=batch,
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
            record = Record(digests=asked is not None, strict=strict)
            graph = pipeline.load_graph(
                path, weights=weights, input_shapes=input_shapes(input_shape), batch=batch, record=record
            )
        tuned = Tuned()
        if tuning is not None:
            with watch("tune"), say.bar("Tuning") as bar:
                tuned = tuned_choices(
                    graph,
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
                    progress=bar,
                )
        say("planning")
        with watch("plan"):
            plan = pipeline.any_plan_for(
                graph,
                target=kind,
                isa=isa,
                threads=threads,
                numerics=numerics,
                weight_storage=weight_storage,
                precision=precision,
                architectures=architectures,
                gpu=gpu,
                run_here=not emit_only,
                choices=tuned.used,
            )
        say("emitting")
        with watch("emit"):
            tree = pipeline.sources(plan)
        folder = output or Path("build") / tree.name
        if emit_only:
            with watch("write"):
                write_stages(plan, tree, folder)
                write_tree(tree, folder)
        else:
            say("running the compiler")
            with watch("compile"):
                compiler = pipeline.find_compiler(kind)
                library = pipeline.build(plan, tree, compiler, folder=folder)
            interface = Interface.of(Stages(graph, plan))
            if no_device is None:
                with watch("load"):
                    pipeline.load(library, interface, device)
            if (
                asked is not None and tuned.complete
            ):  # so that `cnngen run` and `cnngen.compile` with this path start warm
                known = Known(interface, library, tree.digest.hex(), record.warnings, tuned)
                manifest.keep(asked, record, known, compiler)
    for line in _account(graph, plan, tree, folder, watch):
        console().print(line, markup=False, soft_wrap=True)
    if no_device is not None and not emit_only:
        console().print(f"  not run: {no_device}", markup=False, soft_wrap=True)


def _planned_for(device: int, architectures: str) -> tuple[str, Properties | None, str | None]:
    """What to compile for, the GPU to plan for, and why nothing can be run, where it cannot."""
    from cnngen import pipeline
    from cnngen.errors import DeviceError

    try:
        return *pipeline.planned_for(device, architectures), None
    except DeviceError as error:
        return architectures, None, str(error)


class Stopwatch:
    """Seconds spent in named blocks."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.seconds[stage] = perf_counter() - start

    def __str__(self) -> str:
        stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in self.seconds.items())
        return f"{stages}; {sum(self.seconds.values()):.2f} s in all"


def _account(graph: Graph, plan: AnyPlan, tree: SourceTree, folder: Path, watch: Stopwatch) -> Iterator[str]:
    """What was done, a few lines."""
    from cnngen.analysis.batch import images

    costs = [node.op.cost(graph.input_types(node), graph.types[node.name]) for node in graph.nodes]
    batch = images(graph)
    yield f"{plan.name}: {_target(plan, tree)}, batch {batch}"
    yield (
        f"  layers   {len(graph.nodes)}, {len(plan.graph.nodes)} after fusion, "
        f"in {len(plan.steps)} steps with {len(plan.kernels)} kernels"
    )
    yield (
        f"  size     {sum(cost.params for cost in costs):,} parameters, "
        f"{quantity(sum(cost.macs for cost in costs) / batch, 'MAC')} per image"
    )
    lower_bound = plan.element.itemsize * plan.arena.lower_bound
    yield (
        f"  memory   arena {_bytes(plan.arena_bytes)} (lower bound {_bytes(lower_bound)}), "
        f"packed weights {_bytes(4 * plan.blob_floats)}"
    )
    yield f"  time     {watch}"
    report = folder / "kernels.txt"
    if tree.architectures and "compile" in watch.seconds:
        yield f"  kernels  {report.read_text().splitlines()[-1]}: {report}"
    kernels = sum(name.startswith("kernels/") for name in tree.files)
    files = sorted(file.name for file in folder.iterdir() if file.is_file())
    yield f"  written  {folder}/: {', '.join(files)}" + (f", kernels/ ({kernels} files)" if kernels else "")


def _target(plan: AnyPlan, tree: SourceTree) -> str:
    threads = plan.target.threads
    if tree.architectures:
        return f"{plan.target.name} for {', '.join(tree.architectures)}"
    precision = "" if plan.target.name.startswith("cuda") else f", fp32{phrase(plan.weight_storage)}"
    return f"{plan.target.name}, {threads} thread{'s' if threads > 1 else ''}{precision}"


def _bytes(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"
