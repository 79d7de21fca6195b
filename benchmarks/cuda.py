"""Networks on a GPU: cnngen against PyTorch with cuDNN in a CUDA graph, and against torch.compile with max-autotune.

    python benchmarks/cuda.py [NETWORK ...] [--batch 1 --batch 8] [--precision fp16] [--json FILE] [--seconds 3000]

All in one process, in the same precision, in turns; times are those of the GPU's own events. Before a race the answers
are held against PyTorch in float64: where cnngen's are further off than PyTorch's own in this precision allow, the
race is void and the exit status 1. Results are written after each race; a second run with --resume does what is
missing. Without a GPU the exit status is 4, without PyTorch 3.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
# As a script this folder comes first where modules are looked for, and its cuda.py hides the package `cuda` of
# cuda-bindings, through which networks are loaded.
sys.path[:] = [
    str(REPOSITORY),
    *(entry for entry in sys.path if Path(entry or ".").resolve() != REPOSITORY / "benchmarks"),
]

import numpy as np  # noqa: E402

from benchmarks import common  # noqa: E402
from benchmarks.gpu import Contender, Gpu  # noqa: E402

NETWORKS = {
    "lenet": (1, 28, 28),
    "resnet18": (3, 224, 224),
    "resnet50": (3, 224, 224),
    "vgg16": (3, 224, 224),
    "mobilenet_v2": (3, 224, 224),
    "efficientnet_b0": (3, 224, 224),
}
"""Channels, height and width of an image."""
BATCHES = (1, 8, 64)
PRECISIONS = ("fp16", "tf32", "fp32")
CONTENDERS = ("cnngen", "cudnn-graph", "torch.compile")
TARGETS = {1: 1.5, 64: 0.9}
"""What is wanted against the better of the others, by batch."""
ALLOWANCE = 4.0
"""How much further off than PyTorch in the same precision a right answer may be: the order of sums and the layers
that are fused (and so rounded less, or elsewhere) differ, not the number of roundings."""
FLOOR = {"fp16": 2.0**-11, "tf32": 2.0**-11, "fp32": 2.0**-20}
"""Errors that are never too large: a unit of rounding of the factors, and some of float32."""
LATENCY_CALLS = 50


def model_of(name: str) -> Any:
    """The network in eval mode with random weights."""
    from benchmarks.models import build, lenet

    if name != "lenet":
        return build(name)
    import torch

    torch.manual_seed(0)
    return lenet().eval()


def relative(actual: np.ndarray, wanted: np.ndarray) -> float:
    """The L2 norm of the difference over that of what is wanted; infinity where there is no number."""
    error = np.linalg.norm(actual - wanted) / np.linalg.norm(wanted)
    return float(error) if np.isfinite(error) else math.inf


def race(
    gpu: Any, name: str, batch: int, precision: str, options: argparse.Namespace, say: Callable[[str], object] = print
) -> dict[str, Any]:
    """One network, batch and precision: times and errors of all contenders."""
    model, x = model_of(name), gpu.input((batch, *NETWORKS[name]))
    wanted = gpu.reference(model, x)
    built: dict[str, Contender] = {}
    result: dict[str, Any] = {"network": name, "batch": batch, "precision": precision, "contenders": {}}
    for contender, made in gpu.contenders(model, x, precision, tuple(options.contender)):
        if isinstance(made, str):
            result["contenders"][contender] = {"failed": made}
            say(f"  {contender} cannot take part: {made.splitlines()[0]}")
            continue
        built[contender] = made
        error = relative(made.result(), wanted)
        result["contenders"][contender] = {"relative_error": error, "build_s": round(made.seconds, 2)}
    own = result["contenders"].get("cnngen", {})
    theirs = [entry["relative_error"] for who, entry in result["contenders"].items()
              if who != "cnngen" and "relative_error" in entry]  # fmt: skip
    limit = max([ALLOWANCE * error for error in theirs if math.isfinite(error)] + [FLOOR[precision]])
    result["limit"] = limit
    result["valid"] = own.get("relative_error", math.inf) <= limit
    if result["valid"]:
        timings = common.interleave(
            {who: made.run for who, made in built.items()},
            slices=options.slices, slice_seconds=options.slice_seconds, measure=gpu.measure,
        )  # fmt: skip
        for who, timing in timings.items():
            entry = result["contenders"][who]
            entry.update(timing.as_json(), latency_s=gpu.latency(built[who].run, LATENCY_CALLS))
            entry["images_s"] = batch / timing.median
        others = [timing.median for who, timing in timings.items() if who != "cnngen"]
        result["ratio"] = min(others) / timings["cnngen"].median if others else None
    for made in built.values():
        made.close()
    return result


def row(result: dict[str, Any]) -> str:
    """A line of the table."""
    cells = []
    for who in CONTENDERS:
        entry = result["contenders"].get(who, {})
        cells.append(f"{entry['median_s'] * 1e6:>14.1f}" if "median_s" in entry else f"{'-':>14}")
    ratio = result.get("ratio")
    end = f"{ratio:>8.2f}" if ratio else f"{'-':>8}"
    error = result["contenders"].get("cnngen", {}).get("relative_error", math.inf)
    mark = "" if result["valid"] else "  VOID: the answers disagree, or cnngen failed"
    return (
        f"{result['network']:<16}{result['batch']:>6}{result['precision']:>6}{''.join(cells)}{end}{error:>10.1e}{mark}"
    )


HEADER = (
    f"{'network':<16}{'batch':>6}{'prec':>6}{''.join(f'{who:>14}' for who in CONTENDERS)}{'ratio':>8}{'error':>10}"
    "   (microseconds of the GPU for a run)"
)


def summary(races: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The geometric mean of the ratios for each precision and batch, with what is wanted."""
    found = []
    for precision in PRECISIONS:
        for batch in sorted({each["batch"] for each in races}):
            ratios = [each["ratio"] for each in races
                      if (each["precision"], each["batch"]) == (precision, batch) and each.get("ratio")]  # fmt: skip
            if ratios:
                found.append({
                    "precision": precision, "batch": batch, "networks": len(ratios),
                    "ratio": statistics.geometric_mean(ratios), "lowest": min(ratios), "wanted": TARGETS.get(batch),
                })  # fmt: skip
    return found


