"""The process of one contender: `python -m cnngen.race.worker SYSTEM JOB FOLDER`.

It opens the network of the job, runs it once, writes its outputs to the folder and prints its version as JSON. Then it
answers each line on stdin, a number of seconds, with the median seconds of a run over about so long.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], Sequence[Any]]
"""Runs the network on the inputs it was opened with, and returns its outputs."""
Inputs = Mapping[str, Any]
Job = Mapping[str, Any]


def open_cnngen(job: Job, folder: Path, inputs: Inputs) -> tuple[Call, str]:
    """As its users call it: preallocated in- and outputs."""
    import cnngen

    net = cnngen.compile(job["source"], threads=job["threads"], numerics=job["numerics"], isa=job["isa"])
    arrays = [inputs[name] for name in net.input_names]
    outputs = [np.empty(shape, np.float32) for shape in net.output_shapes]
    out: Any = outputs if len(outputs) > 1 else outputs[0]

    def call() -> Sequence[Any]:
        net.run(*arrays, out=out)
        return outputs

    return call, cnngen.__version__


def open_onnxruntime(job: Job, folder: Path, inputs: Inputs) -> tuple[Call, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = job["threads"], 1
    model = str(folder / "model.onnx")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    outputs, feed = [output.name for output in session.get_outputs()], dict(inputs)
    return lambda: session.run(outputs, feed), onnxruntime.__version__


def open_openvino(job: Job, folder: Path, inputs: Inputs) -> tuple[Call, str]:
    import openvino

    core = openvino.Core()
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": job["threads"],
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = core.read_model(str(folder / "model.onnx"))
    compiled = core.compile_model(model, "CPU", hints)
    request, count = compiled.create_infer_request(), len(compiled.outputs)
    feed = {port.get_any_name(): inputs[port.get_any_name()] for port in compiled.inputs}

    def call() -> Sequence[Any]:
        results = request.infer(feed, share_inputs=True, share_outputs=True)
        return [results[number] for number in range(count)]

    return call, openvino.__version__


def open_ncnn(job: Job, folder: Path, inputs: Inputs) -> tuple[Call, str]:
    """Through pnnx, the converter its authors recommend, without half precision."""
    import subprocess

    import ncnn

    shapes = ",".join("[" + ",".join(map(str, array.shape)) + "]" for array in inputs.values())
    own = folder / "ncnn"
    own.mkdir()
    (own / "model.onnx").symlink_to((folder / "model.onnx").resolve())
    converter = Path(sys.executable).parent / "pnnx"
    command = [str(converter) if converter.exists() else "pnnx", "model.onnx", f"inputshape={shapes}", "fp16=0"]
    subprocess.run(command, check=True, cwd=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    net = ncnn.Net()
    net.opt.num_threads = job["threads"]
    for half in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, half, False)
    if net.load_param(str(own / "model.ncnn.param")) or net.load_model(str(own / "model.ncnn.bin")):
        raise SystemExit("pnnx made no model that ncnn can load")
    images = [np.ascontiguousarray(array[0]) for array in inputs.values()]
    count = len(net.output_names())

    def call() -> Sequence[Any]:
        extractor = net.create_extractor()
        for number, image in enumerate(images):
            extractor.input(f"in{number}", ncnn.Mat(image))
        return [np.array(extractor.extract(f"out{number}")[1]) for number in range(count)]

    return call, ncnn.__version__


def open_torch(job: Job, folder: Path, inputs: Inputs) -> tuple[Call, str]:
    """A module with the folded weights of the network, frozen by TorchScript."""
    import torch

    from cnngen import pipeline
    from cnngen.passes import optimise
    from cnngen.race.torch_module import module_of

    torch.set_num_threads(job["threads"])
    tensors = [torch.from_numpy(array) for array in inputs.values()]
    graph = optimise(pipeline.load_graph(job["source"]))
    own = [tensor.permute(0, 3, 1, 2) if tensor.dim() == 4 and not _first(job) else tensor for tensor in tensors]
    with torch.inference_mode():
        module = torch.jit.freeze(torch.jit.trace(module_of(graph, channels_first=_first(job)), tuple(own)))
        for _ in range(3):
            module(*own)  # it optimises while it runs

    def call() -> Sequence[Any]:
        with torch.inference_mode():
            results = module(*own)
        return [result.numpy() for result in (results if isinstance(results, tuple) else (results,))]

    return call, str(torch.__version__)


def _first(job: Job) -> bool:
    """Whether the source's own images have their channels first."""
    return Path(job["source"]).suffix.lower() == ".onnx"


OPEN = {
    "cnngen": open_cnngen,
    "onnxruntime": open_onnxruntime,
    "openvino": open_openvino,
    "ncnn": open_ncnn,
    "torch": open_torch,
}


def channels_first(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Images as runtimes of ONNX files take them, from those of a spec."""
    return {
        name: np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if array.ndim == 4 else array
        for name, array in arrays.items()
    }


def bind(threads: int) -> None:
    """To the last cores that this process may use, as many as there are threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def main(system: str, text: str, name: str) -> None:
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a system prints must not mix with the answers
    job, folder = json.loads(text), Path(name)
    bind(job["threads"])
    with np.load(folder / "inputs.npz") as file:
        inputs = {key: file[key] for key in file.files}
    turned = system not in ("cnngen", "torch") and not _first(job)
    call, version = OPEN[system](job, folder, channels_first(inputs) if turned else inputs)
    outputs = [np.asarray(array) for array in call()]
    if system != "cnngen" and not _first(job):
        outputs = [array.transpose(0, 2, 3, 1) if array.ndim == 4 else array for array in outputs]
    np.savez(folder / f"{system}.npz", *outputs)
    print(json.dumps({"version": version}), file=channel, flush=True)
    for line in sys.stdin:
        times: list[float] = []
        end = time.perf_counter() + float(line)
        while time.perf_counter() < end or len(times) < 3:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        print(json.dumps({"seconds": float(np.median(times))}), file=channel, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
