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
    PrecisionOption,
    ShapesOption,
    SpecArgument,
    TargetOption,
    ThreadsOption,
    WeightsOption,
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
        bool, typer.Option("--plan", help="Print the compiled steps, kernels and memory in place of the layers.")
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
    _debug: DebugOption = False,
) -> None:
    """Show the layers: shapes, receptive fields, parameters, work, and warnings about the design.

    With --plan, what the compiler makes of them for an ISA and a number of threads, or for a GPU.

    Examples:

      cnngen inspect specs/lenet.yaml

      cnngen inspect resnet50 --json

      cnngen inspect lenet --plan --isa avx512-emulated

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
    kind, _ = pipeline.check_options(target, "fast", precision, isa, threads, architectures)
    compiled = pipeline.any_plan_for(
        graph,
        target=kind,
        isa=isa,
        threads=threads,
        precision=precision,
        architectures=architectures,
        run_here=False,
    )
    if plan:
        from cnngen.report.stages import plan_text

        if json:
            raise typer.BadParameter("--plan prints text; leave out --json")
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
