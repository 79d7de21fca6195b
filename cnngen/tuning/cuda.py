"""Tuning for GPUs: every distinct convolution that is a matrix product, with the tiles that may be the quickest.

The GPU takes the times, with events around the layer. Before each run L2 is overwritten and the inputs are copied
there again: a layer finds its inputs in L2 and its weights in memory, as in a network whose weights L2 does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from cnngen.backends.cuda.choices import NO_CHOICES, TileChoices, fields_of, tile_of
from cnngen.backends.cuda.kernels import GemmConvKernel
from cnngen.backends.cuda.kernels.convolution import CHUNK_BYTES, Tile
from cnngen.backends.cuda.plan import CudaPlan, plan_graph
from cnngen.backends.cuda.target import CudaTarget
from cnngen.backends.cuda.tiling import Product, ranked_tiles
from cnngen.errors import DeviceError, PlanError, ToolchainError, TuningError
from cnngen.ir import Array, Graph, Input, Node
from cnngen.ops import Activate, Activation
from cnngen.passes.infer_shapes import infer_shapes
from cnngen.tuning import Tuned
from cnngen.tuning.cpu import winner
from cnngen.tuning.trials import key_of, tunable

if TYPE_CHECKING:
    from cnngen.backends.cuda.launcher import Launcher
    from cnngen.backends.toolchains import AnyCompiler
    from cnngen.tuning import Progress
    from cnngen.tuning.file import TuningFile

MOST_TRIALS = 12
SHAPES = 8
"""Shapes of tiles that are tried; the others are stages and parts of the best ones."""
ROUNDS, REPEATS = 12, 5
"""Turns of each candidate, and runs in a turn, of which the quickest counts."""


def device(target: CudaTarget) -> str:
    """The GPU, what it computes in, and all that makes it another one for the planner."""
    (gpu,) = target.architectures
    return f"{gpu.card}, {gpu.name}, {gpu.processors} multiprocessors, {target.precision.name}"


def tune(
    graph: Graph, target: CudaTarget, file: TuningFile, seconds: float, progress: Progress, number: int = 0
) -> Tuned:
    """The tiles for `graph` (optimised) on GPU `number`, by layer key: known ones from `file`, others measured until
    `seconds` are over, the layers with the most work first.

    Raises `TuningError` for an entry that is no tile, `DeviceError` and `ToolchainError`.
    """
    from cnngen import pipeline

    begin, name = perf_counter(), device(target)
    layers: dict[str, Node] = {}
    for node in graph.nodes:
        if tunable(node) and product_of(graph, node, target) is not None:
            layers.setdefault(key_of(graph, node), node)
    unknown = [key for key in layers if file.find(name, key) is None]
    unknown.sort(key=lambda key: -_macs(graph, layers[key]))
    compiler = pipeline.find_compiler("cuda") if unknown else None
    for done, key in enumerate(unknown):
        if perf_counter() - begin > seconds:
            break
        progress(layers[key].name, done, len(unknown))
        assert compiler is not None
        file.add(name, key, measure(graph, layers[key], target, compiler, number))
    progress("", len(unknown), len(unknown))
    found = {key: dict(fields) for key in layers if (fields := file.find(name, key)) is not None}
    for key, fields in found.items():
        try:
            if fields:
                plan_trial(graph, layers[key], target, tile_of(fields))
        except PlanError as error:
            raise TuningError(f"{key}: {error}", remedy=f"delete it from {file.path}") from error
    return Tuned(name, found, len(found) == len(layers))


def _macs(graph: Graph, node: Node) -> int:
    return node.op.cost(graph.input_types(node), graph.types[node.name]).macs


def alone(graph: Graph, node: Node) -> Graph:
    """A network of `node` between layers of no weight: its tensors lie in the arena, as inside a network."""
    inputs = tuple(Input(f"x{i}", graph.types[name]) for i, name in enumerate(node.inputs))
    relu = Activate(Activation("relu"))
    before = [Node(f"before{i}", relu, (tensor.name,)) for i, tensor in enumerate(inputs)]
    own = Node("layer", node.op, tuple(each.name for each in before), node.weights)
    return infer_shapes(Graph("trial", inputs, (*before, own, Node("after", relu, ("layer",))), ("after",)))


def plan_trial(graph: Graph, node: Node, target: CudaTarget, tile: Tile | None) -> CudaPlan:
    """The plan of one layer with this tile (None: as planned). Raises `PlanError` where that cannot be."""
    choices = NO_CHOICES if tile is None else TileChoices.of({key_of(graph, node): tile})
    return plan_graph(alone(graph, node), replace(target, choices=choices))


def product_of(graph: Graph, node: Node, target: CudaTarget) -> tuple[Product, Tile] | None:
    """The matrix product that a layer is, and its tile as planned; None where it is computed in another way."""
    plan = plan_trial(graph, node, target, None)
    for step in plan.steps:
        for call in step.calls:
            if step.node == "layer" and isinstance(kernel := call.kernel, GemmConvKernel):
                pieces = CHUNK_BYTES // (kernel.vector * kernel.element_bytes)
                size = int(np.prod(call.reads[0].shape)) * kernel.element_bytes
                product = Product(
                    kernel.precision, kernel.pixels, kernel.group_outputs, kernel.groups, kernel.slices,
                    kernel.window, pieces, size,
                )  # fmt: skip
                return product, kernel.tile
    return None


def variants(product: Product, planned: Tile, target: CudaTarget) -> list[Tile]:
    """The planned tile, then others that may be quicker: the best of each shape, then the next best at all."""
    ranked = ranked_tiles(product, target)
    shapes: dict[tuple[object, ...], Tile] = {}
    for tile in ranked:
        shapes.setdefault((tile.pixels, tile.channels, tile.warps), tile)
    found = dict.fromkeys([planned, *list(shapes.values())[:SHAPES], *ranked])
    return list(found)[:MOST_TRIALS]


def measure(graph: Graph, node: Node, target: CudaTarget, compiler: AnyCompiler, number: int) -> dict[str, Any]:
    """The entry of one layer: the tile that is clearly quicker than the planned one, or an empty choice."""
    found = product_of(graph, node, target)
    assert found is not None
    product, planned = found
    tiles = variants(product, planned, target)
    plans = [plan_trial(graph, node, target, None if tile == planned else tile) for tile in tiles]
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(build, plan, compiler, number) for plan in plans]
        with ExitStack() as undo:
            launchers: list[Launcher | None] = []
            for future in futures:
                try:
                    launchers.append(future.result())
                except (ToolchainError, DeviceError):
                    # A tile that this GPU or compiler will not have is none to choose; the planned one has to work.
                    if not launchers:
                        raise
                    launchers.append(None)
                else:
                    undo.callback(future.result().close)
            times = time_trials(plans, launchers, 2 * target.architectures[0].l2_size)
    best = winner(times)
    medians = 1e6 * np.median(times, axis=0)
    return {
        "choice": fields_of(tiles[best]) if best else {},
        "microseconds": round(float(medians[best]), 2),
        "planned": fields_of(planned),
        "planned_microseconds": round(float(medians[0]), 2),
        "measured": sum(each is not None for each in launchers),
    }


def build(plan: CudaPlan, compiler: AnyCompiler, number: int) -> Launcher:
    """Compile one trial and load it onto GPU `number`. Raises `ToolchainError` or `DeviceError`."""
    from cnngen import cache
    from cnngen.backends import pack_weights, print_sources
    from cnngen.backends.cuda.launcher import load
    from cnngen.backends.cuda.launches import describe

    path = cache.library(print_sources(plan), compiler, use_cache=False)
    return load(path, describe(plan), pack_weights(plan), number)


def time_trials(plans: Sequence[CudaPlan], launchers: Sequence[Launcher | None], sweep: int) -> Array:
    """Seconds of the layer in each trial, in turns: (rounds, trials); infinity where there is none."""
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal(tensor.type.shape, np.float32) for tensor in plans[0].graph.inputs]
    times = np.full((ROUNDS + 1, len(plans)), np.inf)
    for turn in range(ROUNDS + 1):  # the first one warms up
        for place in range(len(plans)):
            index = (place + turn) % len(plans)
            launcher = launchers[index]
            if launcher is not None:
                steps = list(plans[index].steps_of("layer"))
                taken = launcher.time_steps(xs, REPEATS, sweep=sweep)[:, steps].sum(axis=1)
                times[turn, index] = taken.min()
    return times[1:].clip(1e-9)
