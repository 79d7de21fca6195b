"""The backends: each plans, packs and emits a graph for its kind of target."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnngen.backends.cpu.plan import Plan
    from cnngen.backends.cuda.plan import CudaPlan
    from cnngen.backends.sources import AnyBlob, SourceTree
    from cnngen.ir import Array, Graph

    AnyPlan = Plan | CudaPlan


def print_sources(plan: AnyPlan) -> SourceTree:
    """The sources and packed weights of a plan, as they are compiled for its target."""
    from cnngen._version import __version__
    from cnngen.backends.cpu.plan import Plan

    if isinstance(plan, Plan):
        from cnngen.backends.cpu.emit import emit

        return emit(plan, _stored_weights(plan), __version__)
    from cnngen.backends.cuda import emit as cuda

    print_cuda = cuda.emit_emulation if plan.target.emulated else cuda.emit
    return print_cuda(plan, _stored_weights(plan), __version__)


def pack_weights(plan: AnyPlan, graph: Graph | None = None) -> Array:
    """The weights of `graph` (default: the planned one) in the order in which the kernels of `plan` read them."""
    from cnngen.backends.cpu.plan import Plan

    if isinstance(plan, Plan):
        from cnngen.backends.cpu.pack import pack as pack_cpu

        return pack_cpu(plan, graph)
    from cnngen.backends.cuda.pack import pack as pack_cuda

    return pack_cuda(plan, graph)


def _stored_weights(plan: AnyPlan) -> AnyBlob:
    """What `pack_weights` gives, where it is large in a file."""
    from cnngen.backends.cpu.plan import Plan
    from cnngen.backends.packing import store_plan

    if isinstance(plan, Plan):
        from cnngen.backends.cpu.pack import pack_kernel as pack_cpu

        return store_plan(plan, pack_cpu)
    from cnngen.backends.cuda.pack import pack_kernel as pack_cuda

    return store_plan(plan, pack_cuda)
