"""Why a plan for a CPU is as it is: each layer's algorithm, sizes, expected time and limit, and what else there was."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cnngen import winograd
from cnngen.backends.cpu import cost
from cnngen.backends.cpu.choices import Choice, unpooled
from cnngen.backends.cpu.cost import Estimate
from cnngen.backends.cpu.kernels import (
    AnyKernel,
    ConvKernel,
    DepthwiseKernel,
    HaloKernel,
    PlanarConvKernel,
    PlanarRowsKernel,
    WinogradKernel,
    WinogradRowsKernel,
)
from cnngen.backends.cpu.plan import Plan
from cnngen.ir import Node
from cnngen.ops import Conv2D, Dense
from cnngen.plan.memory import as_image
from cnngen.plan.steps import Call


@dataclass(frozen=True)
class LayerPlan:
    """One step of a plan. `seconds` are expected; `others` are further ways to compute it, with theirs."""

    name: str
    kind: str
    algorithm: str
    tile: str
    blocking: str
    kernels: tuple[str, ...]
    macs: int
    seconds: float
    limit: str
    others: tuple[tuple[str, float], ...]
    why: str

    def as_json(self) -> dict[str, Any]:
        return {
            "layer": self.name,
            "op": self.kind,
            "algorithm": self.algorithm,
            "tile": self.tile,
            "blocking": self.blocking,
            "kernels": list(self.kernels),
            "macs": self.macs,
            "predicted_us": round(1e6 * self.seconds, 3),
            "limit": self.limit,
            "alternatives": [{"algorithm": name, "predicted_us": round(1e6 * time, 3)} for name, time in self.others],
            "why": self.why,
        }


def explain(plan: Plan) -> list[LayerPlan]:
    """Every step of `plan`, in order."""
    symbols = plan.kernels
    nodes = {node.name: node for node in plan.graph.nodes}
    rows = []
    for step in plan.steps:
        calls = [call for call in step.calls if not isinstance(call.kernel, HaloKernel)]
        main = calls[-1].kernel
        node = nodes.get(step.node)
        estimate, others, why = _reasons(plan, node, main, calls)
        macs = node.op.cost(plan.graph.input_types(node), plan.graph.types[node.name]).macs if node else 0
        rows.append(
            LayerPlan(
                step.node,
                node.op.kind if node else "copy",
                algorithm_of(main) + _stored(main),
                _tile(main),
                _blocking(main),
                tuple(dict.fromkeys(symbols[call.kernel] for call in calls)),
                macs,
                estimate.seconds,
                estimate.limit,
                tuple((name, other.seconds) for name, other in others),
                why,
            )
        )
    return rows


def microseconds(seconds: float) -> str:
    """A time as the tables show it."""
    value = 1e6 * seconds
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def algorithm_of(kernel: object) -> str:
    """What people call the algorithm of a kernel."""
    if isinstance(kernel, WinogradKernel):
        return f"Winograd {kernel.algorithm}"
    if isinstance(kernel, PlanarRowsKernel):
        return f"Winograd F({kernel.tile}, {kernel.taps}) rows, planar"
    if isinstance(kernel, WinogradRowsKernel):
        return f"Winograd {kernel.algorithm} rows"
    names: dict[type, str] = {ConvKernel: "direct", DepthwiseKernel: "depthwise", PlanarConvKernel: "planar"}
    name = type(kernel).__name__.removesuffix("Kernel")
    return names.get(type(kernel), "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip())


def _stored(kernel: object) -> str:
    """Behind the algorithm: the format of the weights, where that is not float32."""
    return f", {kernel.storage} weights" if isinstance(kernel, ConvKernel) and kernel.storage != "fp32" else ""


def _tile(kernel: object) -> str:
    """Pixels by vectors of channels of the register tiles (planar: vectors of pixels by filters)."""
    if isinstance(kernel, WinogradKernel | WinogradRowsKernel):
        return _tile(kernel.product)
    if isinstance(kernel, ConvKernel):
        tiles = dict.fromkeys(
            f"{max(block.strips, key=lambda s: s.repeat * s.pixels).pixels}x{block.vectors}" for block in kernel.blocks
        )
        return ", ".join(tiles)
    if isinstance(kernel, PlanarRowsKernel):
        return f"1x{kernel.filters_tile}"
    return f"{kernel.vectors}x{kernel.filters_tile}" if isinstance(kernel, PlanarConvKernel) else ""


def _blocking(kernel: object) -> str:
    if isinstance(kernel, WinogradKernel | WinogradRowsKernel):
        return f"{kernel.block} of {kernel.count} tiles"
    if isinstance(kernel, ConvKernel):
        blocks = sum(block.count for block in kernel.blocks)
        return f"{kernel.rows} x {len(kernel.pixels)} pixels, {blocks} x channels"
    return ""


Others = Sequence[tuple[str, Estimate]]


def _reasons(
    plan: Plan, node: Node | None, kernel: AnyKernel, calls: Sequence[Call[AnyKernel]]
) -> tuple[Estimate, Others, str]:
    """What a step is expected to take, what else could compute it, and why it does not."""
    target = plan.target
    if node is None or not isinstance(node.op, Conv2D | Dense):
        return _moved(plan, calls), (), "the only way"
    op, source = node.op, as_image(plan.graph.input_types(node)[0])
    output = as_image(plan.graph.types[node.name])
    if isinstance(op, Conv2D):
        op, output = unpooled(op, output)
    ways = list(cost.alternatives(op, source, output, target))
    name = algorithm_of(kernel)
    chosen = next((way.estimate for way in ways if _name(op, way.choice) == name), None)
    if isinstance(kernel, WinogradKernel):
        assert isinstance(op, Conv2D)
        way = Choice("winograd", tile=kernel.tile, block=kernel.block)
        chosen = cost.winograd_estimate(op, source, output, target, way)
    elif chosen is None:
        chosen = cost.direct(op, source, output, target, Choice("direct"))
    others = [(_name(op, way.choice), way.estimate) for way in ways if _name(op, way.choice) != name]
    if target.choices.find(op, source, output) is not None:
        return chosen, others, "tuned: the fastest of those measured"
    return chosen, others, "; ".join(_why(plan, op, chosen, others, isinstance(kernel, WinogradKernel)))


def _why(plan: Plan, op: Conv2D | Dense, chosen: Estimate, others: Others, is_winograd: bool) -> Iterator[str]:
    for name, other in others:
        saved, time = 1 - chosen.seconds / other.seconds, microseconds(other.seconds)
        if saved >= 0:
            yield f"{name} {time}: {saved:.0%} saved"
        elif not is_winograd:
            yield f"{name} {time}: would save only {1 - other.seconds / chosen.seconds:.0%}"
        else:
            yield f"{name} {time}: as fast"
    if others:
        return
    if plan.target.reproducible and winograd.applies(op):
        yield "numerics are reproducible: no Winograd"
    else:
        yield "the only way for this shape"


def _name(op: Conv2D | Dense, choice: Choice) -> str:
    if not isinstance(op, Conv2D) or choice.algorithm not in ("winograd", "rows", "planar rows"):
        return choice.algorithm
    if choice.algorithm != "winograd":
        step = f"/{op.stride[0]}" if op.stride[0] > 1 else ""
        planar = ", planar" if choice.algorithm == "planar rows" else ""
        return f"Winograd F({choice.tile[0]}, {op.kernel[0]}{step}) rows{planar}"
    return f"Winograd {winograd.name(op.kernel, op.stride, choice.tile)}"


def _moved(plan: Plan, calls: Sequence[Call[AnyKernel]]) -> Estimate:
    """A step that computes little: what it reads and writes, from the cache that holds it."""
    size = 4.0 * sum(math.prod(view.shape) for call in calls for view in (*call.reads, call.write))
    machine = plan.target.machine
    seconds = size / machine.rate_behind(size) / plan.target.threads
    if size > machine.l3_bytes:
        return Estimate(0.0, memory=seconds)
    return Estimate(0.0, caches=seconds, nearest="L2" if size <= machine.l2_bytes else "L3")
