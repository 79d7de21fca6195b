"""Well-known networks, as PyTorch modules and exported to ONNX: all compile and agree with ONNX Runtime.

usage: python benchmarks/export_models.py [NAME ...] [--size 224] [--folder build/models] [--exporter dynamo]

The networks are those of `benchmarks/models`. Each is written to an ONNX file, compiled by cnngen from the module and
from the file, and run on the same random image by both, by ONNX Runtime and by PyTorch. The table has the L2-relative
errors against ONNX Runtime; the exit code is 1 where one is not below 1e-5, or where the spec that `cnngen import`
makes of the file does not give the same bits as the file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import onnxruntime
import torch

import cnngen
from benchmarks import round_trip
from benchmarks.models import MODELS, build
from benchmarks.round_trip import LIMIT, relative

OPSET = 18
EXPORTERS = ("torchscript", "dynamo")


@dataclass(frozen=True)
class Result:
    """Errors of one network against ONNX Runtime, and seconds from module or file to a compiled network."""

    name: str
    parameters: int
    module_error: float
    onnx_error: float
    torch_error: float
    module_seconds: float
    onnx_seconds: float
    same_spec: bool
    """Whether the spec that `cnngen import` makes of the file gives the same bits."""

    @property
    def ok(self) -> bool:
        return self.module_error < LIMIT and self.onnx_error < LIMIT and self.same_spec


def export(model: torch.nn.Module, x: torch.Tensor, path: Path, exporter: str = "torchscript") -> None:
    """Write `model` as ONNX, by PyTorch's exporter from TorchScript or by that from `torch.export`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (x,),
            str(path),
            dynamo=exporter == "dynamo",
            opset_version=OPSET,
            input_names=["input"],
            output_names=["output"],
            external_data=False,
            **({"verbose": False} if exporter == "dynamo" else {}),
        )


def check(
    name: str, folder: Path, *, size: int = 224, exporter: str = "torchscript", options: dict[str, int] | None = None
) -> Result:
    """Export, compile and compare one network; `options` are those of its function in `benchmarks/models`."""
    model = build(name, size=size, **(options or {}))
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 3, size, size, generator=generator)
    file = folder / f"{name}.onnx"
    export(model, x, file, exporter)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"input": x.numpy()})
    with torch.no_grad():
        torchs = model(x).numpy()

    def compiled(*source: Any) -> tuple[float, float]:
        start = time.perf_counter()
        with cnngen.compile(*source, name=name) as net:
            seconds = time.perf_counter() - start
            return relative(net(x.numpy()), wanted), seconds

    module_error, module_seconds = compiled(model, tuple(x.shape))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    trip = round_trip.check(file, {"input": x.numpy()})
    assert trip.error is not None
    error = relative(torchs, wanted)
    return Result(name, parameters, module_error, trip.error, error, module_seconds, trip.model_seconds, trip.same)


HEADER = (
    f"{'network':<16}{'parameters':>12}  {'error, module':>14}{'error, ONNX':>14}{'error, PyTorch':>16}"
    f"{'s, module':>12}{'s, ONNX':>10}  {'import'}"
)


def row(result: Result) -> str:
    return (
        f"{result.name:<16}{result.parameters / 1e6:>10.2f} M  {result.module_error:>14.1e}{result.onnx_error:>14.1e}"
        f"{result.torch_error:>16.1e}{result.module_seconds:>12.1f}{result.onnx_seconds:>10.1f}"
        f"  {'same bits' if result.same_spec else 'OTHER BITS'}" + ("" if result.ok else "   fails")
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}; by default all")
    parser.add_argument("--size", type=int, default=224, help="height and width of the image")
    parser.add_argument("--folder", type=Path, default=Path("build/models"), help="where the ONNX files go")
    parser.add_argument("--exporter", choices=EXPORTERS, default=EXPORTERS[0])
    parser.add_argument("--json", type=Path, help="write the results as data")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(MODELS)):
        parser.error(f"unknown networks {', '.join(unknown)}; there are {', '.join(MODELS)}")
    options.folder.mkdir(parents=True, exist_ok=True)
    print(HEADER)
    results = []
    for name in options.names or MODELS:
        results.append(check(name, options.folder, size=options.size, exporter=options.exporter))
        print(row(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n", encoding="utf-8")
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
