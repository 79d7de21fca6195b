"""The tables of `cnngen inspect --plan`: how every layer is computed, how long that should take, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnngen.backends.cpu.plan import Plan
from cnngen.report.plan_explained import explain, microseconds
from cnngen.weight_storage import phrase

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 150
"""Width from which on kernels are shown."""


def machine_text(plan: Plan) -> str:
    """The figures that the planner went by."""
    m = plan.target.machine
    origin = "measured here" if m.measured else "usual for the ISA; cnngen doctor --measure takes this machine's"
    return (
        f"{m.peak:g} GFLOP/s a core; L1 {m.l1_bytes >> 10} KiB, L2 {m.l2_bytes >> 10} KiB at {m.l2_rate:g} GB/s, "
        f"L3 {m.l3_bytes >> 20} MiB at {m.l3_rate:g}, memory at {m.memory_rate:g} ({origin})"
    )


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as data: what it was made for, its memory, and a row for every step."""
    rows = explain(plan)
    return {
        "network": plan.name,
        "isa": plan.target.name,
        "threads": plan.target.threads,
        "weight_storage": plan.weight_storage,
        "images_in_turn": plan.repeats,
        "machine": plan.target.machine._asdict(),
        "arena_bytes": plan.arena_bytes,
        "arena_lower_bound_bytes": 4 * plan.arena.lower_bound,
        "weight_bytes": 4 * plan.blob_floats,
        "predicted_us": round(1e6 * sum(row.seconds for row in rows), 3),
        "layers": [row.as_json() for row in rows],
    }


def print_plan(plan: Plan, console: Console) -> None:
    """Print the plan as a table, a row for every step, with the sum of the expected times."""
    from rich.table import Table
    from rich.text import Text

    rows = explain(plan)
    target = f"{plan.target.name}, threads {plan.target.threads}{phrase(plan.weight_storage)}"
    console.print(Text(f"plan {plan.name}: {target}", style="bold"))
    console.print(machine_text(plan), markup=False, highlight=False)
    if plan.repeats > 1:
        console.print(f"{plan.repeats} images one after the other; below is one of them", highlight=False)
    console.print(
        f"arena {plan.arena_bytes:,} bytes, lower bound {4 * plan.arena.lower_bound:,}; "
        f"weights {4 * plan.blob_floats:,} bytes",
        highlight=False,
    )
    wide = console.width >= WIDE
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=True)
    total = sum(row.seconds for row in rows)
    table.add_column("layer", overflow="fold", footer="expected in all")
    table.add_column("algorithm")
    table.add_column("tile")
    table.add_column("blocking")
    table.add_column("us", justify="right", footer=microseconds(total))
    table.add_column("limit")
    table.add_column("why")
    if wide:
        table.add_column("kernel", overflow="fold", style="dim")
    for row in rows:
        cells = [row.name, row.algorithm, row.tile, row.blocking, microseconds(row.seconds)]
        cells += [row.limit, row.why, *([", ".join(row.kernels)] if wide else [])]
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
