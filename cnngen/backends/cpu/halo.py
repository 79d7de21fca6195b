"""The room that convolutions on the CPU want in and around their input.

Zero pixels around an image, so that they need not look where it ends, and spare floats between its pixels, where
these would lie in one set of the cache.
"""

from __future__ import annotations

from cnngen.backends.cpu import winograd, winograd_rows
from cnngen.backends.cpu.choices import unpooled
from cnngen.backends.cpu.target import Target
from cnngen.ir import Graph, Node
from cnngen.ops import Conv2D, Conv2DTranspose
from cnngen.plan.memory import ALIGNMENT, NO_HALO, Halo, as_image

SET_FLOATS = 1024
"""Addresses 4 KiB apart share a set of L1, which holds 8 or 12 lines: a tile reads more pixels than that in turn."""


def halo_of(graph: Graph, node: Node, target: Target) -> Halo:
    """The zero pixels that the kernel of `node`, a convolution, reads around its first input on `target`."""
    op, (source, *_) = node.op, graph.input_types(node)
    if isinstance(op, Conv2DTranspose):
        output = graph.types[node.name]
        top, bottom = _reach_of_phases(op, 0, source.shape[1], output.shape[1])
        return (top, bottom, *_reach_of_phases(op, 1, source.shape[2], output.shape[2]))
    if not isinstance(op, Conv2D):
        return NO_HALO
    op, results = unpooled(op, as_image(graph.types[node.name]))
    _, height, width, _ = as_image(source)
    _, rows, columns, _ = results
    choice = winograd.choose(op, as_image(source), results, target)
    if choice:
        return winograd.halo(op, as_image(source), results, choice)
    along = winograd_rows.choose(op, as_image(source), results, target)
    if along:
        return winograd_rows.halo(op, as_image(source), results, along)
    top, _, left, _ = op.padding
    bottom = (rows - 1) * op.stride[0] + op.dilation[0] * (op.kernel[0] - 1) + 1 - top - height
    right = (columns - 1) * op.stride[1] + op.dilation[1] * (op.kernel[1] - 1) + 1 - left - width
    return (top, max(bottom, 0), left, max(right, 0))


def spare_of(graph: Graph, node: Node) -> int:
    """The floats that the kernel of `node`, a convolution, wants between the pixels of its first input."""
    if not isinstance(node.op, Conv2D):
        return 0
    _, _, columns, channels = as_image(graph.input_types(node)[0])
    step = node.op.stride[1] * channels
    return ALIGNMENT if columns > 1 and step % SET_FLOATS == 0 else 0


def _reach_of_phases(op: Conv2DTranspose, axis: int, size: int, positions: int) -> tuple[int, int]:
    """How far the phases of a transposed convolution read beyond both ends of an input of `size` elements."""
    phases = [phase for phase in op.phases(axis, positions) if phase.taps]
    first = min((-phase.begin for phase in phases), default=0)
    last = max((phase.count - 1 - phase.begin + phase.dilation * (len(phase.taps) - 1) for phase in phases), default=0)
    return max(-first, 0), max(last - size + 1, 0)
