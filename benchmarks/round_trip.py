"""ONNX models against what `cnngen import` makes of them: both compile to networks that give the same bits.

usage: python benchmarks/round_trip.py [MODEL.onnx ...] [--light] [--json FILE]

Each model is compiled from its file, written as a spec with its weights, and compiled from that; both networks get the
same random inputs. Where ONNX Runtime is installed, it gets them, too. `--light` adds the networks that the onnx
package ships for its conformance suite. The exit code is 1 where a bit differs, or an error is not below 1e-5.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

import cnngen
from cnngen.frontends.spec_writer import write_spec

LIMIT = 1e-5
"""Of the L2-relative error against ONNX Runtime."""


@dataclass(frozen=True)
class Result:
    """Whether model and spec give the same bits, the error against ONNX Runtime, and seconds to compile each."""

    name: str
    layers: int
    same: bool
    error: float | None
    model_seconds: float
    spec_seconds: float

    @property
    def ok(self) -> bool:
        return self.same and (self.error is None or self.error < LIMIT)


def check(model: Path, feed: Mapping[str, np.ndarray] | None = None) -> Result:
    """Compile the model at `path` and its spec, and compare what they give for `feed` (by default: random numbers)."""
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    with cnngen.compile(model) as net:
        model_seconds = time.perf_counter() - start
        shapes = zip(net.input_names, net.input_shapes, strict=True)
        feed = feed or {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes}
        wanted = results(net, feed)
    with tempfile.TemporaryDirectory() as folder:
        graph = cnngen.load_graph(model)
        spec, _ = write_spec(graph, Path(folder) / "spec.yaml")
        layers = len(graph.nodes)
        del graph
        start = time.perf_counter()
        with cnngen.compile(spec, cache=False) as net:
            spec_seconds = time.perf_counter() - start
            found = results(net, feed)
    same = list(wanted) == list(found) and all(wanted[name].tobytes() == found[name].tobytes() for name in wanted)
    return Result(model.stem, layers, same, runtime_error(model, feed, wanted), model_seconds, spec_seconds)


def results(net: cnngen.Network, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of `net` by name."""
    outputs = [np.empty(shape, np.float32) for shape in net.output_shapes]
    net.run(*(feed[name] for name in net.input_names), out=outputs if len(outputs) > 1 else outputs[0])
    return dict(zip(net.output_names, outputs, strict=True))


def runtime_error(model: Path, feed: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float | None:
    """The largest L2-relative error of an output against ONNX Runtime; None where that is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    wanted = session.run(None, dict(zip(names, feed.values(), strict=True)))
    return max(relative(y, z) for y, z in zip(found.values(), wanted, strict=True))


def relative(actual: np.ndarray, value: np.ndarray) -> float:
    """The L2-relative error of `actual`."""
    return float(np.linalg.norm(np.float64(actual) - value) / np.linalg.norm(np.float64(value)))


def light_models() -> list[Path]:
    """The networks that come with onnx: their weights are made by ConstantOfShape, each tensor of one number."""
    import onnx

    return sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("light_*.onnx"))


HEADER = f"{'network':<22}{'layers':>8}  {'import':<12}{'error':>10}{'s, model':>10}{'s, spec':>10}"


def row(result: Result) -> str:
    error = "" if result.error is None else f"{result.error:.1e}"
    return (
        f"{result.name:<22}{result.layers:>8}  {'same bits' if result.same else 'OTHER BITS':<12}{error:>10}"
        f"{result.model_seconds:>10.1f}{result.spec_seconds:>10.1f}" + ("" if result.ok else "   fails")
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--light", action="store_true", help="the networks that the onnx package ships, too")
    parser.add_argument("--json", type=Path, help="write the results as data")
    options = parser.parse_args(arguments)
    models = [*options.models, *(light_models() if options.light else [])]
    if not models:
        parser.error("name a model, or --light")
    print(HEADER)
    results = []
    for model in models:
        results.append(check(model))
        print(row(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n", encoding="utf-8")
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