def arguments(values: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)}; by default all")
    parser.add_argument("--batch", type=int, action="append", help=f"images of a run; default {BATCHES}")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="default fp16 and tf32")
    parser.add_argument("--contender", action="append", choices=CONTENDERS, help="default all; cnngen always runs")
    parser.add_argument("--slices", type=int, default=40, help="turns of each contender (default 40)")
    parser.add_argument("--slice-seconds", type=float, default=0.02, help="length of a turn (default 0.02)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no race after so long")
    parser.add_argument("--tune", action="store_true", help="cnngen measures its tiles first")
    parser.add_argument("--resume", action="store_true", help="keep races in the JSON file of this device and commit")
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/cuda-DEVICE.json")
    options = parser.parse_args(values)
    if unknown := sorted(set(options.networks) - set(NETWORKS)):
        parser.error(f"unknown networks {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    options.networks = options.networks or list(NETWORKS)
    options.batch = sorted(set(options.batch or BATCHES))
    options.precision = options.precision or ["fp16", "tf32"]
    options.contender = [who for who in CONTENDERS if who == "cnngen" or who in (options.contender or CONTENDERS)]
    if min(options.batch) < 1 or options.slices < 2 or options.slice_seconds <= 0:
        parser.error("a batch is 1 or more, slices are 2 or more, and of some length")
    return options


def find_gpu(options: argparse.Namespace) -> Gpu:
    """The first GPU. Ends the program with status 4 where PyTorch or cnngen cannot use one, 3 without PyTorch."""
    try:
        import torch
    except ImportError as error:
        print(f"PyTorch cannot be imported ({error}): install it with CUDA", file=sys.stderr)
        raise SystemExit(3) from error
    from cnngen.backends.cuda.device import open_device
    from cnngen.errors import DeviceError

    try:
        if not torch.cuda.is_available():
            raise DeviceError(
                f"PyTorch {torch.__version__} finds no GPU", remedy="check nvidia-smi and the PyTorch build"
            )
        torch.cuda.init()
        open_device(0)
    except DeviceError as error:
        print(f"not run: {error}", file=sys.stderr)
        raise SystemExit(4) from error
    return Gpu(tune=options.tune)


def finished(path: Path, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The races in `path` that were run on this device with this commit."""
    if not path.exists():
        return []
    kept = json.loads(path.read_text())
    same = (kept["gpu"]["device"], kept["machine"]["commit"]) == (facts["gpu"]["device"], facts["machine"]["commit"])
    return list(kept["races"]) if same else []


def main(values: Sequence[str] | None = None, gpu: Any = None) -> int:
    begin = time.monotonic()
    options = arguments(values)
    gpu = gpu or find_gpu(options)
    facts = {"benchmark": "cuda", "machine": common.machine_facts(), "gpu": gpu.facts(), "tuned": options.tune}
    device = re.sub(r"[^a-z0-9]+", "-", facts["gpu"]["device"].lower()).strip("-")
    path = options.json or Path(f"cuda-{device}.json")
    path = path if path.parent != Path() else common.RESULTS / path
    races = finished(path, facts) if options.resume else []
    done = {(each["network"], each["batch"], each["precision"]) for each in races}
    print(f"{facts['gpu']['device']}, commit {facts['machine']['commit']}\n{HEADER}", flush=True)
    left_out = 0
    for precision in options.precision:
        for batch in options.batch:
            for name in options.networks:
                if (name, batch, precision) in done:
                    continue
                if time.monotonic() - begin > options.seconds:
                    left_out += 1
                    continue
                races.append(race(gpu, name, batch, precision, options))
                print(row(races[-1]), flush=True)
                common.write_json(path, {**facts, "races": races, "summary": summary(races)}, quiet=True)
                gpu.release()
    for each in summary(races):
        wanted = f", wanted {each['wanted']}" if each["wanted"] else ""
        print(f"{each['precision']}, batch {each['batch']}: {each['ratio']:.2f} times the better of the others "
              f"(geometric mean of {each['networks']}, lowest {each['lowest']:.2f}){wanted}")  # fmt: skip
    if left_out:
        print(f"{left_out} races were left out for want of time: run again with --resume")
    print(f"written: {path}")
    return 0 if races and all(each["valid"] for each in races) else 1


if __name__ == "__main__":
    sys.exit(main())
