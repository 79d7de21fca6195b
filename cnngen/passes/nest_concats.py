"""Lets a concatenation read an earlier one where it repeats its inputs, so that both can share memory.

DenseNet written flat is ``concat(a, b)``, ``concat(a, b, c)``, ``concat(a, b, c, d)``. A tensor can lie in one
buffer only, so that all but one of these would copy ``a``. Nested, ``ab = concat(a, b)``, ``abc = concat(ab, c)``,
every tensor has one place in one growing buffer, and `elide_concat` has nothing left to copy.

Before: any verified graph. After: where neighbouring inputs of a Concat are, in order and after undoing
every nesting, the inputs of a Concat before it, it reads that one in their stead (once each); no value changes.
"""

from __future__ import annotations

from dataclasses import replace

from cnngen.ir import Graph, Node
from cnngen.ops import Concat
from cnngen.passes.remove_dead import remove_dead
from cnngen.passes.rewrite import rebuilt

Leaves = tuple[str, ...]
"""Tensors that are no concatenations themselves, in the order of their channels."""


def nest_concats(graph: Graph) -> Graph:
    """One walk in topological order; the longest repetition first."""
    leaves: dict[str, Leaves] = {tensor.name: (tensor.name,) for tensor in graph.inputs}
    concats: list[str] = []
    nodes: list[Node] = []
    for node in graph.nodes:
        leaves[node.name] = (node.name,)
        if isinstance(node.op, Concat) and node.op.of_channels(graph.types[node.name]):
            node = replace(node, inputs=_nested(node.inputs, concats, leaves))
            leaves[node.name] = tuple(leaf for name in node.inputs for leaf in leaves[name])
            concats.append(node.name)
        nodes.append(node)
    return remove_dead(rebuilt(graph, nodes))  # a nested concat that was read in one place only may now be unused


def _nested(inputs: tuple[str, ...], concats: list[str], leaves: dict[str, Leaves]) -> tuple[str, ...]:
    """`inputs` with one run of them replaced by each of the earlier `concats` that has the same leaves."""
    for concat in sorted(concats, key=lambda name: -len(leaves[name])):
        start, stop = _run(leaves[concat], inputs, leaves)
        if stop - start > 1:
            inputs = (*inputs[:start], concat, *inputs[stop:])
    return inputs


def _run(wanted: Leaves, inputs: tuple[str, ...], leaves: dict[str, Leaves]) -> tuple[int, int]:
    """Start and end of the first inputs in a row whose leaves are those `wanted`; (0, 0) where there are none."""
    for start, first in enumerate(inputs):
        if leaves[first][0] != wanted[0]:
            continue
        found = 0
        for stop in range(start, len(inputs)):
            part = leaves[inputs[stop]]
            if wanted[found : found + len(part)] != part:
                break
            found += len(part)
            if found == len(wanted):
                return start, stop + 1
    return 0, 0
