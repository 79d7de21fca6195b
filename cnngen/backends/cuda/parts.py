"""The parts of a launcher: its memory on the GPU, its code, and the capture of a graph."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from types import TracebackType
from typing import Any, NamedTuple

from cnngen.backends.cuda.device import Device
from cnngen.backends.cuda.driver import Context, DriverError, Stream
from cnngen.backends.cuda.launches import Argument, Description

ALIGNMENT = 256
"""Bytes: what cuMemAlloc gives; vector loads and asynchronous copies need 16."""


class Layout(NamedTuple):
    """Where things lie in the memory on the GPU, in bytes, and its whole size.

    The page-locked memory of the host is an image of what lies between `begin` and `size`: inputs, then outputs,
    which begin at `middle`.
    """

    weights: int
    arena: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    begin: int
    middle: int
    size: int

    @staticmethod
    def of(description: Description) -> Layout:
        inputs, outputs = description.inputs, description.outputs
        sizes = (description.weights, description.arena, *inputs, *outputs)
        *offsets, size = accumulate((-(-size // ALIGNMENT) * ALIGNMENT for size in sizes), initial=0)
        last = 2 + len(inputs)
        middle = offsets[last] if outputs else size
        return Layout(offsets[0], offsets[1], tuple(offsets[2:last]), tuple(offsets[last:]), offsets[2], middle, size)


class Boundary(NamedTuple):
    """A kernel of the graph that reads an input or writes an output."""

    node: int
    arguments: tuple[Argument, ...]


class Code:
    """Module, kernels and stream. pycuda gives them back with the last reference: nobody else may keep one."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.module: Any = None
        self.kernels: dict[str, Any] = {}
        self.stream: Stream | None = None

    def drop(self) -> None:
        """Give them back; the context has to be pushed."""
        self.kernels.clear()
        stream, self.stream = self.stream, None
        if stream is not None:
            self._context.destroy_stream(stream)
        module, self.module = self.module, None
        if module is not None:
            self._context.unload(module)


class Capture:
    """For a `with` statement: what this thread puts into the stream becomes `graph`."""

    def __init__(self, device: Device, context: Context, handle: int) -> None:
        self._device, self._context, self._handle = device, context, handle
        self.graph = 0

    def __enter__(self) -> Capture:
        self._context.begin_capture(self._handle)
        self._device.capturing = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._device.capturing = False
        if error is None:
            self.graph = self._context.end_capture(self._handle)
        else:
            with suppress(DriverError):
                self._context.destroy_graph(self._context.end_capture(self._handle))


def quietly(function: Callable[..., None], *arguments: Any) -> None:
    """Give something back; where that fails the context is gone, and with it what was to be given back."""
    with suppress(DriverError):
        function(*arguments)
