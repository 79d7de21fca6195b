"""`cnngen bench`: how long the network takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Annotated, Any

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
    WeightsOption,
    console,
    find_spec,
    input_shapes,
    print_json,
    quantity,
    working,
)

if TYPE_CHECKING:
    from rich.table import Table

    from cnngen.network import Network

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
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Measurements to take.")] = 50,
    json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Measure the time per image, pinned to as many cores as there are threads.

    Prints median, minimum and 90th percentile over the rounds, and the rate at which the network's
    multiply-accumulates were done (two operations each).

    Examples:

      cnngen bench lenet

      cnngen bench resnet50 --threads 4 --rounds 20 --json
    """
    # Before the first thread exists: OpenMP's threads inherit the mask.
    cores = pin(threads)
    import numpy as np

    import cnngen

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
            data["layers"] = [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "us": layer.seconds / batch * 1e6,
                    "share": layer.seconds / total,
                    "gflops": layer.gflops,
                }
                for layer in profile
            ]
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
    return f"{net.isa}, {net.threads} thread{'s' if net.threads > 1 else ''}, {net.precision}"


def _profile_table(layers: list[dict[str, Any]]) -> Table:
    """One row a layer. Each was called alone from Python, which adds a few microseconds to each."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("layer", "op", "us/image", "share", "GFLOP/s"):
        table.add_column(column, justify="left" if column in ("layer", "op") else "right")
    for layer in layers:
        rate = f"{layer['gflops']:.1f}" if layer["gflops"] else ""
        table.add_row(layer["name"], layer["kind"], f"{layer['us']:.1f}", f"{layer['share']:.1%}", rate)
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
        "cores": cores,
        "rounds": len(seconds),
        "median_ms": median * 1e3,
        "min_ms": min(seconds) * 1e3,
        "p90_ms": p90 * 1e3,
        "macs": macs,
        "gflops": 2 * macs / median * 1e-9,
    }
