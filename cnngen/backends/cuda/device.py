"""A GPU in this process: its context, and what becomes of errors.

There is one context for each GPU, the primary one, which pycuda, CuPy and PyTorch can share. After some errors (an
illegal address, a launch that timed out) the driver refuses everything in it until the process ends; then `Device`
refuses it first, and says why. So it does in a process that was forked: CUDA does not work there.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import weakref
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from cnngen.backends.cuda.driver import Context, Driver, DriverError, Properties, find_driver
from cnngen.errors import DeviceError

OUT_OF_MEMORY = 2
MIB = 1 << 20
NOT_INITIALIZED = 3
STICKY = {
    214: "the memory of the GPU failed (uncorrectable ECC error)",
    220: "the link between the GPUs failed (uncorrectable NVLink error)",
    700: "a kernel used an illegal address",
    702: "a kernel ran longer than the driver allows (launch time-out)",
    710: "an assertion failed on the GPU",
    714: "the call stack of a kernel failed",
    715: "a kernel met an illegal instruction",
    716: "a kernel used an address that is not aligned",
    717: "a kernel used an address of the wrong address space",
    718: "the program counter of a kernel left its code",
    719: "a kernel failed",
    721: "a kernel left tensor memory behind",
}
"""Errors after which the driver refuses the context (cuda.h says so of each), and what they mean."""
MEANINGS = {
    NOT_INITIALIZED: ("CUDA cannot be initialised", "it works in no process that was forked from one that had used it: "
                      "start this process with spawn"),
    34: ("libcuda.so is the toolkit's stub, not a driver", "take its folder out of LD_LIBRARY_PATH"),
    35: ("the driver is older than what calls it", "install a newer driver"),
    36: ("the driver is too old for this function", "install a newer driver"),
    46: ("the GPU is in use by another process that has it for itself", "end that process, or wait for it"),
    100: ("no GPU was found", "check nvidia-smi; in a container, start it with --gpus all"),
    101: ("there is no GPU of this number", "use target='cuda:0'"),
    OUT_OF_MEMORY: ("out of memory", "use a smaller batch, or free memory on the GPU (nvidia-smi shows who has it)"),
    200: ("the image is neither a cubin nor a fatbin", "delete it and compile again"),
    209: ("the image holds no code for this GPU", "compile for its architecture"),
    218: ("the image holds PTX that the driver cannot compile", "compile a cubin for the architecture of this GPU"),
    221: ("the image holds only PTX, and the driver has no compiler for it", "compile a cubin for this GPU"),
    222: ("the image holds PTX of a CUDA newer than the driver", "compile a cubin, or install a newer driver"),
    500: ("the image lacks a kernel of this network", "delete it and compile again"),
    701: ("a kernel needs more registers or shared memory than the GPU has", "compile for its architecture"),
    802: ("the driver is not ready yet", "wait for nvidia-fabricmanager, or start it"),
    803: ("driver and kernel module are of different versions", "restart the machine"),
    804: ("the driver's compatibility package does not support this GPU", "install a newer driver"),
}  # fmt: skip
"""What other results of the driver mean here, and what to do."""

_devices: dict[int, Device] = {}
_lock = threading.Lock()
_forked = False


class Closable(Protocol):
    def close(self) -> None: ...


class Device:
    """One GPU; `use` gives its context. `stuck` says why it cannot be used any more, None where it can.

    `users` are the objects with things of the driver in them, which a forked process must not destroy.
    """

    def __init__(self, driver: Driver, number: int) -> None:
        self.number = number
        self.driver = driver
        self.properties: Properties = driver.properties(number)
        self.stuck: str | None = None
        self._context = driver.context(number)
        self._garbage: list[int] = []
        self.capturing = False
        self.users: weakref.WeakSet[Closable] = weakref.WeakSet()

    @property
    def label(self) -> str:
        return f"GPU {self.number} ({self.properties.name})"

    def use(self, doing: str) -> Use:
        """For a `with` statement: the context, pushed; `doing` begins the messages of its errors."""
        return Use(self, doing)

    def allocate(self, context: Context, size: int, what: str) -> int:
        """Memory on the GPU. Raises `DeviceError` with what was needed and what there is."""
        try:
            return context.allocate(size)
        except DriverError as error:
            if error.code != OUT_OF_MEMORY:
                raise
            free, total = context.memory()
            raise DeviceError(
                f"{self.label}: out of memory: {what} need {size / MIB:.1f} MiB, {free / MIB:.1f} MiB of "
                f"{total / MIB:.1f} are free",
                remedy="use a smaller batch, or free memory on the GPU (nvidia-smi shows who has it)",
            ) from error

    def free_later(self, address: int) -> None:
        """Free memory that somebody has dropped: now, or after a capture, which it would break."""
        self._garbage.append(address)
        if not (self.capturing or self.stuck or _forked):
            with self.use("free memory"):
                pass

    def explain(self, error: DriverError, doing: str) -> DeviceError:
        """What the failure means for the caller. Marks the device as stuck where the driver refuses it from now on."""
        place = f"{self.label}: cannot {doing}: "
        if error.code in STICKY:
            self.stuck = STICKY[error.code]
            return DeviceError(
                f"{place}{STICKY[error.code]} ({error})",
                remedy="this process cannot use the GPU any more: start a new process",
            )
        return explained(error, place)

    def check(self) -> None:
        """Raise `DeviceError` where this device cannot be used any more."""
        if _forked:
            raise DeviceError(
                f"{self.label} was used before this process was forked, and cannot be used in it",
                remedy="start this process with spawn or forkserver instead of fork, and compile the network in it",
            )
        if self.stuck:
            raise DeviceError(
                f"{self.label} cannot be used any more: {self.stuck}",
                remedy="start a new process and compile the network again there",
            )

    def close(self) -> None:
        """Give everything back, at the end of the process."""
        if _forked:
            return
        for user in list(self.users):
            user.close()
        self.stuck = self.stuck or "this process is ending"
        with suppress(DriverError):
            self._context.release()

    # For `Use`

    def enter(self) -> Context:
        self.check()
        self._context.push()
        return self._context

    def leave(self) -> None:
        try:
            with suppress(IndexError):  # another thread may take the last one
                while not (self.capturing or self.stuck):
                    self._context.free(self._garbage.pop())
        finally:
            self._context.pop()


class Use:
    """The context of a device, pushed in this thread as long as the block runs."""

    def __init__(self, device: Device, doing: str) -> None:
        self._device = device
        self._doing = doing

    def __enter__(self) -> Context:
        try:
            return self._device.enter()
        except DriverError as error:
            raise self._device.explain(error, self._doing) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        explained = self._device.explain(error, self._doing) if isinstance(error, DriverError) else None
        try:
            self._device.leave()
        except DriverError as other:
            if error is None:
                raise self._device.explain(other, self._doing) from other
        if explained is not None:
            raise explained from error


def explained(error: DriverError, place: str = "") -> DeviceError:
    """`error` for a person, where it has nothing to do with the state of a device."""
    meaning, remedy = MEANINGS.get(error.code, (f"the CUDA driver failed: {error}", "check nvidia-smi and dmesg"))
    return DeviceError(f"{place}{meaning} ({error.function})", remedy=remedy)


def open_device(number: int = 0, driver: Driver | None = None) -> Device:
    """GPU `number` of those that are visible; the same object each time. Raises `DeviceError`."""
    with _lock:
        if number in _devices:
            _devices[number].check()
            return _devices[number]
        if _forked and _devices:
            next(iter(_devices.values())).check()
        driver = driver or find_driver()
        try:
            driver.start()
            count = driver.count()
            if not 0 <= number < count:
                known = ", ".join(f"cuda:{i} ({driver.properties(i).name})" for i in range(count))
                raise DeviceError(f"there is no GPU {number}", remedy=f"use one of {known}" if known else _invisible())
            device = Device(driver, number)
        except DriverError as error:
            found = explained(error)
            if error.code == 100:
                found.remedy = _invisible()
            raise found from error
        _devices[number] = device
        return device


def _invisible() -> str:
    """What to do where no GPU is found."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return f"CUDA_VISIBLE_DEVICES is {visible!r}: unset it, or name a GPU of nvidia-smi -L"
    return MEANINGS[100][1]


def _close_all() -> None:
    for device in _devices.values():
        device.close()


def _after_fork() -> None:
    """Nothing of CUDA works in the child, not even giving memory back: keep it all, unused, until the process ends."""
    global _forked, _lock
    _forked, _lock = bool(_devices), threading.Lock()
    for device in _devices.values():
        for thing in (device, *device.users):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
