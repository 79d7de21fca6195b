"""`cnngen bench`: how long the network takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Annotated, Any

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
    WeightsOption,
    WeightStorageOption,
    console,
    find_spec,
    input_shapes,
    print_json,
    quantity,
    working,
)
from cnngen.weight_storage import phrase

if TYPE_CHECKING:
    from rich.table import Table

    from cnngen.network import Network
    from cnngen.race import Race

SLICE_SECONDS = 0.01
"""A round repeats short runs for about this long, so that the clock's resolution does not matter."""


def bench(
    spec: SpecArgument,
    weights: WeightsOption = None,
    input_shape: ShapesOption = None,
    target: TargetOption = "cpu",
    precision: PrecisionOption = "fp32",
    architectures: ArchitecturesOption = "native",
    isa: IsaOption = "native",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads, each on a core of its own.")] = 1,
    batch: BatchOption = 1,
    numerics: NumericsOption = "fast",
    weight_storage: WeightStorageOption = "fp32",
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, help="Measurements to take: by default 50, or 9 of each contender.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the layers' times into a picture (matplotlib).")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="LIST",
            help="Race other runtimes instead: onnxruntime, openvino, ncnn, torch, separated by commas.",
        ),
    ] = None,
    json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Measure the time per image, pinned to as many cores as there are threads.

    Prints median, minimum and 90th percentile over the rounds, and the rate at which the network's
    multiply-accumulates were done (two operations each); then each layer's time, rate, algorithm and share of the
    roofline of a direct computation on this machine, whose figures are measured if they are not known.

    With --against: cnngen and the runtimes that are named run in turn, each in a process of its own on the same
    cores; outputs are compared, and what disagrees is void. Exit code 1 where no race counts.

    Examples:

      cnngen bench lenet

      cnngen bench resnet50 --threads 4 --rounds 20 --json

      cnngen bench resnet18 --plot resnet18.png

      cnngen bench model.onnx --against onnxruntime,openvino,ncnn,torch
    """
    if against is not None:
        if plot or weights or input_shape or batch != 1 or target != "cpu" or weight_storage != "fp32":
            raise typer.BadParameter(
                "--against races a network as its file has it, on the CPU in float32, one image at a time"
            )
        _race(find_spec(spec), against, threads, numerics, isa, rounds or 9, json)
        return
    rounds = rounds or 50
    # Before the first thread exists: OpenMP's threads inherit the mask.
    cores = pin(threads)
    import numpy as np

    import cnngen
    from cnngen.report.profile import layer_json
    from cnngen.report.profile_plot import plot_profile

    path = find_spec(spec)
    with working(f"Measuring {path.name}") as say:
        say("compiling")
        with cnngen.compile(
            path,
            weights=weights,
            input_shapes=input_shapes(input_shape),
            target=target,
            precision=precision,
            architectures=architectures,
            isa=isa,
            threads=threads,
            batch=batch,
            numerics=numerics,
            weight_storage=weight_storage,
        ) as net:
            rng = np.random.default_rng(0)
            xs = [rng.standard_normal(shape, np.float32) for shape in net.input_shapes]
            outputs = [np.empty(shape, np.float32) for shape in net.output_shapes]
            out = outputs if len(outputs) > 1 else outputs[0]
            say("running")
            seconds = measure(lambda: net.run(*xs, out=out), rounds)
            data = _result(net, [value / batch for value in seconds], cores)
            say("measuring each layer")
            profile = net.profile(xs if len(xs) > 1 else xs[0])
            total = sum(layer.seconds for layer in profile)
            together = batch // net.plan.repeats  # images that the plan computes at a time
            data["layers"] = [dict(layer_json(layer, together, total)) for layer in profile]
            if plot:
                heading = f"{net.name}: {_target(net)}, {data['median_ms']:.4g} ms an image"
                plot_profile(heading, data["layers"], plot)
    if json:
        print_json(data)
        return
    screen = console()
    screen.print(
        f"{net.name}: {_target(net)}, batch {batch}, "
        + (f"pinned to cores {', '.join(map(str, cores))}" if cores else "not pinned: this system cannot"),
        markup=False,
    )
    screen.print(
        f"median {data['median_ms']:.4g} ms, min {data['min_ms']:.4g}, p90 {data['p90_ms']:.4g} per image "
        f"({rounds} rounds)"
    )
    screen.print(f"{data['gflops']:.4g} GFLOP/s at the median ({quantity(data['macs'], 'MAC')} per image)")
    screen.print()
    screen.print(_profile_table(data["layers"]))


def _target(net: Network) -> str:
    """What was measured: the ISA with its threads, or the GPU's kernels, which are named with their precision."""
    if net.isa.startswith("cuda"):
        return net.isa
    threads = f"{net.threads} thread{'s' if net.threads > 1 else ''}"
    return f"{net.isa}, {threads}, {net.precision}{phrase(net.weight_storage)}"


