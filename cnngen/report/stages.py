"""Every stage of a compilation as text: the graph and the plan, for people and for diffs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnngen.backends.files import FolderError, make_folder, put
from cnngen.backends.sources import SourceTree
from cnngen.ir import Graph
from cnngen.weight_storage import phrase

if TYPE_CHECKING:
    from cnngen.backends import AnyPlan
    from cnngen.plan.steps import Step

_KERNEL_FILE = re.compile(r"[a-z0-9_]+__[a-z0-9_]+\.c")


def graph_text(graph: Graph) -> str:
    """One line a tensor: name, op with its parameters, inputs, shape."""
    lines = [f"graph {graph.name}"]
    lines += [f"input {tensor.name}: {tensor.type}" for tensor in graph.inputs]
    for node in graph.nodes:
        placement = graph.placements.get(node.name)
        place = f"  in {placement.host} from channel {placement.channel}" if placement else ""
        lines.append(f"{node.name} = {node.op}({', '.join(node.inputs)}): {graph.types[node.name]}{place}")
    lines.append(f"outputs {', '.join(graph.outputs)}")
    return "\n".join(lines) + "\n"


def plan_text(plan: AnyPlan) -> str:
    """The target, the arena and every step with its kernels, what they read and write."""
    symbols = plan.kernels
    arena, size = plan.arena, plan.element.itemsize
    lines = [
        f"plan {plan.name}: {plan.target.name}, threads {plan.target.threads}{phrase(plan.weight_storage)}",
        *([f"{plan.repeats} images one after the other"] if plan.repeats > 1 else []),
        f"arena {plan.arena_bytes} bytes, lower bound {size * arena.lower_bound}; weights {4 * plan.blob_floats} bytes",
        "",
    ]
    lines += [
        f"buffer {b.index}: steps {b.first}-{b.last}, offset {size * b.offset}, {size * b.size} bytes"
        + (f", halo {b.halo}" if b.has_halo else "")
        for b in arena.buffers
    ]
    steps: Sequence[Step[Any]] = plan.steps
    for number, step in enumerate(steps):
        lines += ["", f"step {number}: {step.title}"]
        for call in step.calls:
            reads = ", ".join(f"{v.space} {v.index} + {v.offset}" for v in call.reads)
            write = f"{call.write.space} {call.write.index} + {call.write.offset}"
            write += f", scratch {call.scratch.space} {call.scratch.index}" if call.scratch else ""
            lines.append(f"  {symbols[call.kernel]}: {reads or 'nothing'} -> {write}")
    return "\n".join(lines) + "\n"


def write_stages(plan: AnyPlan, tree: SourceTree, folder: Path) -> None:
    """Write `graph.txt` and `plan.txt` into `folder`, and delete kernels of an earlier build there.

    Raises `FolderError`.
    """
    make_folder(folder)
    try:
        put(folder / "graph.txt", memoryview(graph_text(plan.graph).encode()))
        put(folder / "plan.txt", memoryview(plan_text(plan).encode()))
        for path in (folder / "kernels").glob("*.c"):
            if f"kernels/{path.name}" not in tree.files and _KERNEL_FILE.fullmatch(path.name) and not path.is_symlink():
                path.unlink()
    except OSError as error:
        raise FolderError.of(folder, error) from error
