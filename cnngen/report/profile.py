"""What the measured times of a plan's steps say: rate, algorithm, share of the roofline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnngen.backends.cpu.machine import Machine
from cnngen.backends.cpu.plan import Plan, node_bytes, parameter_bytes

if TYPE_CHECKING:
    from cnngen.backends import AnyPlan
    from cnngen.ir import Array, Graph, Node


@dataclass(frozen=True)
class LayerTime:
    """Median time of one layer in a profile, and its multiply-accumulates.

    `algorithm` computes it; `roofline` is the least seconds that a direct computation could take, with all its
    operations at the peak of the cores and all its data at the speed of the cache or memory that holds them (0: not
    known).
    """

    name: str
    kind: str
    seconds: float
    macs: int
    algorithm: str = ""
    roofline: float = 0.0

    @property
    def gflops(self) -> float:
        """Billions of operations a second, a multiply-accumulate counted as two.

        Of a direct computation: what Winograd's algorithm saves makes it an effective rate, see `effective`.
        """
        return 2e-9 * self.macs / self.seconds if self.seconds else 0.0

    @property
    def effective(self) -> bool:
        """Whether fewer operations were done than are counted: the share of the roofline may exceed 1."""
        return self.algorithm.startswith("Winograd")

    @property
    def share(self) -> float:
        """Of the roofline: 1 is as fast as a direct computation could be; 0 where that is not known."""
        return self.roofline / self.seconds if self.seconds else 0.0


def layer_times(plan: AnyPlan, seconds: Array) -> list[LayerTime]:
    """A `LayerTime` for every step of `plan`, which took so many `seconds`."""
    nodes = {node.name: node for node in plan.graph.nodes}
    machine = _machine(plan)
    result = []
    for number, median in enumerate(seconds):
        step: Any = plan.steps[number]
        node = nodes.get(step.node)
        macs = node.op.cost(plan.graph.input_types(node), plan.graph.types[node.name]).macs if node else 0
        kind, algorithm, roofline = node.op.kind if node else "copy", "", 0.0
        if isinstance(plan, Plan):
            from cnngen.report.plan_explained import algorithm_of

            algorithm = algorithm_of(step.calls[-1].kernel)
            if machine is not None and node is not None:
                roofline = least_seconds(plan.graph, node, macs, machine, plan.target.threads, plan.weight_storage)
        result.append(LayerTime(step.node, kind, max(float(median), 0.0), macs, algorithm, roofline))
    return result


def _machine(plan: AnyPlan) -> Machine | None:
    """This machine's own figures, if the plan's code runs on it natively."""
    if not isinstance(plan, Plan) or plan.target.emulated:
        return None
    from cnngen.backends.cpu.measure import own_figures

    return own_figures(plan.target.isa.name)


def least_seconds(
    graph: Graph, node: Node, macs: int, machine: Machine, threads: int, weight_storage: str = "fp32"
) -> float:
    """The roofline of a direct computation of `node`: operations at the peak, or what it reads and writes.

    Weights come from where those of the whole network lie, images from the cache that holds them
    (Williams, Waterman, Patterson, Roofline, 2009).
    """
    arithmetic = 2e-9 * macs / (machine.peak * threads)
    weights = node_bytes(node, weight_storage)
    whole = parameter_bytes(graph, weight_storage)
    images = graph.types[node.name].bytes + sum(tensor.bytes for tensor in graph.input_types(node))
    traffic = weights / machine.rate_behind(whole) + images / machine.rate_behind(images)
    return max(arithmetic, traffic / threads)


def layer_json(layer: LayerTime, batch: int, total: float) -> Mapping[str, Any]:
    """A row of `cnngen bench`; times are of one image."""
    return {
        "name": layer.name,
        "kind": layer.kind,
        "algorithm": layer.algorithm,
        "us": layer.seconds / batch * 1e6,
        "share": layer.seconds / total if total else 0.0,
        "gflops": layer.gflops,
        "effective": layer.effective,
        "of_roofline": layer.share,
    }
