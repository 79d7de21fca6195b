"""A CUDA driver without a GPU, for tests: it runs the kernels of the emulation. See driver.c."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cnngen import backends
from cnngen.backends.cpu.emit import c_identifier
from cnngen.backends.cuda.emit import emit_device
from cnngen.backends.cuda.launcher import Launcher, load
from cnngen.backends.cuda.launches import describe
from cnngen.backends.cuda.plan import CudaPlan
from cnngen.interface import Interface, Stages
from cnngen.ir import Array, Graph
from cnngen.network import Network
from cnngen.pipeline import cuda_plan_for
from cnngen.resources import templates_folder

HERE = Path(__file__).parent
CAPABILITY = 90

MODULE = """\
#define CNNGEN_EMULATION
#include "{name}.cu"
#include "module.h"

extern "C" {{
extern const int stub_capability;
extern const Kernel stub_kernels[];
const int stub_capability = {capability};
const Kernel stub_kernels[] = {{
    {kernels},
    {{nullptr, nullptr, 0}},
}};
}}
"""


def _folder() -> Path:
    """Where compiled things stay for the next run of the tests."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cnngen-tests"
    base.mkdir(parents=True, exist_ok=True)
    return base


def _compiled(name: str, command: list[str], sources: dict[str, str]) -> Path:
    """The library that `command` makes of `sources`, from an earlier run if they are the same."""
    key = hashlib.sha256(repr((command, sorted(sources.items()))).encode()).hexdigest()[:24]
    target = _folder() / f"{name}-{key}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=_folder()) as folder:
            for file, text in sources.items():
                (Path(folder) / file).write_text(text)
            subprocess.run([*command, "-shared", "-fPIC", "-o", "library.so"], cwd=folder, check=True)
            (Path(folder) / "library.so").replace(target)
    return target


def build() -> Path:
    """The driver, compiled."""
    sources = {name: (HERE / name).read_text() for name in ("driver.c", "api.h", "lookup.h")}
    command = ["cc", "-std=gnu11", "-O1", "-g", "-Wall", "-Werror", "driver.c", "-fvisibility=hidden"]
    return _compiled("libcuda", [*command, "-Wl,-soname,libcuda.so.1", "-lpthread", "-ldl"], sources)


@functools.cache
def install() -> ctypes.CDLL:
    """Load the driver into this process, where everything that wants libcuda.so.1 from now on finds it."""
    library = ctypes.CDLL(str(build()), ctypes.RTLD_GLOBAL)
    library.cuda_stub_used.restype = library.cuda_stub_blocks.restype = ctypes.c_size_t
    library.cuda_stub_error.restype = ctypes.c_char_p
    return library


def image(plan: CudaPlan, capability: int = CAPABILITY) -> bytes:
    """The device code of `plan` for the driver, in place of a cubin."""
    name = c_identifier(plan.name)
    kernels = ",\n    ".join(f"KERNEL({symbol})" for symbol in plan.kernels.values())
    sources = {
        **emit_device(plan, "test"),
        "emulation.h": (templates_folder() / "cuda/emulation.h").read_text(),
        "module.h": (HERE / "module.h").read_text(),
        "module.cpp": MODULE.format(name=name, kernels=kernels, capability=capability),
    }
    command = ["g++", "-std=c++17", "-march=native", "-O1", "-U_FORTIFY_SOURCE", "-Wno-unknown-pragmas"]
    command += ["-fno-gnu-unique", "module.cpp"]  # else the emulation's state would be one for all modules
    return _compiled(name, command, sources).read_bytes()


def launcher(plan: CudaPlan, device: int = 0) -> Launcher:
    """`plan`, loaded onto a GPU of the driver."""
    return load(image(plan), describe(plan), backends.pack_weights(plan), device)


def compiled(graph: Graph, precision: str = "fp32", device: int = 0) -> Network:
    """`graph` on a GPU of the driver."""
    return launched(cuda_plan_for(graph, target="cuda", precision=precision), graph, device)


def launched(plan: CudaPlan, graph: Graph, device: int = 0) -> Network:
    """`plan` of `graph` on a GPU of the driver."""
    stages = Stages(graph, plan)
    return Network(Interface.of(stages), launcher(plan, device), stages)


class Foreign:
    """An array of another library, as its `__cuda_array_interface__` shows it."""

    def __init__(self, array: Any, **changed: Any) -> None:
        self.owner = array
        self.__cuda_array_interface__ = {**array.__cuda_array_interface__, **changed}


class Queue:
    """A stream of somebody else's on the GPU of `launcher`, in which a copy waits until somebody waits for it."""

    def __init__(self, launcher: Launcher) -> None:
        self._use = launcher.device.use("test")
        with self._use as context:
            self._stream = context.stream()
            self._pinned: list[Any] = []

    @property
    def handle(self) -> int:
        return self._stream.handle

    def fill(self, target: Any, values: Array) -> None:
        """Put a copy of `values` to `target` into the stream."""
        with self._use as context:
            pinned = context.allocate_host(values.nbytes)
            self._pinned.append(pinned)
            pinned[:] = values.reshape(-1).view(np.uint8)
            context.upload(target.address, pinned, self._stream)

    def close(self) -> None:
        with self._use as context:
            context.synchronize(self._stream)
            for pinned in self._pinned:
                context.free_host(pinned)
            context.destroy_stream(self._stream)
            del self._stream
