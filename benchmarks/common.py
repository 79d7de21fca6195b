"""What every benchmark here shares: pinning, interleaved timing, machine facts, results as JSON.

Contenders of one comparison run in turn, in short slices, in one process and on one core, so that a
noisy neighbour or a falling clock meets all of them alike. What counts is the median over the slices.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter_ns
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results"

# OpenMP and BLAS read these once, when their libraries load. So this module does without NumPy, and a
# benchmark calls `use_one_thread` before it imports anything else.
SINGLE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Timing:
    """Seconds per call: one value for each slice."""

    slices: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.slices)

    @property
    def low(self) -> float:
        """First decile."""
        return self._deciles[0]

    @property
    def high(self) -> float:
        """Ninth decile."""
        return self._deciles[-1]

    @property
    def _deciles(self) -> list[float]:
        return statistics.quantiles(self.slices, n=10, method="inclusive")

    def as_json(self) -> dict[str, float | int]:
        return {"median_s": self.median, "p10_s": self.low, "p90_s": self.high, "slices": len(self.slices)}


def use_one_thread() -> None:
    """Keep libraries that load after this call from starting threads of their own."""
    os.environ.update(SINGLE_THREAD)


def pin(core: int | None = None) -> int:
    """Bind this process to one core, the last one allowed unless named, and return its number.

    Returns -1 where the system has no such call (macOS).
    """
    if not hasattr(os, "sched_setaffinity"):
        return -1
    allowed = sorted(os.sched_getaffinity(0))
    chosen = allowed[-1] if core is None else core
    if chosen not in allowed:
        raise SystemExit(f"core {chosen} is not one of {allowed} that this process may use")
    os.sched_setaffinity(0, {chosen})
    return chosen


def interleave(
    contenders: Mapping[str, Callable[[], object]],
    *,
    slices: int = 60,
    slice_seconds: float = 0.01,
    measure: Callable[[Callable[[], object], int], float] | None = None,
) -> dict[str, Timing]:
    """Time the contenders in turn, `slices` times each; a slice repeats the call for about `slice_seconds`.

    `measure` gives the seconds per call of so many calls; by default the clock of this machine does.

    The number of calls in a slice is found while warming up, and the order turns by one each round, so
    that nobody always follows the same neighbour (and finds the cache as that one leaves it).
    """
    measure = measure or _seconds
    calls = {name: _calls_for(call, slice_seconds, measure) for name, call in contenders.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(slices):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            samples[name].append(measure(contenders[name], calls[name]))
    return {name: Timing(tuple(values)) for name, values in samples.items()}


def _calls_for(
    call: Callable[[], object], seconds: float, measure: Callable[[Callable[[], object], int], float]
) -> int:
    """How many calls fill `seconds`, at least one; warms the call up on the way."""
    calls = 1
    while (taken := measure(call, calls) * calls) < seconds:
        calls = max(calls + 1, min(10 * calls, int(calls * seconds / max(taken, 1e-9))))
    return calls


def _seconds(call: Callable[[], object], calls: int) -> float:
    """Seconds per call."""
    start = perf_counter_ns()
    for _ in range(calls):
        call()
    return (perf_counter_ns() - start) / calls * 1e-9


def machine_facts() -> dict[str, Any]:
    """What a reader needs to judge the numbers: processor, its SIMD, load, versions, date, commit."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": _cpu_model(),
        "simd": _simd(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "compiler": _first_line([*os.environ.get("CC", "cc").split(), "--version"]),
    }


def write_json(path: Path, result: Mapping[str, Any], *, quiet: bool = False) -> None:
    """Write `result` and, unless `quiet`, say where; a name without a folder goes to `benchmarks/results/`."""
    target = path if path.parent != Path() else RESULTS / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if not quiet:
        print(f"written: {target}")


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return _first_line(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.processor() or "unknown"


def _simd() -> list[str]:
    """SIMD extensions that the kernels care about, as Linux spells them."""
    wanted = ("sse4_1", "avx", "fma", "avx2", "avx512f", "avx512bw", "avx512vl", "asimd")
    cpuinfo = Path("/proc/cpuinfo")
    words = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.exists() else set()
    return [name for name in wanted if name in words]


def _commit() -> str:
    commit = _first_line(["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"])
    # Results written by earlier benchmarks are no change to what is measured.
    changed = _first_line(["git", "-C", str(REPOSITORY), "status", "--porcelain", "--", ".", ":!benchmarks/results"])
    return (commit or "unknown") + (" (with changes)" if changed else "")


def _first_line(command: list[str]) -> str:
    """First line that `command` prints, empty where it cannot run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""
