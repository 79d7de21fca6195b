"""Measures this machine for the planner, in less than a second, and keeps the figures beside the compiled networks.

Nothing is measured behind a user's back. `cnngen doctor --measure` does it for all plans that follow; a profile, which
wants to know the roofline, for itself.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from cnngen import cache
from cnngen.backends.cpu.machine import FORMAT, KIB, MIB, Machine, cpu_model, figures_file, known
from cnngen.backends.cpu.target import ISAS, Target, host_isas
from cnngen.errors import CacheError

SPARE_REGISTERS = 4
PEAK_STEPS = 20_000
ROUNDS = 15
SECONDS = 0.004
"""Of one timing."""


def measure_machine(isa: str) -> Machine:
    """Measure one core for `isa`, which this machine has to have, and keep the figures. Raises `ToolchainError`."""
    machine = _measured(Target(ISAS[isa]))
    record = {"format": FORMAT, "cpu": cpu_model(), "isa": isa, "figures": machine._asdict()}
    try:
        path = figures_file(isa)  # in the cache folder, which the library of `source` has made
        path.parent.mkdir(mode=0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            file.write(json.dumps(record, indent=2) + "\n")
        Path(name).replace(path)
    except (OSError, CacheError):
        pass  # measured again next time
    return machine


@functools.cache
def own_figures(isa: str) -> Machine:
    """The figures that are kept, or measured now for this process only. Raises `ToolchainError`."""
    machine = known(isa)
    return machine if machine.measured or isa not in host_isas() else _measured(Target(ISAS[isa]))


def cache_sizes() -> tuple[int, int, int]:
    """Bytes of L1d, L2 and L3 as Linux tells them, for this process's first core; usual ones where it does not."""
    sizes = {1: 32 * KIB, 2: 512 * KIB, 3: 16 * MIB}
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    for index in Path(f"/sys/devices/system/cpu/cpu{core}/cache").glob("index*"):
        try:
            if (index / "type").read_text().strip() == "Instruction":
                continue
            text = (index / "size").read_text().strip()
            units = {"K": KIB, "M": MIB}
            sizes[int((index / "level").read_text())] = int(text.rstrip("KM")) * units.get(text[-1], 1)
        except (OSError, ValueError):
            continue
    return sizes[1], sizes[2], sizes[3]


def source(target: Target) -> str:
    """C functions that run the peak, and read memory, on as many accumulators as there are registers to spare."""
    count = target.isa.registers - SPARE_REGISTERS
    step = count * target.isa.lanes
    accumulators = range(count)
    declare = ", ".join(f"a{i} = v_set1({i + 1}.0f)" for i in accumulators)
    peak = " ".join(f"a{i} = v_fma(a{i}, x, y);" for i in accumulators)
    read = " ".join(f"a{i} = v_add(a{i}, v_load(p + {i * target.isa.lanes}));" for i in accumulators)
    total = " ".join(f"a0 = v_add(a0, a{i});" for i in accumulators if i)
    # The empty asm keeps the compiler from joining steps of the loop.
    return f"""#include <stddef.h>
#include "simd.h"
__attribute__((visibility("default"))) void fma_peak(float *out, long steps)
{{
    v_t {declare};
    const v_t x = v_set1(out[0]), y = v_set1(out[1]);
    for (long i = 0; i < steps; ++i) {{ {peak} __asm__ volatile(""); }}
    {total}
    v_store(out, a0);
}}
__attribute__((visibility("default"))) void read_all(float *out, const float *start, long floats, long times)
{{
    v_t {declare};
    for (long i = 0; i < times; ++i)
        for (const float *p = start, *end = p + floats - {step}; p <= end; p += {step}) {{ {read} }}
    {total}
    v_store(out, a0);
}}
"""


def load_probe(target: Target) -> ctypes.CDLL:
    """The library of `source`. Raises `ToolchainError`."""
    from cnngen.backends.cpu.compiler import find_compiler
    from cnngen.backends.sources import SourceTree
    from cnngen.resources import templates_folder

    header = (templates_folder() / "c" / "simd" / target.header).read_text()
    files = {"simd.h": header, "limits.c": source(target)}
    tree = SourceTree("limits", files, {}, ("limits.c",), target.flags, ("-lm",))
    library = ctypes.CDLL(str(cache.library(tree, find_compiler())))
    library.fma_peak.argtypes = (ctypes.c_void_p, ctypes.c_long)
    library.read_all.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_long)
    return library


def _measured(target: Target) -> Machine:
    """The highest peak and the median rates of rounds in which the limits take turns."""
    import numpy as np

    l1, l2, l3 = cache_sizes()
    library, scratch = load_probe(target), np.zeros(64, np.float32)
    # Half of L2, and as much of L3 as is surely beyond L2; memory is read where no cache holds it, once.
    spans = [l2 // 2, min(max(4 * l2, l3 // 4), l3 // 2), min(max(2 * l3, 64 * MIB), 256 * MIB)]
    data = np.ones(spans[-1] // 4, np.float32)  # written: pages never written are all one page of zeros
    out, pointer = scratch.ctypes.data, data.ctypes.data

    def timed(*arguments: int) -> float:
        start = perf_counter()
        library.read_all(out, pointer, *arguments)
        return perf_counter() - start

    samples: list[list[float]] = [[], [], [], []]
    lanes, count = target.isa.lanes, target.isa.registers - SPARE_REGISTERS
    library.fma_peak(out, PEAK_STEPS)
    for span in spans[:2]:
        timed(span // 4, 1)
    for number in range(ROUNDS):
        start = perf_counter()
        library.fma_peak(out, PEAK_STEPS)
        samples[0].append(2e-9 * lanes * count * PEAK_STEPS / (perf_counter() - start))
        for level, span in enumerate(spans, 1):
            if level == 3 and number >= 3:
                continue  # it takes longest and varies least
            timed(span // 4, 1) if level < 3 else None  # fetched from beyond
            times = max(int(SECONDS * 20e9 / span), 1)
            samples[level].append(1e-9 * span * times / timed(span // 4, times))
    peak = round(max(samples[0]), 1)
    l2_rate, l3_rate, memory_rate = (round(median(values), 1) for values in samples[1:])
    l3_rate = min(l3_rate, l2_rate)
    return Machine(peak, l1, l2, l3, l2_rate, l3_rate, min(memory_rate, l3_rate), measured=True)
