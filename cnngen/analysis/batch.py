"""Whether a network keeps the batch, axis 0, apart from all else: then it can be run on any number of images."""

from __future__ import annotations

from cnngen.ir import Graph


def batched(graph: Graph) -> bool:
    """Whether image i of every output depends on image i of the inputs only, so that the batch is free.

    Every input and output has the batch as its axis 0, and no op on the way from one to the other mixes it with
    another axis. Where that does not hold, the network takes and gives tensors of exactly the shapes it was made for.
    """
    batches = {tensor.type.shape[:1] for tensor in graph.inputs}
    if len(batches) != 1 or () in batches:
        return False
    (batch,) = batches
    constant = {tensor.name: False for tensor in graph.inputs}
    for node in graph.nodes:
        given = [constant[name] for name in node.inputs]
        constant[node.name] = all(given)
        if all(given):
            continue
        if not node.op.keeps_batch(graph.input_types(node), given) or graph.types[node.name].shape[:1] != batch:
            return False
    return not any(constant[name] for name in graph.outputs)


def images(graph: Graph) -> int:
    """How many images one run of `graph` takes: its batch, or 1 where the whole input is one."""
    return graph.inputs[0].type.shape[0] if batched(graph) else 1
