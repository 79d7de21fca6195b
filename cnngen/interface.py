"""What the caller of a compiled network sees: names, shapes, target. A native call needs no more than that."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cnngen.ir import Graph, Input, TensorType

if TYPE_CHECKING:
    from cnngen.backends import AnyPlan


class Stages(NamedTuple):
    """What a network was made from: the graph as it was read, and the plan, which holds the optimised one."""

    source_graph: Graph
    plan: AnyPlan


def repeated(one: TensorType, times: int) -> TensorType:
    """So many tensors as one, along the batch."""
    return one if times == 1 else TensorType((times * one.shape[0], *one.shape[1:]))


class Interface(NamedTuple):
    """A compiled network from outside.

    `symbol` begins the names of its C functions; `inputs` and `outputs` have shapes with the compiled
    batch, in the network's own layout, where images have channels last or, if `channels_first`, first.
    `batched`: the batch, axis 0 of them all, is free; else the shapes are the only ones. `weight_storage`: the
    format in which large dense layers keep their weights.
    """

    name: str
    symbol: str
    isa: str
    threads: int
    inputs: tuple[Input, ...]
    outputs: tuple[Input, ...]
    arena_bytes: int
    channels_first: bool
    batched: bool = True
    weight_storage: str = "fp32"

    @property
    def precision(self) -> str:
        """Of the products: fp32, tf32 or fp16. The names of CUDA targets end with it."""
        return self.isa.split()[-1] if self.isa.startswith("cuda") else "fp32"

    @staticmethod
    def of(stages: Stages) -> Interface:
        """The interface of the network that is made from `stages`."""
        from cnngen.analysis.batch import batched
        from cnngen.backends.text import c_identifier
        from cnngen.ops import Transpose

        source, plan = stages
        images = {tensor.name for tensor in source.inputs}
        return Interface(
            plan.name,
            c_identifier(plan.name),
            plan.target.name,
            plan.target.threads,
            tuple(Input(tensor.name, repeated(tensor.type, plan.repeats)) for tensor in plan.graph.inputs),
            tuple(Input(name, repeated(plan.graph.types[name], plan.repeats)) for name in plan.graph.outputs),
            plan.arena_bytes,
            any(isinstance(node.op, Transpose) and not images.isdisjoint(node.inputs) for node in source.nodes),
            batched(source),
            plan.weight_storage,
        )
