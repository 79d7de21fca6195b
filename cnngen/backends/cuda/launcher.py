"""The launcher: loads device code, captures the whole network as a CUDA graph once, and replays it for each call.

The graph has the addresses of one arena and of the caller's arrays in it. Arrays in NumPy go through page-locked
memory to fixed places on the GPU; for arrays that lie on the GPU already, the few kernels that read inputs or write
outputs get other pointers before the replay. That costs a call of the driver for each of them where pointers change,
and nothing where they do not; copies to the fixed places would cost memory traffic on every call, another capture a
launch of every kernel.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cnngen.backends.cpu.loader import FFI
from cnngen.backends.cuda.device import Device, open_device
from cnngen.backends.cuda.driver import Context, Stream, host_memory
from cnngen.backends.cuda.launches import Argument, Description, Launch
from cnngen.backends.cuda.parts import Boundary, Capture, Code, Layout, quietly
from cnngen.errors import DeviceError, RunError
from cnngen.ir import Array

VECTOR = 16
"""Bytes that kernels load or store at once: inputs and outputs begin at multiples of it."""
FREE_SHARED = 48 << 10
"""Bytes of shared memory that a block gets without asking for them."""


def load(image: bytes | Path, description: Description, weights: Array, device: int = 0) -> Launcher:
    """Load the network that `description` describes onto GPU number `device`.

    `image` is a cubin or a fatbin, or the path of one; `weights` the packed blob (`backends.pack_weights`), float32 of
    `description.weights` bytes. The result has the functions of `cnngen.backends.cpu.loader.Library`, so that
    `Network` takes it. Raises `DeviceError`.
    """
    if isinstance(image, Path):
        try:
            code = image.read_bytes()
        except OSError as error:
            raise DeviceError(f"cannot read {image}: {error.strerror}", remedy="compile it again") from error
    else:
        code = image
    if weights.dtype != np.float32 or weights.nbytes != description.weights:
        raise DeviceError(
            f"weights are {weights.nbytes} bytes of {weights.dtype}, the code reads {description.weights} of float32",
            remedy="compile the network again",
        )
    return Launcher(open_device(device), code, description, np.ascontiguousarray(weights))


class Launcher:
    """A network on a GPU. Calls from several threads run one after the other; the GIL is released while they wait."""

    def __init__(self, device: Device, image: bytes, description: Description, weights: Array) -> None:
        self.device = device
        self.description = description
        self.arena_bytes = 0
        """Of the host: the arena lies on the GPU."""
        self._lock = threading.Lock()
        self._layout = Layout.of(description)
        self._boundaries: list[Boundary] = []
        self._last_stream: int | None = None
        with device.use(f"load {description.name}") as context, ExitStack() as undo:

            def keep(thing: Any, destroy: Callable[[Any], None]) -> Any:
                undo.callback(quietly, destroy, thing)
                return thing

            self._code = Code(context)
            undo.callback(quietly, self._code.drop)
            self._code.module = context.load(image)
            self._kernels = self._code.kernels
            for symbol in dict.fromkeys(launch.symbol for launch in description.launches):
                self._kernels[symbol] = self._kernel(context, symbol)
            what = f"weights and tensors of {description.name}"
            self._memory: int = keep(device.allocate(context, self._layout.size, what), context.free)
            self._pinned = keep(context.allocate_host(self._layout.size - self._layout.begin), context.free_host)
            self._code.stream = context.stream()
            self._handle = self._stream.handle
            self._done = keep(context.event(), context.destroy_event)
            if description.weights:
                context.upload(self._memory + self._layout.weights, _bytes(weights), self._stream)
            self._fixed = self._addresses(self._layout.inputs), self._addresses(self._layout.outputs)
            self._current = self._fixed
            graph = keep(self._capture(context), context.destroy_graph)
            self._executable = keep(context.instantiate(graph), context.destroy_executable)
            context.synchronize(self._stream)
            self._undo: ExitStack | None = undo.pop_all()
        device.users.add(self)

    # The functions of a library

    def run(self, *pointers: Any) -> None:
        """Run on arrays of the host: pointers (cffi) to the inputs, the outputs, and to an arena, which is not used."""
        layout, count = self._layout, len(self.description.inputs)
        addresses = [int(FFI.cast("uintptr_t", pointer)) for pointer in pointers[:-1]]
        half = layout.middle - layout.begin
        with self._turn("run") as context:
            start = self._pinned.ctypes.data - layout.begin
            for address, offset, size in zip(addresses, layout.inputs, self.description.inputs, strict=False):
                ctypes.memmove(start + offset, address, size)
            self._point(context, *self._fixed)
            self._queue_behind(context, self._handle)
            context.upload(self._memory + layout.begin, self._pinned[:half], self._stream)
            context.replay(self._executable, self._handle)
            context.download(self._pinned[half:], self._memory + layout.middle, self._stream)
            context.synchronize(self._stream)
            for address, offset, size in zip(addresses[count:], layout.outputs, self.description.outputs, strict=True):
                ctypes.memmove(address, start + offset, size)

    def run_steps(self, first: int, last: int, inputs: Any, outputs: Any, arena: Any, weights: Any) -> None:
        """Run some steps alone on arrays, an arena and (unless NULL) weights of the host; for looking inside."""
        layout, sizes = self._layout, self.description
        parts = [
            *((inputs[i], layout.inputs[i], size) for i, size in enumerate(sizes.inputs)),
            *((outputs[i], layout.outputs[i], size) for i, size in enumerate(sizes.outputs)),
            (arena, layout.arena, sizes.arena),
        ]
        copies = [(_host(pointer, size), self._memory + offset) for pointer, offset, size in parts if size]
        with self._turn("run a layer of") as context, ExitStack() as undo:
            self._queue_behind(context, self._handle)
            blob = self._weights
            if weights != FFI.NULL and sizes.weights:
                blob = self.device.allocate(context, sizes.weights, "weights for one layer")
                undo.callback(quietly, context.free, blob)
                context.upload(blob, _host(weights, sizes.weights), self._stream)
            for host, address in copies:
                context.upload(address, host, self._stream)
            for launch in Description._replace(sizes, steps=sizes.steps[first:last]).launches:
                self._launch(context, launch, blob)
            for host, address in copies:
                context.download(host, address, self._stream)
            context.synchronize(self._stream)

    def time_steps(self, inputs: Sequence[Array], rounds: int, sweep: int = 0) -> Array:
        """Seconds of each step in each of `rounds` runs, measured by the GPU: (rounds, steps).

        Before each run `sweep` bytes of other memory are written, and the inputs copied again: with more bytes than
        L2 has, weights are in memory and inputs in L2, as inside a large network.
        """
        steps = self.description.steps
        seconds = np.empty((rounds, len(steps)))
        with self._turn("measure") as context, ExitStack() as undo:
            self._queue_behind(context, self._handle)
            swept = self.device.allocate(context, sweep, "a sweep of L2") if sweep else 0
            if sweep:
                undo.callback(quietly, context.free, swept)

            def feed() -> None:
                if sweep:
                    context.clear(swept, sweep, self._handle)
                for array, address in zip(inputs, self._fixed[0], strict=True):
                    context.upload(address, _bytes(array), self._stream)

            feed()
            # The last two marks have nothing between them: what a mark costs.
            marks = [context.event(timing=True) for _ in range(len(steps) + 2)]
            for mark in marks:
                undo.callback(quietly, context.destroy_event, mark)
            with Capture(self.device, context, self._handle) as capture:
                context.record(marks[0], self._handle, in_graph=True)
                for mark, step in zip(marks[1:], (*steps, ()), strict=True):
                    for launch in step:
                        self._launch(context, launch, self._weights)
                    context.record(mark, self._handle, in_graph=True)
            undo.callback(quietly, context.destroy_graph, capture.graph)
            executable = context.instantiate(capture.graph)
            undo.callback(quietly, context.destroy_executable, executable)
            for measured in seconds:
                if sweep:
                    feed()
                context.replay(executable, self._handle)
                context.synchronize(self._stream)
                *taken, nothing = map(context.seconds, marks, marks[1:])
                measured[:] = np.maximum(np.array(taken) - nothing, 0.0)
        return seconds

    # Arrays on the GPU

    def replay(
        self, inputs: Sequence[int], outputs: Sequence[int], stream: int | None, behind: Sequence[int] = ()
    ) -> None:
        """Run on arrays of the compiled batch that lie on this GPU at these addresses.

        With a `stream` (a handle) the work is queued there and not waited for. Without one it is queued behind what
        is in the streams `behind` now, and has been done when this function returns.
        """
        with self._turn("run") as context:
            self._point(context, tuple(inputs), tuple(outputs))
            handle = self._handle if stream is None else stream
            self._queue_behind(context, handle)
            for other in behind:
                context.record(self._done, other)
                context.wait(handle, self._done)
            context.replay(self._executable, handle)
            if stream is None:
                context.synchronize(self._stream)
            else:
                context.record(self._done, handle)
                self._last_stream = handle

    def replay_part(
        self, inputs: Sequence[tuple[int, int]], outputs: Sequence[tuple[int, int]], behind: Sequence[int]
    ) -> None:
        """Run on arrays (address, bytes) of up to the compiled batch at any address, and wait for the results.

        What is shorter than the batch, or not aligned, goes through this network's own places.
        """
        sizes = self.description
        with self._turn("run") as context:
            self._queue_behind(context, self._handle)
            for other in behind:
                context.record(self._done, other)
                context.wait(self._handle, self._done)
            sources = [
                (a, a if size == whole and a % VECTOR == 0 else fixed, size, whole)
                for (a, size), fixed, whole in zip(inputs, self._fixed[0], sizes.inputs, strict=True)
            ]
            targets = [
                (a, a if size == whole and a % VECTOR == 0 else fixed, size)
                for (a, size), fixed, whole in zip(outputs, self._fixed[1], sizes.outputs, strict=True)
            ]
            for address, place, size, whole in sources:
                if place != address:
                    context.copy(place, address, size, self._handle)
                    if size < whole:
                        context.clear(place + size, whole - size, self._handle)
            self._point(context, tuple(part[1] for part in sources), tuple(part[1] for part in targets))
            context.replay(self._executable, self._handle)
            for address, place, size in targets:
                if place != address:
                    context.copy(address, place, size, self._handle)
            context.synchronize(self._stream)

    # Its life

    def close(self) -> None:
        """Give memory and code on the GPU back, after all work on them. Later calls raise `RunError`."""
        with self._lock:
            undo, self._undo = self._undo, None
            if undo is None:
                return
            try:
                with self.device.use("close") as context:
                    context.synchronize()
                    undo.close()
            except DeviceError:
                pass  # where the context is gone, it has taken everything with it

    def __del__(self) -> None:
        if getattr(self, "_undo", None) is not None and not sys.is_finalizing():
            self.close()

    # Inside

    @contextmanager
    def _turn(self, doing: str) -> Iterator[Context]:
        """The context for one call, the others waiting. Raises `DeviceError` for what goes wrong on the GPU."""
        self.device.check()  # before the lock: in a forked process it may never be free
        with self._lock:
            if self._undo is None:
                raise RunError("the network is closed", remedy="compile it again")
            with self.device.use(f"{doing} {self.description.name}") as context:
                yield context

    def _kernel(self, context: Context, symbol: str) -> Any:
        """The function, allowed to have as much shared memory as its launches ask for."""
        kernel = context.function(self._code.module, symbol)
        shared = max(launch.shared for launch in self.description.launches if launch.symbol == symbol)
        if shared > self.device.properties.shared:
            raise DeviceError(
                f"{self.device.label}: {symbol} needs {shared} bytes of shared memory for a block, "
                f"the GPU has {self.device.properties.shared}",
                remedy="compile for the architecture of this GPU",
            )
        if shared > FREE_SHARED:
            context.allow_shared(kernel, shared)
        return kernel

    def _capture(self, context: Context) -> int:
        """The graph of all launches on the fixed places; notes the kernels at its boundary."""
        with Capture(self.device, context, self._handle) as capture:
            for launch in self.description.launches:
                self._launch(context, launch, self._weights)
                if any(argument.space in ("input", "output") for argument in launch.arguments):
                    self._boundaries.append(Boundary(context.last_node(self._handle), launch.arguments))
        return capture.graph

    def _launch(self, context: Context, launch: Launch, blob: int) -> None:
        pointers = self._pointers(launch.arguments, *self._fixed, blob)
        kernel = self._kernels[launch.symbol]
        context.launch(kernel, launch.grid, launch.threads, launch.shared, pointers, self._stream)

    def _pointers(
        self, arguments: Sequence[Argument], inputs: Sequence[int], outputs: Sequence[int], blob: int
    ) -> list[int]:
        bases = {"weights": (blob,), "arena": (self._memory + self._layout.arena,), "input": inputs, "output": outputs}
        return [bases[space][number] + offset for space, number, offset in arguments]

    def _point(self, context: Context, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        """Let the graph read and write these arrays, from the next replay on."""
        if self._current == (inputs, outputs):
            return
        self._current = (), ()  # where it fails half way, the next call sets all of them
        for node, arguments in self._boundaries:
            pointers = self._pointers(arguments, inputs, outputs, self._weights)
            context.set_pointers(self._executable, node, pointers)
        self._current = inputs, outputs

    def _queue_behind(self, context: Context, handle: int) -> None:
        """Let what comes into the stream wait for the last call, if that was in another one: they share the arena."""
        if self._last_stream not in (None, handle):
            context.wait(handle, self._done)
        self._last_stream = None

    @property
    def _stream(self) -> Stream:
        stream = self._code.stream
        assert stream is not None
        return stream

    @property
    def _weights(self) -> int:
        return self._memory + self._layout.weights

    def _addresses(self, offsets: Sequence[int]) -> tuple[int, ...]:
        return tuple(self._memory + offset for offset in offsets)


def _bytes(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _host(pointer: Any, size: int) -> Array:
    """The memory of the host behind a pointer of cffi."""
    return host_memory(int(FFI.cast("uintptr_t", pointer)), size)
