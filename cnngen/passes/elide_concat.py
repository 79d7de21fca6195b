"""Places the inputs of a concatenation inside it, so that producers write their slice directly.

Before: the last pass, since placements name nodes. After: `placements` holds, for every tensor that
can lie in a Concat's buffer, that Concat and the first channel; the graph is otherwise unchanged.
A backend copies only what is not placed. `verify_placements` states what a placed tensor keeps.

A tensor lies in one buffer, so of several Concats that read it all but the first copy it, unless they
nest (`nest_concats`): a Concat that is placed is itself a slice of its host, and the tensors in it are slices
of that slice. A dense block so grows in the buffer of its last Concat, and each output is written once. The
price is memory: the host's whole buffer is in use from the first slice on.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from types import MappingProxyType

from cnngen.errors import GraphError
from cnngen.ir import Graph, Node, Placement
from cnngen.ops import Concat, Constant, Flatten, Identity, Reshape, Slice

WHOLE = (Flatten, Identity, Reshape)
"""Ops whose output is the memory of their input: neither may be a slice of something wider."""
VIEWS = (*WHOLE, Slice)
"""With those whose output is a part of that memory."""


def elide_concat(graph: Graph) -> Graph:
    """Place each tensor in the first Concat that reads it."""
    placements: dict[str, Placement] = {}
    for host in graph.nodes:
        if not isinstance(host.op, Concat) or not host.op.of_channels(graph.types[host.name]):
            continue
        for name, channel in slices(graph, host):
            if name not in placements and obstacle(graph, name, host) is None:
                placements[name] = Placement(host.name, channel)
    return verify_placements(replace(graph, placements=MappingProxyType(placements)))


def slices(graph: Graph, concat: Node) -> list[tuple[str, int]]:
    """The inputs of a Concat, each with the first channel of its slice."""
    widths = [graph.types[name].shape[-1] for name in concat.inputs]
    return list(zip(concat.inputs, accumulate(widths[:-1], initial=0), strict=True))


def obstacle(graph: Graph, name: str, host: Node) -> str | None:
    """Why tensor `name` cannot lie inside `host`; None if it can."""
    producer = next((node for node in graph.nodes if node.name == name), None)
    if producer is None:
        return "is a graph input, which the caller stores"
    if name in graph.outputs:
        return "is a graph output, which has a buffer of its own"
    if host.inputs.count(name) != 1:
        return "does not occur exactly once in the concat"
    if isinstance(producer.op, Constant):
        return "is a constant, which lies among the weights"
    if isinstance(producer.op, VIEWS):
        return f"is a view made by {producer.op.kind}"
    readers = [node.op.kind for node in graph.nodes if name in node.inputs and isinstance(node.op, WHOLE)]
    if readers:
        return f"is viewed as one piece by {readers[0]}"
    return None


def verify_placements(graph: Graph) -> Graph:
    """Return `graph` if all placements hold, raise `GraphError` if not.

    A placed tensor is written by a node of its own, is no graph output, is neither a view nor viewed,
    and is read exactly once by its host, a Concat, at the slice that the placement names. A Concat
    that is placed itself nests: its slices lie in its own slice. Slices of one host never overlap.
    """
    nodes = {node.name: node for node in graph.nodes}
    for name, placement in graph.placements.items():
        host = nodes.get(placement.host)
        if host is None or not isinstance(host.op, Concat):
            raise GraphError(f"is placed in {placement.host}, which is no concat", layer=name)
        if not host.op.of_channels(graph.types[host.name]):
            raise GraphError(f"is placed in {placement.host}, which does not join channels", layer=name)
        reason = obstacle(graph, name, host)
        if reason is not None:
            raise GraphError(f"is placed in {host.name} but {reason}", layer=name)
        expected = dict(slices(graph, host))[name]
        if placement.channel != expected:
            raise GraphError(
                f"is placed at channel {placement.channel} of {host.name}, its slice begins at {expected}", layer=name
            )
    return graph
