"""``python -m tests.cuda_tiles``: every tile that tuning may choose, on odd shapes, through the CUDA emulation.

Pixels, channels and taps that fill no tile, with strides, groups, a residual, and taps in parts. Each layer of a
network has another tile; `cnngen.verify` holds all of them against the reference. Exit status: 0 where all
are right. `make verify-cuda` runs it; the tests a sample.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import replace

import cnngen
from cnngen.backends.cuda.choices import TileChoices
from cnngen.backends.cuda.kernels import GemmConvKernel
from cnngen.backends.cuda.kernels.convolution import Tile
from cnngen.backends.cuda.plan import plan_graph
from cnngen.backends.cuda.target import PRECISIONS, CudaTarget, resolve
from cnngen.backends.cuda.tiling import Product, candidates
from cnngen.errors import PlanError
from cnngen.interface import Interface, Stages
from cnngen.ir import Graph
from cnngen.network import Network
from cnngen.ops import Activation, Conv2D
from cnngen.passes import optimise
from cnngen.pipeline import build, find_compiler, load, sources
from cnngen.tuning.trials import key_of
from tests.graphs import Builder

SLICES = 12
"""So many of the taps at least have the layers; with two parts and more they are cut."""
NETWORK_TILES = 12


def all_tiles(target: CudaTarget) -> list[Tile]:
    """Every tile of the model of time for products of `SLICES` slices."""
    return list(candidates(Product(target.precision, 99, 99, 1, SLICES), target))


def sampled(target: CudaTarget, count: int, seed: int = 0) -> list[Tile]:
    """`count` tiles, no two of one shape before every shape was taken."""
    tiles = all_tiles(target)
    random.Random(seed).shuffle(tiles)
    seen: dict[object, int] = {}
    for tile in tiles:
        seen.setdefault((tile.pixels, tile.channels, tile.warps), 0)
    order = []
    for tile in tiles:
        shape = (tile.pixels, tile.channels, tile.warps)
        order.append((seen[shape], len(order), tile))
        seen[shape] += 1
    return [tile for *_, tile in sorted(order, key=lambda entry: entry[:2])][:count]


def network(tiles: Sequence[Tile], precision: str) -> tuple[Graph, TileChoices]:
    """A layer for each tile, all of one input, and the choices that force the tiles."""
    channels = SLICES * 128 // PRECISIONS[precision].element_bytes // 9 + 1
    net = Builder((2, 7, 5, channels + channels % 2), name=f"tiles_{precision}", weights="integers")
    relu = Activation("relu")
    outputs = []
    for number, tile in enumerate(tiles):
        filters = tile.channels + 3 + 2 * number if number % 3 else max(2, tile.channels - 2 * number - 1)
        stride = (1, 1) if number % 2 else (2, 1)
        kind = Conv2D(filters, (3, 3), stride, padding=(1, 1, 1, 1), activation=relu, use_bias=number % 4 > 0)
        if number % 5 == 4:
            first = net.add(Conv2D(filters, (1, 1), stride), "x")
            outputs.append(net.add(replace(kind, residual=True), "x", first))
        elif number % 5 == 3:
            outputs.append(net.add(replace(kind, filters=filters + filters % 2, groups=2), "x"))
        else:
            outputs.append(net.add(kind, "x"))
    graph = optimise(net.graph(*outputs))
    keys = {node.name: key_of(graph, node) for node in graph.nodes if isinstance(node.op, Conv2D)}
    return graph, TileChoices.of({keys[name]: tile for name, tile in zip(outputs, tiles, strict=True)})


def check(tiles: Sequence[Tile], precision: str) -> str:
    """What is wrong with these tiles, nothing where they are right."""
    target = resolve("sm_80", precision, emulated=True)
    graph, choices = network(tiles, precision)
    plan = plan_graph(graph, replace(target, choices=choices))
    found = [call.kernel.tile for step in plan.steps for call in step.calls if isinstance(call.kernel, GemmConvKernel)]
    if missing := set(tiles) - set(found):
        raise PlanError(f"not planned: {missing}")
    stages = Stages(graph, plan)
    library = build(plan, sources(plan), find_compiler("cuda-emulated"))
    with Network(Interface.of(stages), load(library, Interface.of(stages)), stages) as net:
        report = cnngen.verify(net)
    return "" if report.ok else report.summary()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cuda_tiles", description=__doc__.splitlines()[0])
    parser.add_argument("--precision", action="append", choices=tuple(PRECISIONS), help="default: all")
    parser.add_argument("--sample", type=int, help="so many tiles for each precision; default: all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed = 0
    for precision in options.precision or PRECISIONS:
        target = resolve("sm_80", precision, emulated=True)
        count = len(all_tiles(target)) if options.sample is None else options.sample
        tiles = sampled(target, count, options.seed)
        for first in range(0, len(tiles), NETWORK_TILES):
            problem = check(tiles[first : first + NETWORK_TILES], precision)
            failed += bool(problem)
            print(
                problem or f"{precision}: {min(first + NETWORK_TILES, len(tiles))} of {len(tiles)} tiles right",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
