"""Which elements are read at all: rows and columns of a tensor that no layer, or no output, depends on.

Where `receptive_field` looks from an element back at the input, this looks from a tensor onwards.
A stride larger than the window leaves gaps; a window that does not divide its input crops the border.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cnngen.analysis.receptive_field import Fields, image_axes, step, window_taps
from cnngen.ir import Array, Graph, Node
from cnngen.ops import POINTWISE, Everything, Transpose


class Rows(NamedTuple):
    """Positions of a tensor along height and width, as boolean masks; one of length 1 for rank 2."""

    height: Array
    width: Array

    @property
    def any(self) -> bool:
        return bool(self.height.any() and self.width.any())


Coverage = Mapping[str, Rows]


def read_by_layers(graph: Graph, fields: Fields) -> Coverage:
    """For every tensor the positions that the layers reading it take; outputs are read as a whole."""
    read = _start(graph, fields)
    for node in graph.nodes:
        everything = _all(graph, fields, node.name)
        for position, name in enumerate(node.inputs):
            _add(read[name], _taken(graph, node, position, everything, read[name]))
    return read


def needed_by_outputs(graph: Graph, fields: Fields) -> Coverage:
    """For every tensor the positions that some output depends on."""
    needed = _start(graph, fields)
    for node in reversed(graph.nodes):
        if needed[node.name].any:
            for position, name in enumerate(node.inputs):
                _add(needed[name], _taken(graph, node, position, needed[node.name], needed[name]))
    return needed


def _start(graph: Graph, fields: Fields) -> dict[str, Rows]:
    """Nothing read yet but the outputs."""
    rows = {}
    for name in graph.types:
        masks = _all(graph, fields, name)
        rows[name] = masks if name in graph.outputs else Rows(~masks.height, ~masks.width)
    return rows


def _all(graph: Graph, fields: Fields, name: str) -> Rows:
    """Every position of a tensor."""
    shape = graph.types[name].shape
    if len(shape) != 4:
        sizes: Sequence[int] = (1, 1)
    elif name in fields[name]:
        sizes = [shape[axis] for axis in image_axes(graph, name)]
    elif not fields[name]:  # an image that a vector was reshaped to
        last = any(node.name == name and node.op == Transpose((0, 3, 1, 2)) for node in graph.nodes)
        sizes = shape[2:4] if last else shape[1:3]
    else:
        # Any field serves: all have an entry for each position, along the image's axes.
        field = next(iter(fields[name].values()))
        sizes = [axis.positions for axis in field.axes]
    return Rows(np.ones(sizes[0], bool), np.ones(sizes[1], bool))


def _taken(graph: Graph, node: Node, position: int, output: Rows, tensor: Rows) -> Rows:
    """What `node` takes of its input number `position`, a tensor like `tensor`, for these of its outputs."""
    window = step(node, graph.input_types(node), position)
    flattens = len(graph.types[node.name].shape) != len(graph.types[node.inputs[position]].shape)
    if isinstance(window, Everything) or flattens:
        return Rows(np.ones_like(tensor.height), np.ones_like(tensor.width))
    if window == POINTWISE:
        return output
    masks = []
    for axis, (wanted, old) in enumerate(zip(output, tensor, strict=True)):
        taps, inside = window_taps(window, axis, len(old), len(wanted))
        mask = np.zeros(len(old), bool)
        mask[taps[wanted][inside[wanted]]] = True
        masks.append(mask)
    return Rows(*masks)


def _add(rows: Rows, more: Rows) -> None:
    np.logical_or(rows.height, more.height, out=rows.height)
    np.logical_or(rows.width, more.width, out=rows.width)
