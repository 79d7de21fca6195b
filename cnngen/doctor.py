"""What this machine has of what cnngen needs, each as a fact with the command that mends it."""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal

from cnngen._version import __version__
from cnngen.errors import CnngenError

Status = Literal["ok", "optional", "missing"]

EXTRAS = {
    "image": ("PIL", "pictures as input of `cnngen run`"),
    "onnx": ("onnx", "models from ONNX files"),
    "torch": ("torch", "models from PyTorch"),
    "cuda": ("pycuda", "networks on NVIDIA GPUs"),
    "plot": ("matplotlib", "pictures of profiles (`cnngen bench --plot`)"),
    "zig": ("ziglang", "a C compiler as a Python package"),
}
"""Optional dependencies: the extra of cnngen, the module it brings, what it is good for."""

PROBE = 'int cnngen_probe(void);\n__attribute__((visibility("default"))) int cnngen_probe(void) { return 42; }\n'


@dataclass(frozen=True)
class Check:
    """One thing that was looked for. `optional` things may be absent; without a `missing` one nothing compiles."""

    name: str
    status: Status
    detail: str
    remedy: str | None = None


def examine() -> list[Check]:
    """Look for everything; never raises for what it finds. Takes about a second: it compiles a small program."""
    return list(_checks())


def measure_all() -> list[Check]:
    """Measure this processor for every ISA that it has, and keep the figures for the planner."""
    from cnngen.backends.cpu.target import host_isas

    return [_guarded(f"speed {isa}", partial(_speed, isa)) for isa in host_isas()]


def _speed(isa: str) -> Check:
    from cnngen.backends.cpu.measure import measure_machine

    m = measure_machine(isa)
    caches = f"L2 {m.l2_rate:g}, L3 {m.l3_rate:g}, memory {m.memory_rate:g} GB/s"
    return Check(f"speed {isa}", "ok", f"{m.peak:g} GFLOP/s a core; {caches}")


def _checks() -> Iterator[Check]:
    yield Check("cnngen", "ok", f"{__version__} in {Path(__file__).parent}")
    yield Check("python", "ok", f"{platform.python_version()}, {sys.executable}")
    yield Check("system", "ok", f"{platform.system()} {platform.release()} {platform.machine()}")
    yield from _isas()
    yield from _compilers()
    yield _guarded("cache", _cache, otherwise="optional")
    for extra, (module, purpose) in EXTRAS.items():
        yield _extra(extra, module, purpose)


def _guarded(name: str, check: Callable[[], Check], otherwise: Status = "missing") -> Check:
    """The check's answer, or the error that kept it from answering."""
    try:
        return check()
    except CnngenError as error:
        return Check(name, otherwise, error.problem, error.remedy)
    except OSError as error:
        return Check(name, otherwise, str(error))


def _isas() -> Iterable[Check]:
    from cnngen.backends.cpu.machine import cpu_model
    from cnngen.backends.cpu.target import ISAS, available_cores, host_isas

    here = host_isas()
    absent = [name for name in ISAS if name not in here]
    yield Check("processor", "ok", f"{cpu_model()}, {available_cores()} cores for this process")
    yield Check("isa", "ok", f"{', '.join(here)}; native is {here[-1]}")
    if absent:
        names = ", ".join(absent)
        yield Check(
            "isa", "optional", f"{names}: not on this processor", f"check its kernels with --isa {absent[-1]}-emulated"
        )


def _compilers() -> Iterable[Check]:
    from cnngen.backends.cpu.compiler import find_compiler

    found = _guarded("compiler", lambda: Check("compiler", "ok", str(find_compiler())))
    yield found
    if found.status != "ok":
        return
    yield _guarded("build", lambda: _builds("build", "compiles, links and loads a program", ()))
    yield _guarded(
        "openmp", lambda: _builds("openmp", "several threads in one run", ("-fopenmp",)), otherwise="optional"
    )


def _builds(name: str, detail: str, flags: tuple[str, ...]) -> Check:
    """Compile, link and load a small program with `flags`."""
    from cnngen.backends.cpu.toolchain import build, find_compiler
    from cnngen.backends.sources import SourceTree

    tree = SourceTree("probe", {"probe.c": PROBE}, {}, ("probe.c",), flags)
    with tempfile.TemporaryDirectory(prefix="cnngen-doctor-") as folder:
        library = ctypes.CDLL(str(build(tree, find_compiler(), Path(folder), timeout=60)))
        if library.cnngen_probe() != 42:
            return Check(name, "missing", "the compiled program gives a wrong result", "try another compiler (CC)")
    return Check(name, "ok", detail)


def _cache() -> Check:
    from cnngen.cache import cache_folder, entries, size_limit

    folder = cache_folder()
    if folder is None:
        return Check("cache", "optional", "no home folder: nothing is kept", "set XDG_CACHE_HOME to a folder")
    found = entries()
    used = sum(entry.size for entry in found)
    return Check("cache", "ok", f"{folder}, {len(found)} libraries, {used / 1e6:.1f} of {size_limit() / 1e6:.0f} MB")


def _extra(extra: str, module: str, purpose: str) -> Check:
    if importlib.util.find_spec(module) is None:
        return Check(extra, "optional", f"not installed; for {purpose}", f"pip install 'cnngen[{extra}]'")
    names = metadata.packages_distributions().get(module, [module])
    return Check(extra, "ok", f"{names[0]} {metadata.version(names[0])}; for {purpose}")
