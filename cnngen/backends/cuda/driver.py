"""The CUDA driver as the launcher sees it, and which package calls it: pycuda, or else NVIDIA's cuda-bindings.

Both wrap the same C functions. Nothing of them is imported before a network is loaded onto a GPU. The functions raise
`DriverError`; `cnngen.backends.cuda.device` turns it into a `DeviceError` that says what was going on.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from cnngen.errors import DeviceError, inert
from cnngen.ir import Array

CHOICE = "CNNGEN_CUDA_DRIVER"
"""The environment variable that names one of `PACKAGES`."""
PACKAGES = {"pycuda": "pycuda", "cuda-core": "cuda.bindings"}
"""Names for a person, which are those of the extras, and what is imported."""


class DriverError(Exception):
    """A function of the driver failed: its name, and the number that it returned (CUresult in cuda.h)."""

    def __init__(self, function: str, code: int) -> None:
        super().__init__(f"{function} returned {code}")
        self.function = function
        self.code = code


class Properties(NamedTuple):
    """What a GPU says of itself; `shared` are the bytes of shared memory that a block can ask for.

    For the planner, 0 where the driver does not know it: shared memory, threads and blocks of a multiprocessor, shared
    memory that the system takes of a block, Hz, bytes a second from memory, bytes of L2.
    """

    name: str
    capability: tuple[int, int]
    processors: int
    shared: int
    memory: int
    shared_processor: int = 0
    threads: int = 0
    blocks: int = 0
    reserved: int = 0
    clock: float = 0.0
    bandwidth: float = 0.0
    l2_size: int = 0


class Stream(Protocol):
    """A queue of work on the GPU."""

    @property
    def handle(self) -> int: ...


class Context(Protocol):
    """What can be done on one GPU. All but `push` and `release` need the context to be pushed by the same thread.

    Memory is an address, events, graphs and their nodes are handles: numbers. Modules and functions belong to the
    package that calls the driver. `handle` is the handle of any stream, also of one that was made elsewhere.
    """

    def push(self) -> None: ...
    def pop(self) -> None: ...
    def release(self) -> None:
        """Give the context back; nothing is called after that."""

    def memory(self) -> tuple[int, int]:
        """Bytes that are free, and bytes that there are."""

    def allocate(self, size: int) -> int: ...
    def free(self, address: int) -> None: ...
    def allocate_host(self, size: int) -> Array:
        """Page-locked memory as bytes: copies to and from it need no detour."""

    def free_host(self, memory: Array) -> None: ...
    def device_of(self, address: int) -> int | None:
        """The GPU on which `address` lies; None for other memory."""

    def load(self, image: bytes) -> Any: ...
    def unload(self, module: Any) -> None: ...
    def function(self, module: Any, symbol: str) -> Any: ...
    def allow_shared(self, function: Any, size: int) -> None:
        """Let blocks of `function` have `size` bytes of dynamic shared memory, more than the usual 48 KiB."""

    def launch(
        self, function: Any, grid: tuple[int, int, int], threads: int, shared: int, pointers: Sequence[int], to: Stream
    ) -> None: ...

    def stream(self) -> Stream: ...
    def destroy_stream(self, stream: Stream) -> None: ...
    def synchronize(self, stream: Stream | None = None) -> None:
        """Wait for all work in `stream`, or on the whole GPU."""

    def upload(self, address: int, source: Array, stream: Stream) -> None: ...
    def download(self, target: Array, address: int, stream: Stream) -> None: ...
    def copy(self, target: int, source: int, size: int, handle: int) -> None: ...
    def clear(self, address: int, size: int, handle: int) -> None: ...

    def event(self, *, timing: bool = False) -> int: ...
    def destroy_event(self, event: int) -> None: ...
    def record(self, event: int, handle: int, *, in_graph: bool = False) -> None:
        """Mark the work so far; `in_graph` makes a mark of its own of it where the stream is captured."""

    def wait(self, handle: int, event: int) -> None:
        """Work that comes later waits for the mark."""

    def seconds(self, first: int, last: int) -> float: ...

    def begin_capture(self, handle: int) -> None:
        """Record what this thread puts into the stream, instead of doing it."""

    def last_node(self, handle: int) -> int:
        """What was captured last."""

    def end_capture(self, handle: int) -> int: ...
    def instantiate(self, graph: int) -> int: ...
    def set_pointers(self, executable: int, node: int, pointers: Sequence[int]) -> None:
        """Give other arguments to the kernel of `node`, in replays from now on."""

    def replay(self, executable: int, handle: int) -> None: ...
    def destroy_graph(self, graph: int) -> None: ...
    def destroy_executable(self, executable: int) -> None: ...


class Driver(Protocol):
    """The driver of this machine. All functions raise `DriverError`."""

    @property
    def name(self) -> str: ...
    def start(self) -> None:
        """Initialise the driver in this process; without effect after the first time."""

    def version(self) -> int:
        """The newest CUDA that the driver knows, 13000 for 13.0."""

    def count(self) -> int: ...
    def properties(self, device: int) -> Properties: ...
    def context(self, device: int) -> Context:
        """The primary context of a GPU, which all libraries in this process share."""


def find_driver(name: str | None = None) -> Driver:
    """The driver through the package `name` (default: `CNNGEN_CUDA_DRIVER`, else the first that can be imported).

    Raises `DeviceError` where there is no driver, or no package, with the command that mends it.
    """
    from cnngen.backends.cuda import libcuda

    libcuda.load()
    chosen = name or os.environ.get(CHOICE) or None
    if chosen is not None and chosen not in PACKAGES:
        raise DeviceError(f"{CHOICE} is {inert(chosen)!r}", remedy=f"use one of {', '.join(PACKAGES)}")
    problems = []
    for package in [chosen] if chosen else PACKAGES:
        try:
            return _open(package)
        except ImportError as error:
            problems.append(f"{package}: {inert(str(error))}")
    raise DeviceError(
        f"no package that calls the CUDA driver can be imported ({'; '.join(problems)})",
        remedy="pip install 'cnngen[cuda]', or, without a compiler, pip install 'cnngen[cuda-core]'",
    )


def _open(package: str) -> Driver:
    module = {"pycuda": "driver_pycuda", "cuda-core": "driver_bindings"}[package]
    make: Callable[[], Driver] = importlib.import_module(f"cnngen.backends.cuda.{module}").make
    return make()


def host_memory(address: int, size: int) -> Array:
    """`size` bytes of the host at `address`, as an array that does not own them."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
