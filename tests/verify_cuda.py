"""``python -m tests.verify_cuda``: every shipped network, made small, on the CUDA emulation (``make verify-cuda``).

LeNet as it is; of the others the channels are divided and the input is cut (`tests/scaled.py`). Each is verified as
`cnngen verify --target cuda-emulated` does it, in every precision. Exit status: 0 where all passed.
"""

from __future__ import annotations

import argparse
import sys
import time

import cnngen
from cnngen.backends.cuda.target import EMULATED, PRECISIONS
from cnngen.ir import Graph
from cnngen.resources import specs_folder
from tests.scaled import scaled

DIVISOR = 4
PIXELS = 64
NETWORKS = tuple(sorted(path.stem for path in specs_folder().glob("*.yaml")))


def small(name: str, divisor: int = DIVISOR, pixels: int = PIXELS) -> Graph:
    """The shipped network `name`, made small; LeNet is."""
    graph = cnngen.load_graph(specs_folder() / f"{name}.yaml")
    return graph if name == "lenet" else scaled(graph, channels=divisor, pixels=pixels)


def check(graph: Graph, precision: str) -> tuple[bool, str]:
    """Whether `graph` passes, and a row of the table."""
    start = time.monotonic()
    with cnngen.compile(graph, target=EMULATED, precision=precision, cache=False) as net:
        kernels = len(net.plan.kernels)
        report = cnngen.verify(net)
    exact = sum(layer.exactness == "exact" for layer in report.layers)
    worst = max(layer.floats.worst_limit for layer in report.layers)
    (_, height, width, depth) = graph.inputs[0].type.shape
    macs = sum(node.op.cost(graph.input_types(node), graph.types[node.name]).macs for node in graph.nodes)
    cells = [
        graph.name,
        f"{height}x{width}x{depth}",
        f"{macs / 1e6:.1f}",
        precision,
        str(kernels),
        str(len(report.layers)),
        str(exact),
        f"{worst:.2g}",
        f"{report.outputs[0].error:.1e}",
        "passed" if report.ok else "FAILED",
        f"{time.monotonic() - start:.0f}",
    ]
    row = f"| {' | '.join(cells)} |"
    return report.ok, row if report.ok else f"{row}\n{report.summary()}"


COLUMNS = (
    "network", "input", "MMACs", "precision", "kernels", "layers", "exact", "worst error / bound", "end to end",
    "result", "s",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.verify_cuda", description="Shipped networks, made small.")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)}; default: all")
    parser.add_argument("--precision", action="append", choices=tuple(PRECISIONS), help="default: all")
    parser.add_argument("--divisor", type=int, default=DIVISOR, help=f"of channels (default {DIVISOR})")
    parser.add_argument("--pixels", type=int, default=PIXELS, help=f"least side of the input (default {PIXELS})")
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    passed = []
    for name in options.networks or NETWORKS:
        graph = small(name, options.divisor, options.pixels)
        for precision in options.precision or PRECISIONS:
            ok, row = check(graph, precision)
            print(row, flush=True)
            passed.append(ok)
    print(f"{sum(passed)} of {len(passed)} passed", flush=True)
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
