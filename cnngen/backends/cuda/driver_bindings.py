"""The CUDA driver through cuda-bindings, the lower half of NVIDIA's CUDA Python (extra `cuda-core`)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

from cuda.bindings import driver as cuda

from cnngen.backends.cuda import libcuda
from cnngen.backends.cuda.driver import DriverError, Properties, Stream, host_memory
from cnngen.ir import Array

ATTRIBUTE = cuda.CUdevice_attribute
NAME_BYTES = 256


def make() -> BindingsDriver:
    """The driver; `find_driver` calls it."""
    return BindingsDriver()


class Queue(NamedTuple):
    """A stream by its handle."""

    handle: int


def _call(function: Any, *arguments: Any) -> Any:
    """What the function gives beside its CUresult: nothing, one thing or a tuple. Raises `DriverError`."""
    code, *results = function(*arguments)
    if code:
        raise DriverError(function.__name__, int(code))
    return results[0] if len(results) == 1 else tuple(results)


class BindingsDriver:
    name = "cuda-core"

    def start(self) -> None:
        _call(cuda.cuInit, 0)

    def version(self) -> int:
        return int(_call(cuda.cuDriverGetVersion))

    def count(self) -> int:
        return int(_call(cuda.cuDeviceGetCount))

    def properties(self, device: int) -> Properties:
        gpu = _call(cuda.cuDeviceGet, device)

        def attribute(kind: Any) -> int:
            return int(_call(cuda.cuDeviceGetAttribute, kind, gpu))

        return Properties(
            _call(cuda.cuDeviceGetName, NAME_BYTES, gpu).split(b"\0")[0].decode(),
            (
                attribute(ATTRIBUTE.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
                attribute(ATTRIBUTE.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
            ),
            attribute(ATTRIBUTE.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
            attribute(ATTRIBUTE.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
            int(_call(cuda.cuDeviceTotalMem, gpu)),
            *libcuda.planning_figures(device),
        )

    def context(self, device: int) -> BindingsContext:
        return BindingsContext(_call(cuda.cuDeviceGet, device))


class BindingsContext:
    def __init__(self, device: Any) -> None:
        self._device = device
        self._context = _call(cuda.cuDevicePrimaryCtxRetain, device)

    def push(self) -> None:
        _call(cuda.cuCtxPushCurrent, self._context)

    def pop(self) -> None:
        _call(cuda.cuCtxPopCurrent)

    def release(self) -> None:
        _call(cuda.cuDevicePrimaryCtxRelease, self._device)

    def memory(self) -> tuple[int, int]:
        free, total = _call(cuda.cuMemGetInfo)
        return int(free), int(total)

    def allocate(self, size: int) -> int:
        return int(_call(cuda.cuMemAlloc, size))

    def free(self, address: int) -> None:
        _call(cuda.cuMemFree, address)

    def allocate_host(self, size: int) -> Array:
        address = int(_call(cuda.cuMemHostAlloc, size, 0))
        return host_memory(address, size)

    def free_host(self, memory: Array) -> None:
        _call(cuda.cuMemFreeHost, memory.ctypes.data)

    def device_of(self, address: int) -> int | None:
        kinds = cuda.CUpointer_attribute
        try:
            kind = _call(cuda.cuPointerGetAttribute, kinds.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address)
            device = _call(cuda.cuPointerGetAttribute, kinds.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address)
        except DriverError:
            return None  # memory that CUDA has never heard of
        return int(device) if int(kind) == cuda.CUmemorytype.CU_MEMORYTYPE_DEVICE else None

    def load(self, image: bytes) -> Any:
        return _call(cuda.cuModuleLoadData, image)

    def unload(self, module: Any) -> None:
        _call(cuda.cuModuleUnload, module)

    def function(self, module: Any, symbol: str) -> Any:
        return _call(cuda.cuModuleGetFunction, module, symbol.encode())

    def allow_shared(self, function: Any, size: int) -> None:
        kind = cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        _call(cuda.cuFuncSetAttribute, function, kind, size)

    def launch(
        self, function: Any, grid: tuple[int, int, int], threads: int, shared: int, pointers: Sequence[int], to: Stream
    ) -> None:
        arguments = _arguments(pointers)
        _call(cuda.cuLaunchKernel, function, *grid, threads, 1, 1, shared, to.handle, arguments, 0)

    def stream(self) -> Stream:
        return Queue(int(_call(cuda.cuStreamCreate, 0)))

    def destroy_stream(self, stream: Stream) -> None:
        _call(cuda.cuStreamDestroy, stream.handle)

    def synchronize(self, stream: Stream | None = None) -> None:
        if stream is None:
            _call(cuda.cuCtxSynchronize)
        else:
            _call(cuda.cuStreamSynchronize, stream.handle)

    def upload(self, address: int, source: Array, stream: Stream) -> None:
        _call(cuda.cuMemcpyHtoDAsync, address, source.ctypes.data, source.nbytes, stream.handle)

    def download(self, target: Array, address: int, stream: Stream) -> None:
        _call(cuda.cuMemcpyDtoHAsync, target.ctypes.data, address, target.nbytes, stream.handle)

    def copy(self, target: int, source: int, size: int, handle: int) -> None:
        _call(cuda.cuMemcpyDtoDAsync, target, source, size, handle)

    def clear(self, address: int, size: int, handle: int) -> None:
        _call(cuda.cuMemsetD8Async, address, 0, size, handle)

    def event(self, *, timing: bool = False) -> int:
        flags = cuda.CUevent_flags
        return int(_call(cuda.cuEventCreate, flags.CU_EVENT_DEFAULT if timing else flags.CU_EVENT_DISABLE_TIMING))

    def destroy_event(self, event: int) -> None:
        _call(cuda.cuEventDestroy, event)

    def record(self, event: int, handle: int, *, in_graph: bool = False) -> None:
        flags = cuda.CUevent_record_flags
        kind = flags.CU_EVENT_RECORD_EXTERNAL if in_graph else flags.CU_EVENT_RECORD_DEFAULT
        _call(cuda.cuEventRecordWithFlags, event, handle, kind)

    def wait(self, handle: int, event: int) -> None:
        _call(cuda.cuStreamWaitEvent, handle, event, 0)

    def seconds(self, first: int, last: int) -> float:
        return float(_call(cuda.cuEventElapsedTime, first, last)) * 1e-3

    def begin_capture(self, handle: int) -> None:
        _call(cuda.cuStreamBeginCapture, handle, cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)

    def last_node(self, handle: int) -> int:
        nodes = _call(cuda.cuStreamGetCaptureInfo, handle)[3]
        return int(nodes[0])

    def end_capture(self, handle: int) -> int:
        return int(_call(cuda.cuStreamEndCapture, handle))

    def instantiate(self, graph: int) -> int:
        return int(_call(cuda.cuGraphInstantiate, graph, 0))

    def set_pointers(self, executable: int, node: int, pointers: Sequence[int]) -> None:
        params = _call(cuda.cuGraphKernelNodeGetParams, node)
        params.extra = 0
        params.kernelParams = _arguments(pointers)
        _call(cuda.cuGraphExecKernelNodeSetParams, executable, node, params)

    def replay(self, executable: int, handle: int) -> None:
        _call(cuda.cuGraphLaunch, executable, handle)

    def destroy_graph(self, graph: int) -> None:
        _call(cuda.cuGraphDestroy, graph)

    def destroy_executable(self, executable: int) -> None:
        _call(cuda.cuGraphExecDestroy, executable)


def _arguments(pointers: Sequence[int]) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """Values and types, as cuda-bindings takes the arguments of a kernel."""
    return tuple(pointers), (ctypes.c_void_p,) * len(pointers)
