"""`cnngen verify`: hold the compiled network against the float64 reference."""

from __future__ import annotations

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
    StrictOption,
    TargetOption,
    ThreadsOption,
    WeightsOption,
    WeightStorageOption,
    console,
    find_spec,
    input_shapes,
    print_json,
    working,
)


def verify(
    spec: SpecArgument,
    weights: WeightsOption = None,
    input_shape: ShapesOption = None,
    strict: StrictOption = False,
    target: TargetOption = "cpu",
    precision: PrecisionOption = "fp32",
    architectures: ArchitecturesOption = "native",
    isa: IsaOption = "native",
    threads: ThreadsOption = None,
    weight_storage: WeightStorageOption = "fp32",
    batch: BatchOption = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the inputs.")] = 0,
    json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Check the compiled network against the float64 reference.

    Every layer on the network's own inputs, within derived bounds; every layer on small integers, bit
    for bit; the whole network end to end. Exit code 1 if any of it fails.

    Examples:

      cnngen verify specs/lenet.yaml

      cnngen verify lenet --isa scalar --threads 2 --json

      cnngen verify lenet --target cuda-emulated --precision fp16
    """
    import cnngen
    from cnngen.verify import verify as check

    path = find_spec(spec)
    with working(f"Verifying {path.name}") as say:
        say("compiling")
        with cnngen.compile(
            path,
            weights=weights,
            input_shapes=input_shapes(input_shape),
            strict=strict,
            target=target,
            precision=precision,
            architectures=architectures,
            isa=isa,
            threads=threads,
            weight_storage=weight_storage,
            batch=batch,
        ) as net:
            report = check(net, seed=seed, progress=lambda layer, done, total: say(f"{layer} ({done}/{total})"))
    if json:
        print_json(report.to_dict())
    else:
        console().print(report)
    raise typer.Exit(0 if report.ok else 1)
