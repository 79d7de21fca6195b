"""A step of a plan: the kernel calls of one node. Shared between the backends, which have kernels of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from cnngen.plan.memory import View

K = TypeVar("K")
"""The kernels of a backend."""

Taps = tuple[range, range]
"""Rows and columns of a layer's kernel, in the order in which a call takes them."""


class Lowered(NamedTuple, Generic[K]):
    """A kernel with the views it reads and the view it writes; `taps` and `scratch` as in `Call`."""

    kernel: K
    reads: tuple[View, ...]
    write: View
    taps: Taps | None = None
    scratch: View | None = None


@dataclass(frozen=True)
class Call(Generic[K]):
    """One call of a kernel: what it reads, its packed parameters (offsets in the blob), what it writes.

    `taps` says which of the layer's weights it takes, where that is not all; `scratch` is memory of its own
    for the time of the call.
    """

    kernel: K
    reads: tuple[View, ...]
    params: tuple[int, ...]
    write: View
    taps: Taps | None = None
    scratch: View | None = None

    @property
    def views(self) -> tuple[View, ...]:
        """All memory that the call reads or writes, but for its parameters."""
        return (*self.reads, self.write, *([self.scratch] if self.scratch else []))


@dataclass(frozen=True)
class Step(Generic[K]):
    """The calls between two barriers; `node` is the graph node (or graph input or output) they belong to."""

    node: str
    title: str
    calls: tuple[Call[K], ...]