def _profile_table(layers: list[dict[str, Any]]) -> Table:
    """One row a layer."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    left = ("layer", "op", "algorithm")
    for column in ("layer", "op", "algorithm", "us/image", "share", "GFLOP/s", "of roofline"):
        table.add_column(column, justify="left" if column in left else "right")
    for layer in layers:
        rate = f"{layer['gflops']:.1f}{' eff.' if layer['effective'] else ''}" if layer["gflops"] else ""
        reached = f"{layer['of_roofline']:.0%}{' eff.' if layer['effective'] else ''}" if layer["of_roofline"] else ""
        cells = (layer["name"], layer["kind"], layer["algorithm"], f"{layer['us']:.1f}", f"{layer['share']:.1%}")
        table.add_row(*map(escape, cells), rate, reached)
    if any(layer["effective"] for layer in layers):
        table.caption = "eff.: operations of a direct computation, of which Winograd's algorithm does fewer"
        table.caption_justify = "left"
    return table


def _race(path: Path, against: str, threads: int, numerics: str, isa: str, rounds: int, json: bool) -> None:
    """Race and print; exits with 1 where no race counts."""
    from cnngen.race import race

    names = [name.strip() for name in against.split(",") if name.strip()]
    with working(f"Racing {path.name}") as say:
        result = race(path, names, threads=threads, numerics=numerics, isa=isa, rounds=rounds, say=say)
    if json:
        print_json(result.as_json())
    else:
        screen = console()
        screen.print(race_table(result))
        if result.ratio is not None and result.best_peer is not None:
            screen.print(f"cnngen is {result.ratio:.2f} times as fast as {result.best_peer.system}")
        else:
            screen.print("void: there is no contender whose output agrees")
    raise typer.Exit(0 if result.ratio is not None else 1)


def race_table(result: Race) -> Table:
    """One row a contender."""
    from rich.markup import escape
    from rich.table import Table

    plural = "s" if result.threads > 1 else ""
    title = f"{result.network}: {result.threads} thread{plural}, {result.numerics}, batch 1, medians"
    table = Table(box=None, pad_edge=False, header_style="bold", title=escape(title), title_justify="left")
    for column in ("contender", "version", "ms/image", "of cnngen's time", "difference of outputs"):
        table.add_column(column, justify="left" if column in ("contender", "version") else "right")
    own = result.lanes[0].seconds
    for lane in result.lanes:
        if not lane.slices:
            table.add_row(lane.system, escape(lane.problem))
            continue
        differs = f"{lane.difference:.1e}" + ("" if lane.valid else ": void")
        times = (f"{1e3 * lane.seconds:.4g}", f"{lane.seconds / own:.2f}")
        table.add_row(lane.system, escape(lane.version), *times, differs if lane.system != "cnngen" else "")
    return table


def pin(threads: int) -> list[int]:
    """Bind this process to the last `threads` cores it may use; returns them, or [] where impossible."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    os.sched_setaffinity(0, cores)
    return cores


def measure(call: Callable[[], object], rounds: int) -> list[float]:
    """Seconds per call, one value a round; the calls of a round fill about `SLICE_SECONDS`."""
    calls = 1
    while (taken := _seconds(call, calls) * calls) < SLICE_SECONDS:
        calls = max(calls + 1, min(10 * calls, int(calls * SLICE_SECONDS / max(taken, 1e-9))))
    return [_seconds(call, calls) for _ in range(rounds)]


def _seconds(call: Callable[[], object], calls: int) -> float:
    start = perf_counter_ns()
    for _ in range(calls):
        call()
    return (perf_counter_ns() - start) / calls * 1e-9


def _result(net: Network, seconds: list[float], cores: list[int]) -> dict[str, Any]:
    """The numbers of one measurement; times in milliseconds per image."""
    import numpy as np

    from cnngen.analysis.batch import images

    graph = net.source_graph
    macs = sum(node.op.cost(graph.input_types(node), graph.types[node.name]).macs for node in graph.nodes)
    macs //= images(graph)
    median, p90 = (float(np.quantile(seconds, share)) for share in (0.5, 0.9))
    return {
        "network": net.name,
        "isa": net.isa,
        "threads": net.threads,
        "batch": net.batch,
        "precision": net.precision,
        "weight_storage": net.weight_storage,
        "cores": cores,
        "rounds": len(seconds),
        "median_ms": median * 1e3,
        "min_ms": min(seconds) * 1e3,
        "p90_ms": p90 * 1e3,
        "macs": macs,
        "gflops": 2 * macs / median * 1e-9,
    }
