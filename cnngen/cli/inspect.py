"""`cnngen inspect`: what a network is made of, without compiling it."""

from __future__ import annotations

from typing import Annotated

import typer

from cnngen.cli.common import (
    BatchOption,
    DebugOption,
    IsaOption,
    JsonOption,
    SpecArgument,
    ThreadsOption,
    WeightsOption,
    console,
    find_spec,
    print_json,
)


def inspect(
    spec: SpecArgument,
    weights: WeightsOption = None,
    batch: BatchOption = 1,
    json: JsonOption = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the compiled steps, kernels and memory in place of the layers.")
    ] = False,
    isa: IsaOption = "native",
    threads: ThreadsOption = None,
    _debug: DebugOption = False,
) -> None:
    """Show the layers: shapes, receptive fields, parameters, work, and warnings about the design.

    With --plan, what the compiler makes of them for an ISA and a number of threads.

    Examples:

      cnngen inspect specs/lenet.yaml

      cnngen inspect resnet50 --json

      cnngen inspect lenet --plan --isa avx512-emulated
    """
    from cnngen import pipeline

    graph = pipeline.load_graph(find_spec(spec), weights=weights, batch=batch)
    if plan:
        from cnngen.report.stages import plan_text

        if json:
            raise typer.BadParameter("--plan prints text; leave out --json")
        typer.echo(plan_text(pipeline.plan_for(graph, isa=isa, threads=threads, run_here=False)), nl=False)
        return
    from cnngen.report.inspect import MemorySummary, inspect_json, inspect_table

    arena = pipeline.plan_for(graph, isa=isa, threads=threads, run_here=False).arena
    memory = MemorySummary(4 * arena.size, 4 * arena.lower_bound)
    if json:
        print_json(inspect_json(graph, memory))
    else:
        inspect_table(graph, console(), memory)
