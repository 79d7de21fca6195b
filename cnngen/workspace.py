"""Working memory for one run of a network, on which its steps can be run one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnngen.backends.cpu.loader import FFI, Library
from cnngen.errors import RunError
from cnngen.ir import Array

if TYPE_CHECKING:
    from cnngen.backends import AnyPlan
    from cnngen.backends.cuda.launcher import Launcher
    from cnngen.plan.memory import View

ALIGNMENT = 64
"""Bytes: an arena begins on a cache line."""


def new_arena(size: int, fill: float | None = None) -> Array:
    """An arena of `size` bytes as a float32 array, aligned to a cache line; filled only where `fill` is given."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    arena = raw[start : start + size].view(np.float32)
    if fill is not None:
        arena.fill(fill)
    return arena


class Workspace:
    """Input and output arrays and an arena of their own; everything is `fill` at first.

    For looking inside and for timing; `Network.run` does without.
    """

    def __init__(
        self,
        plan: AnyPlan,
        library: Library | Launcher,
        inputs: Sequence[Array] | None = None,
        fill: float = np.nan,
        weights: Array | None = None,
    ) -> None:
        """`weights` is a packed blob instead of the embedded one. Raises `RunError` where it has another size."""
        if weights is not None and (weights.dtype != np.float32 or weights.size != plan.blob_floats):
            raise RunError(
                f"weights are {weights.size} of {weights.dtype}, the network reads {plan.blob_floats} of float32",
                remedy="pack them with Network.pack",
            )
        graph = plan.graph
        self._plan, self._library = plan, library
        self._inputs = list(inputs or (np.full(t.type.shape, fill, np.float32) for t in graph.inputs))
        self._outputs = [np.full(graph.types[name].shape, fill, np.float32) for name in graph.outputs]
        raw = new_arena(plan.arena_bytes)
        self._arena = raw.view(plan.element)
        self._arena.fill(fill)
        self._buffers = [[FFI.from_buffer(a) for a in group] for group in (self._inputs, self._outputs)]
        # A copy of the given ones only where there are constants, which can be written.
        self._weights = weights.copy() if weights is not None and plan.constants else weights
        self._pointers = (
            FFI.new("const void *[]", self._buffers[0]),
            FFI.new("void *[]", self._buffers[1]),
            FFI.from_buffer(raw),
        )

    def stepper(self, steps: range) -> Callable[[], None]:
        """A function that runs these steps, with little more than the native call."""
        weights = self._weights
        run, first, last = self._library.run_steps, steps.start, steps.stop
        (inputs, outputs, arena), blob = self._pointers, FFI.NULL if weights is None else FFI.from_buffer(weights)

        def call(_owner: Workspace = self) -> None:  # the pointers do not keep its arrays alive
            run(first, last, inputs, outputs, arena, blob)

        return call

    def time_steps(self, rounds: int) -> Array:
        """Seconds of each step in each of `rounds` runs: (rounds, steps). What a call costs is taken off."""
        steps = [self.stepper(range(number, number + 1)) for number in range(len(self._plan.steps))]
        steps.append(self.stepper(range(0)))
        times = np.empty((rounds, len(steps)))
        for measured in times:
            for number, step in enumerate(steps):
                start = time.perf_counter()
                step()
                measured[number] = time.perf_counter() - start
        seconds: Array = times[:, :-1] - np.median(times[:, -1])
        return seconds

    def run(self, name: str) -> None:
        """Run the steps that compute the node (or stage the graph input) `name`."""
        self.stepper(self._plan.steps_of(name))()

    def read(self, name: str) -> Array:
        """A copy of the tensor `name` as it lies in memory now."""
        return np.array(self._place(self._plan.views[name]), np.float32).reshape(self._plan.graph.types[name].shape)

    def write(self, name: str, array: Array) -> None:
        """Put a tensor where its readers look for it, zeros around it where they expect them."""
        view = self._plan.views[name]
        if view.space == "arena":
            buffer = next(b for b in self._plan.arena.buffers if b.index == view.index)
            n, h, w, c = buffer.shape
            top, bottom, left, right = buffer.halo
            shape = (n, h + top + bottom, w + left + right, c)
            image = self._arena[buffer.offset : buffer.offset + buffer.size].reshape(shape)
            image[:, :top] = image[:, top + h :] = image[:, :, :left] = image[:, :, left + w :] = 0.0
        self._place(view)[...] = np.asarray(array, np.float32).reshape(view.shape)

    def _place(self, view: View) -> Array:
        match view.space:
            case "input":
                memory = self._inputs[view.index].reshape(-1)
            case "output":
                memory = self._outputs[view.index].reshape(-1)
            case "arena":
                memory = self._arena
            case "weights":
                memory = self._own_weights()
        return view.of(memory)

    def _own_weights(self) -> Array:
        """A copy of the packed parameters, in which constants can be looked at and written."""
        if self._weights is None:
            from cnngen.backends import pack_weights

            self._weights = pack_weights(self._plan)
        return self._weights
