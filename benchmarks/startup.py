"""From nothing to the first result: fresh processes, from the cache and with an empty one.

    python benchmarks/startup.py [--json startup.json] [--rounds 15] [--cold 3] [SPEC or MODEL.onnx ...]

Each contender is a process of its own: Python alone, Python with NumPy, cnngen with each network, and ONNX Runtime
(if it is installed) with LeNet as a model file. They take turns. Two things are measured: the wall time, which only a
quiet machine can tell, and the CPU time (user and system, all threads), which depends less on what runs beside.
The memory is what the process held at most, the compilers that it called apart: the largest of them.
Networks use all cores as they do by default, so that their CPU time can exceed the wall time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

ENVIRONMENT = dict(os.environ)  # before anything imported below sets the number of threads

import common  # noqa: E402

from cnngen.resources import specs_folder  # noqa: E402

SPECS = ("lenet", "resnet50", "vgg16")
CNNGEN = """
import sys, cnngen, numpy as np
net = cnngen.compile(sys.argv[1])
net(np.zeros(net.input_shapes[0], "f4"))
"""
ONNXRUNTIME = """
import sys, onnxruntime, numpy as np
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {"x": np.zeros(session.get_inputs()[0].shape, "f4")})
"""


class Process(NamedTuple):
    """Seconds that a process took, and its largest memory in MiB, or that of a compiler it called."""

    wall: float
    cpu: float
    peak: float


def run(code: str, *arguments: str, cache: str) -> Process:
    """A fresh Python process, from start to end; its children's CPU time is counted with it."""
    start = perf_counter()
    command = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(command, env={**ENVIRONMENT, "XDG_CACHE_HOME": cache}, cwd=common.REPOSITORY)
    _, status, usage = os.wait4(process.pid, 0)
    wall = perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed")
    return Process(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def onnx_model(folder: str) -> tuple[str, str] | None:
    """LeNet as an ONNX file and the version of ONNX Runtime; None where that is not installed."""
    try:
        import lenet
    except ImportError as error:
        print(f"without ONNX Runtime: {error}", file=sys.stderr)
        return None
    path = Path(folder) / "lenet.onnx"
    path.write_bytes(lenet.onnx_twin(lenet.cnngen.load_graph(lenet.SPEC)))
    return str(path), lenet.onnxruntime.__version__


def summary(processes: list[Process]) -> dict[str, float | int]:
    """Medians, and the deciles of the wall time."""
    walls = [process.wall for process in processes]
    low, *_, high = statistics.quantiles(walls, n=10, method="inclusive") if len(walls) > 1 else walls * 2
    return {
        "wall_s": statistics.median(walls),
        "wall_p10_s": low,
        "wall_p90_s": high,
        "cpu_s": statistics.median(process.cpu for process in processes),
        "peak_mib": statistics.median(process.peak for process in processes),
        "processes": len(processes),
    }


def race(contenders: Mapping[str, tuple[str, ...]], rounds: int, cache: str) -> dict[str, list[Process]]:
    """Each contender `rounds` times, in turn; nobody always follows the same neighbour."""
    names = list(contenders)
    taken: dict[str, list[Process]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            taken[name].append(run(*contenders[name], cache=cache))
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("specs", nargs="*", default=SPECS, metavar="SPEC", help=f"default: {', '.join(SPECS)}")
    parser.add_argument("--json", type=Path, help="write the results here; a bare name goes to benchmarks/results/")
    parser.add_argument("--rounds", type=int, default=15, help="processes of each contender")
    parser.add_argument("--cold", type=int, default=3, help="processes of each network with an empty cache")
    options = parser.parse_args()

    machine = common.machine_facts()
    files = [Path(spec) if Path(spec).suffix else specs_folder() / f"{spec}.yaml" for spec in options.specs]
    paths = {file.stem: str(file) for file in files}
    cold: dict[str, list[Process]] = {}
    for name, path in paths.items():
        for _ in range(options.cold):
            with tempfile.TemporaryDirectory() as cache:
                cold.setdefault(f"cnngen, {name}", []).append(run(CNNGEN, path, cache=cache))
    with tempfile.TemporaryDirectory() as folder:
        contenders: dict[str, tuple[str, ...]] = {"Python": ("pass",), "Python, import numpy": ("import numpy",)}
        contenders |= {f"cnngen, {name}": (CNNGEN, path) for name, path in paths.items()}
        if found := onnx_model(folder):
            machine["onnxruntime"] = found[1]
            contenders["ONNX Runtime, lenet"] = (ONNXRUNTIME, found[0])
        race(contenders, 1, folder)  # fills the cache
        warm = race(contenders, options.rounds, folder)
    result = {
        "benchmark": "from nothing to the first result, fresh processes",
        "machine": machine,
        "warm": {name: summary(processes) for name, processes in warm.items()},
        "cold": {name: summary(processes) for name, processes in cold.items()},
    }
    report(result)
    if options.json:
        common.write_json(options.json, result)
    return 0


def report(result: dict[str, Any]) -> None:
    """Print the results for a person to read."""
    machine = result["machine"]
    print(f"{result['benchmark']}; {machine['cpu']}, {machine['cores']} cores, {machine['date']}")
    print(f"load when it started: {machine['load_before']}")
    for kind, title in (("warm", "from the cache"), ("cold", "with an empty cache")):
        print(f"\n{title:<36}{'median':>10}{'p10':>10}{'p90':>10}{'CPU time':>10}{'memory':>12}")
        for name, taken in result[kind].items():
            keys = ("wall_s", "wall_p10_s", "wall_p90_s", "cpu_s")
            print(f"{name:<36}" + "".join(f"{taken[key]:>8.3f} s" for key in keys) + f"{taken['peak_mib']:>8.0f} MiB")


if __name__ == "__main__":
    sys.exit(main())
