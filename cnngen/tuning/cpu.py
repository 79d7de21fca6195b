"""Tuning for CPUs: every distinct convolution and dense layer, in each way that could be the fastest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from cnngen.backends.cpu import cost
from cnngen.backends.cpu.choices import Choice, Image
from cnngen.backends.cpu.machine import cpu_model
from cnngen.backends.cpu.plan import parameter_bytes
from cnngen.backends.cpu.target import Target
from cnngen.errors import PlanError, TuningError
from cnngen.ops import Conv2D
from cnngen.plan.memory import as_image
from cnngen.tuning import Tuned, whole
from cnngen.tuning.trials import build_trials, key_of, plan_trial, time_trials, tunable
from cnngen.weight_storage import phrase

if TYPE_CHECKING:
    from cnngen.backends.toolchains import AnyCompiler
    from cnngen.ir import Array, Graph, Node
    from cnngen.tuning import Progress
    from cnngen.tuning.file import TuningFile

LEAST_GAIN = 0.03
"""A choice wins only where it saves more than that: below it is noise."""
LEAST_WINS = 0.8
"""Share of the rounds in which it has to be the faster one."""
MOST_TRIALS = 11
LARGEST_WEIGHTS = 96 << 20
"""Bytes of a layer that is tuned: larger dense layers wait for memory, whatever their kernel."""
SLICE_SECONDS = 0.25
ROUNDS = (11, 41)


def device(target: Target) -> str:
    """All that decides code and speed beside the layer."""
    threads = f"{target.threads} thread{'s' if target.threads > 1 else ''}"
    numerics = "reproducible" if target.reproducible else "fast"
    return f"{cpu_model()}, {target.name}, {threads}, {numerics}{phrase(target.weight_storage)}"


def tune(graph: Graph, target: Target, file: TuningFile, seconds: float, progress: Progress) -> Tuned:
    """The choices for `graph`, by layer key: known ones from `file`, others measured until `seconds` are over.

    Each is written to `file` as soon as it is found, the layers with the most work first: tuning that was broken off
    goes on where it was. Layers of which nothing is known stay as they are planned.
    """
    from cnngen import pipeline

    begin, name = perf_counter(), device(target)
    layers: dict[str, Node] = {}
    for node in graph.nodes:
        if tunable(node) and sum(array.nbytes for array in node.weights.values()) <= LARGEST_WEIGHTS:
            layers.setdefault(key_of(graph, node), node)
    unknown = [key for key in layers if file.find(name, key) is None]
    unknown.sort(key=lambda key: -_macs(graph, layers[key]))
    compiler = pipeline.find_compiler() if unknown else None
    for done, key in enumerate(unknown):
        if perf_counter() - begin > seconds:
            break
        progress(layers[key].name, done, len(unknown))
        assert compiler is not None
        file.add(name, key, measure(graph, layers[key], target, compiler))
    progress("", len(unknown), len(unknown))
    found = {key: dict(choice) for key in layers if (choice := file.find(name, key)) is not None}
    for key, choice in found.items():
        try:
            Choice.from_json(choice or {"algorithm": "direct"})
        except PlanError as error:
            raise TuningError(f"{key}: {error}", remedy=f"delete it from {file.path}") from error
    return Tuned(name, found, len(found) == len(layers))


def judge(
    tuned: Tuned, graph: Graph, target: Target, file: TuningFile, progress: Progress, *, measures: bool, cache: bool
) -> Tuned:
    """`tuned`, with whether the whole network is faster so: as `file` knows, or measured (and written there)."""
    if not any(tuned.choices.values()):
        return tuned
    key = whole.network_key(graph, tuned.choices)
    entry = file.find_network(tuned.device, key)
    if entry is None:
        if not measures:
            return tuned._replace(complete=False)
        from cnngen import pipeline

        progress("the whole network", 0, 1)
        entry = whole.compare(graph, target, tuned.choices, pipeline.find_compiler(), cache=cache)
        file.add_network(tuned.device, key, entry)
        progress("", 1, 1)
    return tuned._replace(faster=bool(entry["faster"]))


def _macs(graph: Graph, node: Node) -> int:
    return node.op.cost(graph.input_types(node), graph.types[node.name]).macs


def measure(graph: Graph, node: Node, target: Target, compiler: AnyCompiler) -> dict[str, Any]:
    """The entry of one layer: the choice that is clearly faster than the plan, or an empty one."""
    planned, others = candidates(graph, node, target)
    weights = parameter_bytes(graph, target.weight_storage)
    choices = [planned, *others]
    trials = build_trials(graph, node, target, choices, compiler)
    times = time_trials(trials, weights, ROUNDS[0])
    rounds = int(np.clip(SLICE_SECONDS / max(times[0].sum(), 1e-9), *ROUNDS))
    times = time_trials(trials, weights, rounds)
    best = winner(times)
    medians = 1e6 * np.median(times, axis=0)
    return {
        "choice": choices[best].as_json() if best else {},
        "microseconds": round(float(medians[best]), 2),
        "planned": planned.as_json(),
        "planned_microseconds": round(float(medians[0]), 2),
        "measured": len(trials),
    }


def winner(times: Array) -> int:
    """Which column of (rounds, trials) to take: the fastest that is clearly faster than the first, else the first."""
    ratios = times / times[:, :1]
    clear = (np.median(ratios, axis=0) < 1 - LEAST_GAIN) & (np.mean(ratios < 1, axis=0) >= LEAST_WINS)
    if not clear.any():
        return 0
    return int(np.argmin(np.where(clear, np.median(ratios, axis=0), np.inf)))


def candidates(graph: Graph, node: Node, target: Target) -> tuple[Choice, list[Choice]]:
    """How a layer is planned in its network, and other ways whose code is not the same, the most promising first."""
    target = replace(target, parameter_bytes=parameter_bytes(graph, target.weight_storage))
    op, source = node.op, as_image(graph.input_types(node)[0])
    output = as_image(graph.types[node.name])
    planned = cost.fastest(op, source, output, target).choice  # type: ignore[arg-type]  # `tunable` says so
    kernels = {_kernels(graph, node, target, planned)}
    others: list[Choice] = []
    for choice in variants(op, source, output, target):
        if len(others) + 1 >= MOST_TRIALS:
            break
        try:
            made = _kernels(graph, node, target, choice)
        except PlanError:
            continue  # such as rows that do not divide
        if made not in kernels:
            kernels.add(made)
            others.append(choice)
    return planned, others


def _kernels(graph: Graph, node: Node, target: Target, choice: Choice) -> tuple[object, ...]:
    plan = plan_trial(graph, node, target, choice)
    return tuple(call.kernel for step in plan.steps if step.node == "layer" for call in step.calls)


def variants(op: Any, source: Image, output: Image, target: Target) -> Sequence[Choice]:
    """What may be tried for a layer, the most promising first."""
    ways = cost.alternatives(op, source, output, target)
    found = [way.choice for way in ways]
    for way in ways[:1]:
        if way.choice.algorithm in ("winograd", "rows"):
            blocks = (way.choice.block // 2, 2 * way.choice.block)
            found += [way.choice._replace(block=block) for block in blocks if block]
    if ways[0].choice.algorithm == "depthwise":
        found += [Choice("depthwise", tile=tile) for tile in ((2, 7), (1, 0), (4, 4), (1, 7))]
    if not (isinstance(op, Conv2D) and op.groups > 1):
        lanes, widest = target.isa.lanes, -(-output[3] // target.isa.lanes)
        direct = Choice("direct")
        found += [direct._replace(vectors=vectors) for vectors in (2, 1, 3, 4) if vectors <= widest and lanes > 1]
        found += [Choice("planar")]
    return found


__all__ = ["candidates", "device", "judge", "measure", "tune", "variants", "winner"]
