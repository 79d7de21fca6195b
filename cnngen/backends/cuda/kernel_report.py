"""What the assembler says about each kernel: registers, spills, shared memory, per architecture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

ENTRY = re.compile(r"Compiling entry function '([^']+)' for '(sm_\w+)'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


class KernelUse(NamedTuple):
    """What one kernel takes on one architecture: registers of a thread, bytes of stack, of spilled registers
    (stores and loads), and of static shared memory."""

    kernel: str
    architecture: str
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


def parse(log: str) -> list[KernelUse]:
    """The kernels that `-Xptxas -v` names, in its order."""
    pieces = ENTRY.split(log)[1:]
    found = []
    for kernel, architecture, text in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
        registers, stack, shared = (pattern.search(text) for pattern in (REGISTERS, STACK, SHARED))
        if registers is None:
            continue
        frame, stores, loads = map(int, stack.groups()) if stack else (0, 0, 0)
        static = int(shared[1]) if shared else 0
        found.append(KernelUse(kernel, architecture, int(registers[1]), frame, stores, loads, static))
    return found


def spilling(uses: Sequence[KernelUse]) -> list[KernelUse]:
    """The kernels whose registers do not suffice."""
    return [use for use in uses if use.spill_stores or use.spill_loads]


def table(uses: Sequence[KernelUse]) -> str:
    """The report as text: a kernel a line, with the registers that a thread takes on each architecture."""
    kernels = list(dict.fromkeys(use.kernel for use in uses))
    architectures = sorted({use.architecture for use in uses}, key=lambda name: int(re.sub(r"\D", "", name)))
    by_place = {(use.kernel, use.architecture): use for use in uses}
    width = max((len(kernel) for kernel in kernels), default=0)
    columns = [f"{name:>14}" for name in architectures]
    lines = ["registers of a thread; bytes spilled and bytes of static shared memory where there are any", ""]
    lines.append(f"{'kernel':{width}}{''.join(columns)}")
    for kernel in kernels:
        cells = (_cell(by_place.get((kernel, name))) for name in architectures)
        lines.append(f"{kernel:{width}}{''.join(f'{cell:>14}' for cell in cells)}".rstrip())
    count = len(spilling(uses))
    lines += ["", f"{len(kernels)} kernels, {count or 'none'} with spills"]
    return "\n".join(lines) + "\n"


def _cell(use: KernelUse | None) -> str:
    if use is None:
        return "-"
    spilled = use.spill_stores + use.spill_loads
    return f"{use.registers}" + (f" spill {spilled}" if spilled else "") + (f" +{use.shared}" if use.shared else "")
