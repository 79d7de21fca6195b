"""Where the time of a network goes, against the roofline of each layer: tables in Markdown.

    python benchmarks/rooflines.py [NAME ...] [--isa avx2] [--numerics reproducible] [--rounds 15] [--layers 6]
                                   [--json rooflines.json]

The networks are those of `race.py`. For each: its layers by algorithm, with the time that a direct computation of them
needs at least (all operations at the peak of the core, or all data at the speed of the cache or memory that holds
them), and the layers that take the most time beyond that. Winograd's algorithm does fewer operations: its share of the
roofline of a direct computation exceeds 1.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common

common.use_one_thread()

import cnngen  # noqa: E402
from benchmarks.race import NETWORKS, model_file  # noqa: E402
from cnngen.report.profile import LayerTime  # noqa: E402


def by_algorithm(layers: Sequence[LayerTime]) -> str:
    """A table with one line for each algorithm, the one that takes the most time first."""
    groups: dict[str, list[LayerTime]] = defaultdict(list)
    for layer in layers:
        groups[f"{layer.kind}, {layer.algorithm}" if layer.algorithm != layer.kind else layer.kind].append(layer)
    total = sum(layer.seconds for layer in layers)
    lines = ["| layers | | ms | of the time | direct roofline, ms | share |", "|---|---|---|---|---|---|"]
    for name, group in sorted(groups.items(), key=lambda item: -sum(layer.seconds for layer in item[1])):
        seconds, least = (sum(getattr(layer, field) for layer in group) for field in ("seconds", "roofline"))
        if seconds < 0.005 * total:
            continue
        share = f"{least / seconds:.2f}" if least else ""
        lines.append(
            f"| {name} | {len(group)} | {1e3 * seconds:.3g} | {seconds / total:.0%} | {1e3 * least:.3g} | {share} |"
        )
    return "\n".join(lines)


def furthest(layers: Sequence[LayerTime], count: int) -> str:
    """The layers that take the most time beyond their roofline."""
    ranked = sorted(layers, key=lambda layer: layer.roofline - layer.seconds)
    lines = ["| layer | | microseconds | GFLOP/s | of the roofline |", "|---|---|---|---|---|"]
    for layer in ranked[:count]:
        lines.append(
            f"| `{layer.name}` | {layer.kind}, {layer.algorithm} | {1e6 * layer.seconds:.0f} | {layer.gflops:.1f} | "
            f"{layer.share:.2f} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)}; by default all")
    parser.add_argument("--isa", default="native")
    parser.add_argument("--numerics", default="fast")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--layers", type=int, default=6, help="how many of the furthest from their roofline")
    parser.add_argument("--folder", type=Path, default=Path("build/models"), help="where the ONNX files are")
    parser.add_argument("--core", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(NETWORKS)):
        parser.error(f"unknown networks {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    core = common.pin(options.core)
    networks: dict[str, Any] = {}
    for name in options.names or NETWORKS:
        file = model_file(name, options.folder)
        with cnngen.compile(file, isa=options.isa, threads=1, numerics=options.numerics) as net:
            layers = net.profile(rounds=options.rounds)
        seconds, least = (sum(getattr(layer, field) for layer in layers) for field in ("seconds", "roofline"))
        print(f"\n### {name}: {1e3 * seconds:.3g} ms, {least / seconds:.2f} of the direct roofline\n")
        print(by_algorithm(layers), furthest(layers, options.layers), sep="\n\n", flush=True)
        networks[name] = {"seconds": seconds, "roofline": least, "layers": [asdict(layer) for layer in layers]}
        if options.json:
            common.write_json(options.json, {"machine": common.machine_facts(), "core": core, "networks": networks})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
