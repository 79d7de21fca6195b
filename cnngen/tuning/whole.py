"""The tuned network against the untuned one: what is faster for each layer alone need not be so for all of them.

Layers share caches, and a layer is timed with inputs that lie where its own run left them. So the two networks run in
turn, whole, and where the tuned one is not faster the plan stays as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from cnngen import pipeline
from cnngen.backends.cpu.choices import Choice, Choices
from cnngen.backends.cpu.plan import plan_graph
from cnngen.backends.cpu.target import Target
from cnngen.interface import Interface, Stages
from cnngen.network import Network

if TYPE_CHECKING:
    from cnngen.backends.toolchains import AnyCompiler
    from cnngen.ir import Array, Graph
    from cnngen.tuning import Fields

LEAST_GAIN = 0.005
"""Of the whole network's time: below it tuning is not worth another plan."""
ROUNDS = 21
SLICE_SECONDS = 0.02
"""A round repeats short runs for about this long."""


def network_key(graph: Graph, choices: Mapping[str, Fields]) -> str:
    """A name for a network with tuned choices: other layers, or other choices for them, have another one."""
    layers = [(str(node.op), *map(str, graph.input_types(node)), str(graph.types[node.name])) for node in graph.nodes]
    made = sorted((key, sorted(fields.items())) for key, fields in choices.items() if fields)
    return f"{graph.name} {hashlib.sha256(repr((layers, made)).encode()).hexdigest()[:16]}"


def compare(
    graph: Graph, target: Target, choices: Mapping[str, Fields], compiler: AnyCompiler, *, cache: bool = True
) -> dict[str, Any]:
    """The entry of a network: microseconds of it untuned and tuned, and whether it is `faster` so.

    Raises `ToolchainError`.
    """
    own = Choices.of({key: Choice.from_json(fields) for key, fields in choices.items() if fields})
    with (
        _network(graph, target, compiler, cache) as untuned,
        _network(graph, replace(target, choices=own), compiler, cache) as tuned,
    ):
        times = time_networks([_call(untuned), _call(tuned)])
    medians = 1e6 * np.median(times, axis=0)
    return {
        "faster": is_faster(times),
        "untuned_microseconds": round(float(medians[0]), 2),
        "tuned_microseconds": round(float(medians[1]), 2),
    }


def is_faster(times: Array) -> bool:
    """Whether the second column of (rounds, 2) is the faster one."""
    return bool(np.median(times[:, 1] / times[:, 0]) < 1 - LEAST_GAIN)


def time_networks(calls: list[Callable[[], None]]) -> Array:
    """Seconds of a run of each in each of `ROUNDS`, in which they take turns."""
    times = np.empty((ROUNDS, len(calls)))
    for number in range(ROUNDS):
        for turn in range(len(calls)):
            index = (turn + number) % len(calls)
            calls[index]()  # its own data back into the caches
            count, start = 0, perf_counter()
            while count == 0 or perf_counter() - start < SLICE_SECONDS:
                calls[index]()
                count += 1
            times[number, index] = (perf_counter() - start) / count
    return times


def _network(graph: Graph, target: Target, compiler: AnyCompiler, cache: bool) -> Network:
    plan = plan_graph(graph, target)
    library = pipeline.build(plan, pipeline.sources(plan), compiler, use_cache=cache)
    stages = Stages(graph, plan)
    interface = Interface.of(stages)
    return Network(interface, pipeline.load(library, interface), stages)


def _call(net: Network) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal(shape, np.float32) for shape in net.input_shapes]
    return net.bind(*xs, out=[np.empty(shape, np.float32) for shape in net.output_shapes])
