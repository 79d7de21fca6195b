"""`cnngen inspect`: what a network is made of, without compiling it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnngen.cli.common import (
    ArchitecturesOption,
    BatchOption,
    DebugOption,
    IsaOption,
    JsonOption,
    NumericsOption,
    PrecisionOption,
    ShapesOption,
    SpecArgument,
    TargetOption,
    ThreadsOption,
    WeightsOption,
    WeightStorageOption,
    console,
    find_spec,
    input_shapes,
    print_json,
)


def inspect(
    spec: SpecArgument,
    weights: WeightsOption = None,
    input_shape: ShapesOption = None,
    batch: BatchOption = 1,
    json: JsonOption = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print how each layer is computed, its expected time, and why.")
    ] = False,
    tensors: Annotated[
        bool, typer.Option("--tensors", help="Print name and shape of every tensor that a weights file holds.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with drawings for a browser.")
    ] = None,
    target: TargetOption = "cpu",
    precision: PrecisionOption = "fp32",
    architectures: ArchitecturesOption = "native",
    isa: IsaOption = "native",
    threads: ThreadsOption = None,
    numerics: NumericsOption = "fast",
    weight_storage: WeightStorageOption = "fp32",
    tune_file: Annotated[
        Path | None, typer.Option("--tune-file", metavar="FILE", help="Plan with the tuned choices in this file.")
    ] = None,
    _debug: DebugOption = False,
) -> None:
    """Show the layers: shapes, receptive fields, parameters, work, and warnings about the design.

    With --plan, what the compiler makes of them for an ISA and a number of threads: algorithm, register tile and
    blocking of each layer, the time that the planner expects, what limits it, and what else there was. For a GPU:
    steps, kernels and memory.

    Examples:

      cnngen inspect specs/lenet.yaml

      cnngen inspect resnet50 --json

      cnngen inspect resnet50 --plan --isa avx512-emulated

      cnngen inspect resnet50 --plan --threads 1 --numerics reproducible --json

      cnngen inspect lenet --plan --target cuda --precision fp16 --arch sm_90

      cnngen inspect lenet --html lenet.html

      cnngen inspect lenet --tensors
    """
    from cnngen import pipeline
    from cnngen.backends.cpu.plan import Plan

    if html and (json or plan):
        raise typer.BadParameter(f"--html writes a page; leave out {'--json' if json else '--plan'}")
    if tensors and (json or plan or html):
        other = "--json" if json else "--plan" if plan else "--html"
        raise typer.BadParameter(f"--tensors prints text; leave out {other}")
    graph = pipeline.load_graph(find_spec(spec), weights=weights, input_shapes=input_shapes(input_shape), batch=batch)
    if tensors:
        from cnngen.frontends.weights import tensors_text

        typer.echo(tensors_text(graph), nl=False)
        return
    if html and target != "cpu":
        raise typer.BadParameter("--html draws what the CPU gets; leave out --target")
    kind, _ = pipeline.check_options(target, numerics, precision, isa, threads, architectures, weight_storage)
    choices = None
    if tune_file is not None:
        from cnngen.tuning import tuned_choices

        choices = tuned_choices(
            graph,
            tune_file,
            target=kind,
            isa=isa,
            threads=threads,
            numerics=numerics,
            weight_storage=weight_storage,
            seconds=0,
        ).used
    compiled = pipeline.any_plan_for(
        graph,
        target=kind,
        isa=isa,
        threads=threads,
        numerics=numerics,
        weight_storage=weight_storage,
        precision=precision,
        architectures=architectures,
        run_here=False,
        choices=choices,
    )
    if plan:
        if isinstance(compiled, Plan):
            from cnngen.report.plan_table import plan_json, print_plan

            if json:
                print_json(plan_json(compiled))
            else:
                print_plan(compiled, console())
            return
        from cnngen.report.stages import plan_text

        if json:
            raise typer.BadParameter("--plan for a GPU prints text; leave out --json")
        typer.echo(plan_text(compiled), nl=False)
        return
    if isinstance(compiled, Plan) and html:
        from cnngen.report.html.page import html_report

        html.write_text(html_report(graph, compiled), encoding="utf-8")
        typer.echo(f"wrote {html}: open it in a browser")
        return
    from cnngen.report.inspect import MemorySummary, inspect_json, inspect_table
    from cnngen.report.plan_data import layer_code

    memory = MemorySummary(compiled.arena_bytes, compiled.element.itemsize * compiled.arena.lower_bound)
    if json:
        print_json(inspect_json(graph, memory, layer_code(graph, compiled)))
    else:
        inspect_table(graph, console(), memory)
