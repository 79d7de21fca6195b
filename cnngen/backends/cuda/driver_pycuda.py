"""The CUDA driver through pycuda; what it does not wrap (graphs, streams of others) through `libcuda`.

pycuda frees what it allocated only while its context is pushed, so everything is kept here and freed by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pycuda.driver as cuda

from cnngen.backends.cuda import libcuda
from cnngen.backends.cuda.driver import DriverError, Properties, Stream
from cnngen.ir import Array

UNKNOWN = 999
"""CUDA_ERROR_UNKNOWN: for a message that the driver does not have."""


def make() -> PycudaDriver:
    """The driver; `find_driver` calls it."""
    return PycudaDriver()


@contextmanager
def _translated() -> Iterator[None]:
    """pycuda's exceptions, which are text, as `DriverError`."""
    try:
        yield
    except cuda.Error as error:
        function, _, text = str(error).partition(" failed: ")
        text = text.partition(" - ")[0]
        raise DriverError(function, libcuda.codes().get(text, UNKNOWN)) from error


class PycudaDriver:
    name = "pycuda"

    def start(self) -> None:
        with _translated():
            cuda.init()

    def version(self) -> int:
        with _translated():
            return int(cuda.get_driver_version())

    def count(self) -> int:
        with _translated():
            return int(cuda.Device.count())

    def properties(self, device: int) -> Properties:
        with _translated():
            gpu, kinds = cuda.Device(device), cuda.device_attribute
            return Properties(
                str(gpu.name()),
                tuple(gpu.compute_capability()),
                int(gpu.get_attribute(kinds.MULTIPROCESSOR_COUNT)),
                int(gpu.get_attribute(kinds.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)),
                int(gpu.total_memory()),
                *libcuda.planning_figures(device),
            )

    def context(self, device: int) -> PycudaContext:
        with _translated():
            return PycudaContext(cuda.Device(device).retain_primary_context())


class PycudaContext(libcuda.Graphs):
    def __init__(self, context: Any) -> None:
        self._context: Any = context
        self._memory: dict[int, Any] = {}

    def push(self) -> None:
        with _translated():
            self._context.push()

    def pop(self) -> None:
        with _translated():
            cuda.Context.pop()

    def release(self) -> None:
        """Never leave this to the destructor of pycuda's object, which takes the context for one that was made."""
        with _translated():
            self._context.detach()

    def memory(self) -> tuple[int, int]:
        with _translated():
            free, total = cuda.mem_get_info()
            return int(free), int(total)

    def allocate(self, size: int) -> int:
        with _translated():
            memory = cuda.mem_alloc(size)
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        with _translated():
            self._memory.pop(address).free()

    def allocate_host(self, size: int) -> Array:
        with _translated():
            memory: Array = cuda.pagelocked_empty(size, np.uint8)
            return memory

    def free_host(self, memory: Array) -> None:
        with _translated():
            memory.base.free()  # type: ignore[union-attr]  # pycuda's HostAllocation

    def load(self, image: bytes) -> Any:
        with _translated():
            return cuda.module_from_buffer(image)

    def unload(self, module: Any) -> None:
        """pycuda unloads it with the last reference to it and to its functions."""

    def function(self, module: Any, symbol: str) -> Any:
        with _translated():
            return module.get_function(symbol)

    def allow_shared(self, function: Any, size: int) -> None:
        with _translated():
            function.set_attribute(cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES, size)

    def launch(
        self, function: Any, grid: tuple[int, int, int], threads: int, shared: int, pointers: Sequence[int], to: Stream
    ) -> None:
        arguments = np.array(pointers, np.uint64)
        with _translated():
            function._launch_kernel(grid, (threads, 1, 1), arguments, shared, to)

    def stream(self) -> Stream:
        with _translated():
            stream: Stream = cuda.Stream()
            return stream

    def destroy_stream(self, stream: Stream) -> None:
        """pycuda destroys it with the last reference."""

    def synchronize(self, stream: Stream | None = None) -> None:
        wait: Callable[[], None] = cuda.Context.synchronize if stream is None else stream.synchronize  # type: ignore[attr-defined]  # pycuda's
        with _translated():
            wait()

    def upload(self, address: int, source: Array, stream: Stream) -> None:
        with _translated():
            cuda.memcpy_htod_async(address, source, stream)

    def download(self, target: Array, address: int, stream: Stream) -> None:
        with _translated():
            cuda.memcpy_dtoh_async(target, address, stream)
