"""Repeats the operands of arithmetic whose broadcasting takes more nested loops than a kernel has.

Before: any verified graph. After: every elementwise op takes `MAX_LOOPS` nested loops at most. That can only be
otherwise where there are more axes than that, of which every other one is broadcast.
"""

from __future__ import annotations

from dataclasses import replace

from cnngen.ir import Graph, Node, TensorType
from cnngen.ops import Elementwise, Expand
from cnngen.passes.rewrite import fresh, rebuilt
from cnngen.plan.loops import MAX_LOOPS, Nest
from cnngen.plan.memory import dense_strides


def expand_operands(graph: Graph) -> Graph:
    """Put an Expand in front of each operand that is broadcast in too many ways."""
    nodes: list[Node] = []
    taken = set(graph.types)
    for node in graph.nodes:
        output = graph.types[node.name]
        if isinstance(node.op, Elementwise) and _loops(graph.input_types(node), output) > MAX_LOOPS:
            inputs = []
            for name in node.inputs:
                if graph.types[name] != output:
                    expand = Node(fresh(f"{name}/expand", taken), Expand(output.shape), (name,), source=node.source)
                    nodes.append(expand)
                    name = expand.name
                inputs.append(name)
            node = replace(node, inputs=tuple(inputs))
        nodes.append(node)
    return rebuilt(graph, nodes)


def _loops(inputs: tuple[TensorType, ...], output: TensorType) -> int:
    """Nested loops at most, wherever the tensors lie in memory."""
    rank = len(output.shape)
    if rank <= MAX_LOOPS:
        return rank
    strides = []
    for tensor in inputs:
        # Images may lie in something wider: as if every axis had a gap behind it.
        gap = len(tensor.shape) in (2, 4)
        own = [step * (2**axis if gap else 1) for axis, step in enumerate(reversed(dense_strides(tensor.shape)))][::-1]
        missing = rank - len(own)
        repeated = zip(own, tensor.shape, output.shape[missing:], strict=True)
        strides.append((0,) * missing + tuple(0 if size < whole else step for step, size, whole in repeated))
    nest = Nest(output.shape, (*strides, dense_strides(output.shape)))
    return len(nest.merged().ending_in_a_run().counts)
