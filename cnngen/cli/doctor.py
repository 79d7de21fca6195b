"""`cnngen doctor`: what this machine has, and what to install for the rest."""

from __future__ import annotations

from typing import Annotated

import typer

from cnngen.cli.common import DebugOption, JsonOption, console, print_json


def doctor(
    cuda: Annotated[bool, typer.Option("--cuda", help="Look closer at what CUDA needs.")] = False,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Measure this processor's peak and caches; plans go by that from now on."),
    ] = False,
    json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Show what this machine has: compiler, instruction sets, OpenMP, cache, extras.

    With --cuda: nvcc or NVRTC, the driver, the packages that call it, and the GPUs.

    With --measure (a second, on an idle machine): peak, and read bandwidth of L2, L3 and memory, for each instruction
    set. They are kept in the cache folder; networks that are compiled afterwards are planned with them.

    Each missing thing comes with the command that mends it. Exit code 3 where networks cannot be
    compiled at all.
    """
    from dataclasses import asdict

    from cnngen.doctor import examine

    checks = examine()
    if cuda:
        from cnngen import doctor_cuda

        checks += doctor_cuda.examine()
    if measure:
        from cnngen.doctor import measure_all

        checks += measure_all()
    if json:
        print_json([asdict(check) for check in checks])
    else:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False)
        for check in checks:
            mark, style = {"ok": ("ok", "green"), "optional": ("--", "yellow"), "missing": ("missing", "bold red")}[
                check.status
            ]
            detail = Text(check.detail)
            if check.remedy:
                detail.append(f"\n{check.remedy}", style="dim")
            table.add_row(Text(mark, style=style), Text(check.name, style="bold"), detail)
        console().print(table)
    raise typer.Exit(3 if any(check.status == "missing" for check in checks) else 0)
