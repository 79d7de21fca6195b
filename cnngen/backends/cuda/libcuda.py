"""The driver's own library through ctypes: for what pycuda does not wrap, and to see whether there is a driver at all.

Names and types are those of cuda.h. Every function returns a CUresult, which becomes a `DriverError`.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_float, c_int, c_size_t, c_ubyte, c_uint, c_uint64, c_ulonglong, c_void_p

from cnngen.backends.cuda.driver import DriverError
from cnngen.errors import DeviceError

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

EVENT_DEFAULT, EVENT_DISABLE_TIMING = 0, 2
EVENT_RECORD_DEFAULT, EVENT_RECORD_EXTERNAL = 0, 1
CAPTURE_THREAD_LOCAL = 1
POINTER_MEMORY_TYPE, POINTER_DEVICE_ORDINAL = 2, 9
MEMORY_TYPE_DEVICE = 2
HIGHEST_CODE = 999


class KernelNode(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS_v2."""

    _fields_ = [
        ("function", c_void_p),
        *((f"{group}_{axis}", c_uint) for group in ("grid", "block") for axis in "xyz"),
        ("shared", c_uint),
        ("arguments", POINTER(c_void_p)),
        ("extra", c_void_p),
        ("kernel", c_void_p),
        ("context", c_void_p),
    ]


INVALID_VALUE = 1
CLOCK, MEMORY_CLOCK, BUS_WIDTH, L2_SIZE, THREADS, SHARED, BLOCKS, RESERVED = 13, 36, 37, 38, 39, 81, 106, 111
"""CU_DEVICE_ATTRIBUTE_...: CLOCK_RATE (kHz), MEMORY_CLOCK_RATE (kHz), GLOBAL_MEMORY_BUS_WIDTH (bits), L2_CACHE_SIZE,
MAX_THREADS_PER_MULTIPROCESSOR, MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, MAX_BLOCKS_PER_MULTIPROCESSOR,
RESERVED_SHARED_MEMORY_PER_BLOCK."""

_SIGNATURES: dict[str, tuple[object, ...]] = {
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuEventCreate": (POINTER(c_void_p), c_uint),
    "cuEventDestroy_v2": (c_void_p,),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventRecordWithFlags": (c_void_p, c_void_p, c_uint),
    "cuEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cuStreamWaitEvent": (c_void_p, c_void_p, c_uint),
    "cuMemcpyDtoDAsync_v2": (c_uint64, c_uint64, c_size_t, c_void_p),
    "cuMemsetD8Async": (c_uint64, c_ubyte, c_size_t, c_void_p),
    "cuPointerGetAttribute": (c_void_p, c_int, c_uint64),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamGetCaptureInfo_v2": (
        c_void_p, POINTER(c_int), POINTER(c_uint64), POINTER(c_void_p), POINTER(POINTER(c_void_p)), POINTER(c_size_t)
    ),
    "cuStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cuGraphInstantiateWithFlags": (POINTER(c_void_p), c_void_p, c_ulonglong),
    "cuGraphKernelNodeGetParams_v2": (c_void_p, POINTER(KernelNode)),
    "cuGraphExecKernelNodeSetParams_v2": (c_void_p, c_void_p, POINTER(KernelNode)),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphDestroy": (c_void_p,),
    "cuGraphExecDestroy": (c_void_p,),
}  # fmt: skip


@functools.cache
def load() -> ctypes.CDLL:
    """The library, loaded once. Raises `DeviceError` where there is none."""
    try:
        library = ctypes.CDLL(LIBRARY)
        for name, types in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = types, c_int
    except OSError as error:
        raise DeviceError(
            f"there is no NVIDIA driver: {LIBRARY} cannot be loaded ({error})",
            remedy="install the driver (nvidia-smi has to work; in a container, start it with --gpus all), "
            "or use target='cpu'",
        ) from error
    except AttributeError as error:
        raise DeviceError(
            f"the NVIDIA driver is too old: {error}", remedy="install one for CUDA 12 or newer"
        ) from error
    return library


def call(name: str, *arguments: object) -> None:
    """Call the function `name`. Raises `DriverError` for any result but success."""
    code = getattr(load(), name)(*arguments)
    if code:
        raise DriverError(name, code)


