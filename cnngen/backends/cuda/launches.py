"""What the launcher has to know of a plan: kernels by symbol, their grids, and where their pointers lead.

Small and made of plain numbers and names, so that it can be kept in the cache: a network that comes from there is
loaded and run without being planned again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from cnngen.backends.cuda.kernels import AnyKernel
    from cnngen.backends.cuda.plan import CudaPlan
    from cnngen.plan.memory import View
    from cnngen.plan.steps import Call

Space = Literal["weights", "arena", "input", "output"]

WORD = 4
"""Bytes of the numbers in inputs, outputs and the blob of weights."""


class Argument(NamedTuple):
    """A pointer that a kernel takes: `offset` bytes into a space; `number` says which input or output."""

    space: Space
    number: int
    offset: int


class Launch(NamedTuple):
    """A kernel with its grid (blocks), the threads of a block, its dynamic shared memory (bytes) and its pointers."""

    symbol: str
    grid: tuple[int, int, int]
    threads: int
    shared: int
    arguments: tuple[Argument, ...]


class Description(NamedTuple):
    """A network for the launcher. All sizes are bytes, those of inputs and outputs for the compiled batch.

    `steps` has the launches of each step of the plan, in order.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    arena: int
    weights: int
    steps: tuple[tuple[Launch, ...], ...]

    @property
    def launches(self) -> tuple[Launch, ...]:
        """All launches of a run, in order."""
        return tuple(launch for step in self.steps for launch in step)

    def to_json(self) -> str:
        """As text, for the cache."""
        return json.dumps(self, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Description:
        """What `to_json` wrote. Raises `ValueError` or `TypeError` for anything else."""
        name, inputs, outputs, arena, weights, steps = json.loads(text)
        return Description(
            str(name),
            tuple(map(int, inputs)),
            tuple(map(int, outputs)),
            int(arena),
            int(weights),
            tuple(tuple(map(_launch, step)) for step in steps),
        )


def _launch(fields: Any) -> Launch:
    symbol, (x, y, z), threads, shared, arguments = fields
    pointers = tuple(Argument(space, int(number), int(offset)) for space, number, offset in arguments)
    return Launch(str(symbol), (int(x), int(y), int(z)), int(threads), int(shared), pointers)


def describe(plan: CudaPlan) -> Description:
    """The launches of `plan`."""
    symbols = plan.kernels
    types = plan.graph.types
    return Description(
        plan.name,
        tuple(WORD * math.prod(tensor.type.shape) for tensor in plan.graph.inputs),
        tuple(WORD * math.prod(types[name].shape) for name in plan.graph.outputs),
        plan.arena_bytes,
        WORD * plan.blob_floats,
        tuple(tuple(_described(call, symbols[call.kernel], plan) for call in step.calls) for step in plan.steps),
    )


def _described(call: Call[AnyKernel], symbol: str, plan: CudaPlan) -> Launch:
    launch = call.kernel.launch
    return Launch(symbol, launch.grid, launch.threads, launch.shared, tuple(_arguments(call, plan.element.itemsize)))


def _arguments(call: Call[AnyKernel], element_bytes: int) -> Iterator[Argument]:
    """The pointers of a call in the order of the kernel's signature: `emit.LaunchText` prints the same."""
    params = [Argument("weights", 0, WORD * offset) for offset in call.params]
    reads = [_argument(view, element_bytes) for view in call.reads]
    if call.kernel.parameters_first:
        yield from (*params, *reads)
    else:
        yield from (*reads[:1], *params, *reads[1:])
    yield _argument(call.write, element_bytes)


def _argument(view: View, element_bytes: int) -> Argument:
    if view.space == "arena":
        return Argument("arena", 0, element_bytes * view.offset)
    return Argument(view.space, view.index, WORD * view.offset)
