"""What the planner knows of a processor: its peak, its caches, and how fast data comes from each of them.

The figures are of one core and one ISA. Those of `DEFAULTS` stand for a usual machine; `cnngen.backends.cpu.measure`
takes this machine's own, and keeps them. A plan is made with the figures that are kept, and its key in the cache of
compiled networks holds them: the same figures give the same plan.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import NamedTuple

from cnngen.errors import CacheError
from cnngen.store import cache_folder, verify_private

FORMAT = 1
"""Of the kept figures: raise it when they mean something else."""
FOLDER = "machines"
FMA_UNITS = 2
"""Vector multiply-adds that a core starts in a cycle."""


class Machine(NamedTuple):
    """One core: `peak` in GFLOP/s (a multiply-add is two operations), sizes in bytes, rates of reading in GB/s.

    `l3_bytes` is what the core may fill of a shared cache. `measured` on this machine, or taken for granted.
    """

    peak: float
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    l2_rate: float
    l3_rate: float
    memory_rate: float
    measured: bool = False

    def cycles_a_second(self, lanes: int) -> float:
        """The clock at which `FMA_UNITS` units with so many lanes reach the peak."""
        return 1e9 * self.peak / (2 * FMA_UNITS * lanes)

    def rate_behind(self, size: float) -> float:
        """Bytes a second at which data comes that is read again and again and takes so many bytes."""
        if size <= self.l2_bytes:
            return 1e9 * self.l2_rate
        return 1e9 * (self.l3_rate if size <= self.l3_bytes else self.memory_rate)


KIB, MIB = 1 << 10, 1 << 20

DEFAULTS = {
    "scalar": Machine(6.0, 32 * KIB, 512 * KIB, 32 * MIB, 30.0, 20.0, 12.0),
    "sse4.1": Machine(24.0, 32 * KIB, 512 * KIB, 32 * MIB, 50.0, 30.0, 15.0),
    "avx2": Machine(92.0, 32 * KIB, 512 * KIB, 32 * MIB, 80.0, 45.0, 20.0),
    "avx512": Machine(217.0, 48 * KIB, 1 * MIB, 32 * MIB, 160.0, 90.0, 30.0),
}
"""By ISA: a server's core of about 3 GHz. What was seen: AVX2 on an EPYC, AVX-512 with 1 MiB of L2."""


@functools.cache
def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    import platform

    return platform.processor() or platform.machine()


def known(isa: str) -> Machine:
    """What was measured for `isa` on a processor like this, else what is usual for it. Never measures, never raises."""
    try:
        found = json.loads(figures_file(isa).read_text())
        machine = Machine(**found["figures"])
        if found["format"] == FORMAT and found["cpu"] == cpu_model() and _is_sane(machine):
            return machine
    except (OSError, ValueError, TypeError, KeyError, CacheError):
        pass
    return DEFAULTS[isa]


def figures_file(isa: str) -> Path:
    """Where the figures of this processor and `isa` are kept, in a folder that may not be there yet.

    Raises OSError or `CacheError` where nothing can be, or where others could have put it.
    """
    root = cache_folder()
    if root is None:
        raise FileNotFoundError(FOLDER)
    verify_private(root)
    name = "".join(letter if letter.isalnum() else "-" for letter in cpu_model())
    return root / FOLDER / f"{name[:80]}-{isa}.json"


def _is_sane(machine: Machine) -> bool:
    return all(type(value) in (int, float) and 0 < value < 1e13 for value in machine[:-1])
