"""The full race: nine well-known networks, one image at a time, against the runtimes that a user would pick instead.

    python benchmarks/race.py [NAME ...] [--threads 1,2] [--numerics fast,reproducible] [--against onnxruntime,...]
                              [--rounds 9] [--slice 0.3] [--json race.json]

The networks are those of `benchmarks/models`, exported to `build/models` once, and the shipped LeNet. Each race is one
of `cnngen.race`: all contenders in one run, each in a process of its own on the same cores, in turn. What counts is
the time of the fastest contender whose output agrees over cnngen's; the table ends with geometric mean and smallest.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from cnngen.race import PEERS, Race, install_command, race
from cnngen.resources import specs_folder

NETWORKS = (
    "lenet",
    "alexnet",
    "vgg16",
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "squeezenet1_1",
    "densenet121",
    "efficientnet_b0",
)


def model_file(name: str, folder: Path) -> Path:
    """The network's file, exported now where it is not there yet."""
    if name == "lenet":
        return specs_folder() / "lenet.yaml"
    file = folder / f"{name}.onnx"
    if not file.exists():
        import torch

        from benchmarks.export_models import export
        from benchmarks.models import build

        folder.mkdir(parents=True, exist_ok=True)
        print(f"exporting {name}", file=sys.stderr)
        export(build(name), torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)), file)
    return file


def geometric_mean(ratios: list[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def row(result: Race) -> str:
    cells = []
    for lane in result.lanes:
        time = f"{1e3 * lane.seconds:.3f} ms" if lane.slices else lane.problem
        cells.append(f"{lane.system} {time}" + ("" if lane.valid or not lane.slices else " (differs: void)"))
    ratio = f"{result.ratio:.2f}" if result.ratio else "void"
    return f"{result.network:<16} best peer / cnngen {ratio:>5}   " + "  ".join(cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)}; by default all")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--numerics", default="fast,reproducible")
    parser.add_argument("--against", default="onnxruntime,openvino,ncnn")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--slice", type=float, default=0.3, help="seconds")
    parser.add_argument("--folder", type=Path, default=Path("build/models"), help="where the ONNX files are")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(NETWORKS)):
        parser.error(f"unknown networks {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    systems = options.against.split(",")
    if unknown := sorted(set(systems) - set(PEERS)):
        parser.error(f"unknown contenders {', '.join(unknown)}; there are {', '.join(PEERS)}")
    for system in systems:
        if command := install_command(system):
            print(f"{system} is not installed: {command}", file=sys.stderr)
    files = {name: model_file(name, options.folder) for name in options.names or NETWORKS}
    tables: list[dict[str, Any]] = []
    void = 0
    for threads in map(int, options.threads.split(",")):
        for numerics in options.numerics.split(","):
            print(f"\n{threads} thread{'s' if threads > 1 else ''}, {numerics}")
            results = []
            for file in files.values():
                found = race(
                    file,
                    systems,
                    threads=threads,
                    numerics=numerics,
                    rounds=options.rounds,
                    slice_seconds=options.slice,
                )
                results.append(found)
                print(row(found), flush=True)
            ratios = [result.ratio for result in results if result.ratio]
            void += len(results) - len(ratios)
            table = {"threads": threads, "numerics": numerics, "races": [result.as_json() for result in results]}
            if ratios:
                table |= {"geometric_mean": geometric_mean(ratios), "smallest": min(ratios)}
                print(f"geometric mean {table['geometric_mean']:.3f}, smallest {min(ratios):.3f}, {len(ratios)} races")
            tables.append(table)
            if options.json:  # as far as it has come
                common.write_json(options.json, {"machine": common.machine_facts(), "tables": tables})
    return 1 if void else 0


if __name__ == "__main__":
    raise SystemExit(main())
