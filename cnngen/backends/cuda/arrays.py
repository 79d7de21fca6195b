"""Arrays that lie on a GPU: those of others through `__cuda_array_interface__` (version 3 and older), and our own.

https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html says what the interface holds.
"""

from __future__ import annotations

import math
import weakref
from typing import Any, NamedTuple

import numpy as np

from cnngen.backends.cuda.device import Device
from cnngen.errors import DeviceError, RunError, inert
from cnngen.ir import Array

FLOAT_BYTES = 4
TYPE = np.dtype(np.float32).str


class External(NamedTuple):
    """An array on the GPU: its address and shape; the stream that has to be waited for, or all of them."""

    address: int
    shape: tuple[int, ...]
    stream: int | None
    wait_for_all: bool
    writable: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return FLOAT_BYTES * math.prod(self.shape)


def read(what: str, value: Any) -> External:
    """The array `value`, which is called `what` in messages.

    Raises `RunError` for anything but contiguous float32.
    """
    try:
        interface = value.__cuda_array_interface__
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise RunError(
            f"{what} is a {type(value).__name__} that does not lie on a GPU: {inert(str(error))}",
            remedy="give all inputs and outputs on the GPU, or all in NumPy; x.detach() is without a gradient",
        ) from error
    shape, kind = tuple(map(int, interface["shape"])), str(interface["typestr"])
    if kind != TYPE:
        raise RunError(f"{what} has dtype {inert(kind)}, not float32", remedy="convert it on the GPU")
    if interface.get("mask") is not None:
        raise RunError(f"{what} has a mask", remedy="give a plain array")
    strides = interface.get("strides")
    if strides is not None and not _contiguous(shape, tuple(map(int, strides))):
        raise RunError(f"{what} is not contiguous in memory", remedy="copy it on the GPU, in C order")
    address, read_only = interface["data"]
    stream, version = interface.get("stream"), int(interface.get("version", 0))
    # Before version 3 nobody says which stream the array comes from; in version 3 None is a promise that it is there.
    return External(
        int(address or 0), shape, None if stream is None else int(stream), version < 3 and stream is None, not read_only
    )


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = FLOAT_BYTES
    for count, stride in zip(reversed(shape), reversed(strides), strict=True):
        if count > 1 and stride != expected:
            return False
        expected *= count
    return True


def stream_handle(stream: Any) -> int:
    """The handle of a stream of CuPy, PyTorch, pycuda or cuda-core, or the number itself. Raises `RunError`."""
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    for name in ("cuda_stream", "ptr", "handle"):
        if hasattr(stream, name):
            return int(getattr(stream, name))
    if isinstance(stream, int):
        return stream
    raise RunError(
        f"stream is a {type(stream).__name__}",
        remedy="give a stream of CuPy, PyTorch, pycuda or cuda-core, or its handle",
    )


class DeviceArray:
    """A float32 array on a GPU, in C order. Its memory is given back with the last reference to it.

    It has `__cuda_array_interface__` and DLPack, so that ``cupy.asarray(y)``, ``torch.from_dlpack(y)`` and others use
    it without a copy; `numpy` gives a copy in the memory of the host.
    """

    def __init__(
        self, device: Device, shape: tuple[int, ...], base: DeviceArray | None = None, offset: int = 0
    ) -> None:
        self._device = device
        self._base = base
        self.shape = shape
        self.dtype = np.dtype(np.float32)
        self.nbytes = FLOAT_BYTES * math.prod(shape)
        self.address: int = base.address if base is not None else 0
        if self.nbytes and base is None:
            with device.use("make an array") as context:
                self.address = device.allocate(context, self.nbytes, f"an array of shape {shape}")
            weakref.finalize(self, device.free_later, self.address).atexit = False

    @staticmethod
    def of(device: Device, array: Array) -> DeviceArray:
        """A copy of `array` on the GPU."""
        source = np.ascontiguousarray(array, np.float32)
        made = DeviceArray(device, source.shape)
        if made.nbytes:
            with device.use("copy an array") as context:
                stream = context.stream()
                context.upload(made.address, source.reshape(-1).view(np.uint8), stream)
                context.synchronize(stream)
                context.destroy_stream(stream)
                del stream
        return made

    @property
    def device(self) -> int:
        """Number of the GPU."""
        return self._device.number

    def numpy(self) -> Array:
        """A copy in the memory of the host, after all work on the GPU that was queued before."""
        array = np.empty(self.shape, np.float32)
        if self.nbytes:
            with self._device.use("copy an array") as context:
                context.synchronize()
                stream = context.stream()
                context.download(array.reshape(-1).view(np.uint8), self.address, stream)
                context.synchronize(stream)
                context.destroy_stream(stream)
                del stream
        return array

    def image(self) -> DeviceArray:
        """The first image without its batch axis, in the same memory."""
        return DeviceArray(self._device, self.shape[1:], self)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise RunError("the array lies on the GPU", remedy="call .numpy() on it")

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Its stream is None: what fills the array has been waited for, or was queued in a stream of the caller."""
        return {
            "shape": self.shape,
            "typestr": TYPE,
            "data": (self.address, False),
            "strides": None,
            "stream": None,
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        from cnngen.backends.cuda.dlpack import CUDA

        return CUDA, self._device.number

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule as DLPack wants it (without a version), over the same memory, which lives until it is deleted."""
        from cnngen.backends.cuda.dlpack import capsule

        if copy or (dl_device is not None and tuple(dl_device) != self.__dlpack_device__()):
            raise BufferError("a DeviceArray is given away where it is, without a copy")
        return capsule(self, self.address, self.shape, self._device.number)

    def __repr__(self) -> str:
        return f"<cnngen.DeviceArray {self.shape} on {self._device.label}>"


def check_place(what: str, array: External, device: Device) -> None:
    """Raise `DeviceError` unless `array` lies on `device`. An empty array lies anywhere."""
    if not array.size:
        return
    with device.use("look at an array") as context:
        found = context.device_of(array.address)
    if found is None:
        raise DeviceError(
            f"{what}: its address is not in the memory of a GPU", remedy="give an array that lies on a GPU"
        )
    if found != device.number:
        raise DeviceError(
            f"{what} lies on GPU {found}, the network on {device.label}",
            remedy=f"copy it there, or compile for target='cuda:{found}'",
        )
