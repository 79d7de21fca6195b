"""Planning: which CUDA kernel computes each node, with which tile, and where every tensor lies on the device.

`plan_graph` decides everything; what comes after only prints and packs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnngen.arithmetic import Arithmetic
from cnngen.backends.cuda.kernels import AnyKernel, DenseKernel, GemmConvKernel
from cnngen.backends.cuda.limits import verify_limits
from cnngen.backends.cuda.lower import copy, lower
from cnngen.backends.cuda.target import CudaTarget
from cnngen.errors import PlanError
from cnngen.ir import Graph, Node
from cnngen.plan.layout import ScratchRooms, lay_out
from cnngen.plan.memory import NO_HALO, Halo, verify_arena
from cnngen.plan.network_plan import Blob, NetworkPlan, lower_graph, verify_parameters


@dataclass(frozen=True, eq=False)
class CudaPlan(NetworkPlan[AnyKernel]):
    """A network, ready to be printed as CUDA."""

    target: CudaTarget

    @property
    def element(self) -> np.dtype[np.generic]:
        return self.target.precision.dtype

    @property
    def suffix(self) -> str:
        return self.target.precision.name

    def arithmetic(self, node: str) -> Arithmetic:
        """How the kernels of `node` round."""
        stored = "fp16" if self.target.precision.name == "fp16" else "fp32"
        for number in self.steps_of(node):
            for call in self.steps[number].calls:
                if isinstance(call.kernel, GemmConvKernel):
                    return Arithmetic(stored, call.kernel.precision.name, call.kernel.precision.name)
                if isinstance(call.kernel, DenseKernel):
                    return Arithmetic(stored, "fp32", stored)
        return Arithmetic(stored)


def plan_graph(graph: Graph, target: CudaTarget) -> CudaPlan:
    """Plan `graph`, which must be optimised and verified, for `target`."""
    layout = lay_out(graph, _no_halo, converted=target.precision.name == "fp16")
    scratch = ScratchRooms(layout, target.precision.element_bytes)
    blob = Blob(layout.constant_floats)
    steps = lower_graph(
        graph,
        layout,
        blob,
        lambda node: lower(node, layout, target, scratch.room),
        lambda read, write: copy(read, write, target),
    )
    views, arena, steps = scratch.added().resolve(steps)
    return verify_plan(CudaPlan(graph.name, graph, tuple(steps), views, arena, blob.size, layout.constants, target))


def verify_plan(plan: CudaPlan) -> CudaPlan:
    """Return `plan` if every launch fits the target, memory does not clash and parameters fit.

    Raises `TargetError` for a network that is larger than kernels can address.
    """
    verify_arena(plan.arena)
    for step in plan.steps:
        for call in step.calls:
            call.kernel.verify()
            launch = call.kernel.launch
            if launch.shared > plan.target.shared:
                raise PlanError(f"{launch.shared} bytes of shared memory, {plan.target.shared} exist", layer=step.node)
            verify_limits(call, step.node)
    verify_parameters(plan)
    return plan


def _no_halo(_graph: Graph, _node: Node) -> Halo:
    """CUDA kernels leave out what lies beyond the image."""
    return NO_HALO
