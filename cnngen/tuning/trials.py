"""Single layers of a network as networks of their own, and how long each way to compute them takes.

A layer is timed as it runs in its network: its inputs lie in the caches, its weights where a run finds them, which for
a large network is memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from cnngen import cache
from cnngen.backends import print_sources
from cnngen.backends.cpu import loader
from cnngen.backends.cpu.choices import Choice, Choices, layer_key
from cnngen.backends.cpu.plan import Plan, plan_graph
from cnngen.backends.cpu.target import Target, available_cores
from cnngen.backends.text import c_identifier
from cnngen.ir import Array, Graph, Input, Node
from cnngen.ops import Conv2D, Dense
from cnngen.passes.infer_shapes import infer_shapes
from cnngen.plan.memory import as_image
from cnngen.workspace import Workspace

if TYPE_CHECKING:
    from cnngen.backends.toolchains import AnyCompiler

LARGEST_SWEEP = 64 << 20
"""Bytes that are read between two timings so that weights lie where a run finds them; no L3 of a core is larger."""


def tunable(node: Node) -> bool:
    """Whether there are several ways to compute a node."""
    return isinstance(node.op, Conv2D | Dense)


def key_of(graph: Graph, node: Node) -> str:
    """The `layer_key` of a convolution or dense layer of `graph`."""
    assert isinstance(node.op, Conv2D | Dense)
    return layer_key(node.op, as_image(graph.input_types(node)[0]), as_image(graph.types[node.name]))


def alone(graph: Graph, node: Node) -> Graph:
    """A network of `node` only, with its weights."""
    inputs = tuple(Input(f"x{i}", graph.types[name]) for i, name in enumerate(node.inputs))
    own = Node("layer", node.op, tuple(tensor.name for tensor in inputs), node.weights)
    return infer_shapes(Graph("trial", inputs, (own,), ("layer",)))


@dataclass(frozen=True)
class Trial:
    """A layer computed in one way: its native steps, and what puts the inputs that they read into the caches."""

    plan: Plan
    step: Callable[[], None]
    stages: Sequence[Callable[[], object]]


def plan_trial(graph: Graph, node: Node, target: Target, choice: Choice) -> Plan:
    """The plan of one layer computed by `choice`. Raises `PlanError` where that cannot be."""
    choices = Choices.of({key_of(graph, node): choice})
    return plan_graph(alone(graph, node), replace(target, choices=choices))


def build_trials(
    graph: Graph, node: Node, target: Target, choices: Sequence[Choice], compiler: AnyCompiler
) -> list[Trial]:
    """Compile and load a layer in each way; compilers run side by side. Raises `ToolchainError` or `PlanError`."""
    plans = [plan_trial(graph, node, target, choice) for choice in choices]

    def build(plan: Plan) -> Trial:
        path = cache.library(print_sources(plan), compiler, use_cache=False)
        library = loader.load(path, c_identifier(plan.name), len(plan.graph.inputs), 1)
        rng = np.random.default_rng(0)
        xs = [rng.standard_normal(tensor.type.shape, np.float32) for tensor in plan.graph.inputs]
        workspace = Workspace(plan, library, xs, fill=0.0)
        for tensor in plan.graph.inputs:
            workspace.run(tensor.name)
        # An input that is staged (with a border) lies in the arena, another one where the caller has it.
        staged = [workspace.stepper(plan.steps_of(tensor.name)) for tensor in plan.graph.inputs]
        return Trial(plan, workspace.stepper(plan.steps_of("layer")), [*staged, *(x.max for x in xs)])

    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(build, plans))


def time_trials(trials: Sequence[Trial], parameter_bytes: int, rounds: int) -> Array:
    """Seconds of each trial in each of `rounds`, in which they take turns: (rounds, trials)."""
    sweep = np.ones(min(2 * parameter_bytes, LARGEST_SWEEP) // 4 + 1, np.float32)
    times = np.empty((rounds, len(trials)))
    for trial in trials:
        trial.step()
    for number in range(rounds):
        for turn in range(len(trials)):
            index = (turn + number) % len(trials)
            sweep.max()
            for stage in trials[index].stages:
                stage()
            start = perf_counter()
            trials[index].step()
            times[number, index] = perf_counter() - start
    return times
