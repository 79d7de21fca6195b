"""A step of a plan: the kernel calls between two barriers."""

from __future__ import annotations

from dataclasses import dataclass

from cnngen.backends.cpu.kernels import AnyKernel
from cnngen.plan.memory import View

Taps = tuple[range, range]
"""Rows and columns of a layer's kernel, in the order in which a call takes them."""


@dataclass(frozen=True)
class Call:
    """One call of a kernel: what it reads, its packed parameters (offsets in the blob), what it writes.

    `taps` says which of the layer's weights it takes, where that is not all.
    """

    kernel: AnyKernel
    reads: tuple[View, ...]
    params: tuple[int, ...]
    write: View
    taps: Taps | None = None


@dataclass(frozen=True)
class Step:
    """The calls between two barriers; `node` is the graph node (or graph input or output) they belong to."""

    node: str
    title: str
    calls: tuple[Call, ...]
