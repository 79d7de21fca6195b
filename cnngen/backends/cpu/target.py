"""What a CPU can do: its ISA as facts for the planner, and which ISAs this machine runs."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass, replace
from pathlib import Path

from cnngen.backends.cpu.choices import NO_CHOICES, Choices
from cnngen.backends.cpu.machine import DEFAULTS, Machine, known
from cnngen.errors import TargetError

EMULATED_SUFFIX = "-emulated"


@dataclass(frozen=True)
class Isa:
    """One vector instruction set.

    `lanes` is floats in a register, `registers` how many there are, `header` the file under
    `templates/c/simd/` that defines the vocabulary, `fused` whether its multiply-add rounds once,
    `flags` the compiler options that enable it and `features` the names in /proc/cpuinfo that it needs.
    """

    name: str
    lanes: int
    registers: int
    header: str
    fused: bool
    flags: tuple[str, ...] = ()
    features: frozenset[str] = frozenset()


_AVX2_FLAGS = ("-mavx2", "-mfma", "-mf16c")
ISAS = {
    isa.name: isa
    for isa in (
        Isa("scalar", 1, 16, "scalar.h", False),
        # -mno-avx: also where the compiler is set to go beyond, as by CC="gcc -march=native".
        Isa("sse4.1", 4, 16, "sse4_1.h", False, ("-msse4.1", "-mno-avx"), frozenset({"sse4_1"})),
        Isa("avx2", 8, 16, "avx2.h", True, _AVX2_FLAGS, frozenset({"sse4_1", "avx2", "fma", "f16c"})),
        Isa(
            "avx512",
            16,
            32,
            "avx512.h",
            True,
            (*_AVX2_FLAGS, "-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mprefer-vector-width=512"),
            frozenset({"sse4_1", "avx2", "fma", "f16c", "avx512f", "avx512vl", "avx512dq", "avx512bw"}),
        ),
    )
}
"""From the most portable to the fastest."""


@dataclass(frozen=True)
class Target:
    """What code is generated for: an ISA and a number of threads.

    With `emulated` the plan and the kernels are those of `isa`, but the vocabulary is written with
    the compiler's own vectors, so that they can be checked on a machine that lacks the ISA. `reproducible`
    code gives the same bits on every ISA with fused multiply-add: no algorithm that depends on the ISA.
    Large dense layers keep their weights in the format `weight_storage` (`cnngen.weight_storage`).
    The planner goes by `machine` and, where its `choices` name a layer, by those. `parameter_bytes` of the whole
    network tell where a run finds its weights: in a cache, or in memory.
    """

    isa: Isa
    threads: int = 1
    emulated: bool = False
    reproducible: bool = False
    given_machine: Machine | None = None
    choices: Choices = NO_CHOICES
    parameter_bytes: int = 0
    weight_storage: str = "fp32"

    @property
    def machine(self) -> Machine:
        """The figures that the planner goes by: those given, or what is usual for the ISA."""
        return self.given_machine or DEFAULTS[self.isa.name]

    @property
    def name(self) -> str:
        return self.isa.name + (EMULATED_SUFFIX if self.emulated else "")

    @property
    def header(self) -> str:
        return "emulated.h" if self.emulated else self.isa.header

    @property
    def flags(self) -> tuple[str, ...]:
        """Compiler options for this ISA; an emulated one uses what this machine has.

        Emulated vectors are many instructions each: with all optimisations they take minutes to compile.
        Ones wider than the machine's are passed between functions of one file only: no ABI to warn about.
        """
        emulation = (*ISAS[host_isas()[-1]].flags, "-O1", "-Wno-psabi")
        emulation += (f"-DCNNGEN_EMULATED_LANES={self.isa.lanes}", f"-DCNNGEN_EMULATED_FMA={int(self.isa.fused)}")
        flags = emulation if self.emulated else self.isa.flags
        return flags + (("-fopenmp",) if self.threads > 1 else ())


@functools.cache
def host_isas() -> tuple[str, ...]:
    """Names of the ISAs that this machine can run, the fastest last.

    /proc/cpuinfo lists what both the processor has and the kernel enables: where Linux does not save the
    registers of AVX or AVX-512 on a switch (no XSAVE, a hypervisor or a boot option that hides it), their
    names are absent, although the processor would have them.
    """
    features: set[str] = set()
    if platform.machine() in ("x86_64", "AMD64"):
        try:
            text = Path("/proc/cpuinfo").read_text()
        except OSError:
            text = ""
        features = set(next((line for line in text.splitlines() if line.startswith("flags")), "").split())
    return tuple(isa.name for isa in ISAS.values() if isa.features <= features)


def resolve(isa: str, threads: int, *, run_here: bool = True, reproducible: bool = False) -> Target:
    """The target that `isa` names: an ISA, `native`, or an emulated one such as `avx512-emulated`.

    Raises `TargetError` for an unknown name and, where the code is to `run_here`, for an ISA that this
    machine lacks.
    """
    if threads < 1:
        raise TargetError(f"threads is {threads}", remedy="use 1 or more")
    emulated = isa.endswith(EMULATED_SUFFIX)
    name = host_isas()[-1] if isa == "native" else isa.removesuffix(EMULATED_SUFFIX)
    if name not in ISAS:
        known = ", ".join([*ISAS, "native"])
        raise TargetError(f"unknown ISA {isa!r}", remedy=f"use one of {known}, or e.g. avx512{EMULATED_SUFFIX}")
    if run_here and name not in host_isas() and not emulated:
        raise TargetError(
            f"this machine cannot run {name} code (it has {', '.join(host_isas())})",
            remedy=f"use isa='native', isa='{name}{EMULATED_SUFFIX}' to check the {name} kernels here, or compile "
            "elsewhere what --emit-only writes",
        )
    return Target(ISAS[name], threads, emulated, reproducible)


def here(target: Target) -> Target:
    """`target` with the figures that were measured on this machine, if they were and it runs on it natively."""
    if target.emulated or target.isa.name not in host_isas():
        return target
    return replace(target, given_machine=known(target.isa.name))


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