@functools.cache
def codes() -> dict[str, int]:
    """What the driver says of each result, and its number: pycuda's exceptions have the text only."""
    found: dict[str, int] = {}
    for code in range(1, HIGHEST_CODE + 1):
        text = c_char_p()
        if load().cuGetErrorString(code, ctypes.byref(text)) == 0 and text.value is not None:
            found.setdefault(text.value.decode(), code)
    return found


def planning_figures(number: int) -> tuple[int, int, int, int, float, float, int]:
    """The fields of `Properties` from `shared_processor` on, for GPU `number`: 0 for what the driver does not know."""
    gpu = c_int()
    call("cuDeviceGet", ctypes.byref(gpu), number)

    def attribute(kind: int) -> int:
        value = c_int()
        try:
            call("cuDeviceGetAttribute", ctypes.byref(value), kind, gpu)
        except DriverError as error:
            if error.code != INVALID_VALUE:
                raise
            return 0
        return value.value

    bandwidth = 2e3 * attribute(MEMORY_CLOCK) * attribute(BUS_WIDTH) / 8  # memory moves two numbers a cycle
    limits = attribute(SHARED), attribute(THREADS), attribute(BLOCKS), attribute(RESERVED)
    return *limits, 1e3 * attribute(CLOCK), bandwidth, attribute(L2_SIZE)


class Graphs:
    """Events, graphs and streams by their handles: the part of a `Context` that is done here."""

    def event(self, *, timing: bool = False) -> int:
        event = c_void_p()
        call("cuEventCreate", ctypes.byref(event), EVENT_DEFAULT if timing else EVENT_DISABLE_TIMING)
        return event.value or 0

    def destroy_event(self, event: int) -> None:
        call("cuEventDestroy_v2", event)

    def record(self, event: int, handle: int, *, in_graph: bool = False) -> None:
        call("cuEventRecordWithFlags", event, handle, EVENT_RECORD_EXTERNAL if in_graph else EVENT_RECORD_DEFAULT)

    def wait(self, handle: int, event: int) -> None:
        call("cuStreamWaitEvent", handle, event, 0)

    def seconds(self, first: int, last: int) -> float:
        milliseconds = c_float()
        call("cuEventElapsedTime", ctypes.byref(milliseconds), first, last)
        return milliseconds.value * 1e-3

    def copy(self, target: int, source: int, size: int, handle: int) -> None:
        call("cuMemcpyDtoDAsync_v2", target, source, size, handle)

    def clear(self, address: int, size: int, handle: int) -> None:
        call("cuMemsetD8Async", address, 0, size, handle)

    def device_of(self, address: int) -> int | None:
        kind, device = c_uint(), c_int()
        try:
            call("cuPointerGetAttribute", ctypes.byref(kind), POINTER_MEMORY_TYPE, address)
            call("cuPointerGetAttribute", ctypes.byref(device), POINTER_DEVICE_ORDINAL, address)
        except DriverError:
            return None  # memory that CUDA has never heard of
        return device.value if kind.value == MEMORY_TYPE_DEVICE else None

    def last_node(self, stream: int) -> int:
        status, number, graph = c_int(), c_uint64(), c_void_p()
        nodes, count = POINTER(c_void_p)(), c_size_t()
        out = (ctypes.byref(part) for part in (status, number, graph, nodes, count))
        call("cuStreamGetCaptureInfo_v2", stream, *out)
        return nodes[0] or 0

    def begin_capture(self, stream: int) -> None:
        call("cuStreamBeginCapture_v2", stream, CAPTURE_THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        graph = c_void_p()
        call("cuStreamEndCapture", stream, ctypes.byref(graph))
        return graph.value or 0

    def instantiate(self, graph: int) -> int:
        executable = c_void_p()
        call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, 0)
        return executable.value or 0

    def set_pointers(self, executable: int, node: int, pointers: Sequence[int]) -> None:
        params = KernelNode()
        call("cuGraphKernelNodeGetParams_v2", node, ctypes.byref(params))
        values = (c_uint64 * len(pointers))(*pointers)
        start = ctypes.addressof(values)
        params.arguments = (c_void_p * len(pointers))(*(start + 8 * number for number in range(len(pointers))))
        params.extra = None
        call("cuGraphExecKernelNodeSetParams_v2", executable, node, ctypes.byref(params))

    def replay(self, executable: int, handle: int) -> None:
        call("cuGraphLaunch", executable, handle)

    def destroy_graph(self, graph: int) -> None:
        call("cuGraphDestroy", graph)

    def destroy_executable(self, executable: int) -> None:
        call("cuGraphExecDestroy", executable)
