"""LeNet at batch 1 on one thread: cnngen against ONNX Runtime, in one interleaved run on one core.

    python benchmarks/lenet.py [--json lenet.json] [--core N] [--slices 200]

ONNX Runtime gets an exported twin: the same weights, built here with `onnx.helper`. The comparison is
void, and the exit status 1, if the two disagree on the answers. Also reported: what a call of
`net.run` costs in Python above the native call. What it takes to start is in `startup.py`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import common

common.use_one_thread()  # before NumPy's BLAS or anybody's OpenMP starts

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import cnngen  # noqa: E402
from cnngen.ir import Graph, Input, Node, TensorType  # noqa: E402
from cnngen.ops import Activate, Activation, Conv2D, Dense, Flatten, Pool2D, Softmax  # noqa: E402
from cnngen.passes.infer_shapes import infer_shapes  # noqa: E402
from cnngen.resources import specs_folder  # noqa: E402

SPEC = specs_folder() / "lenet.yaml"
TOLERANCE = 1e-5
"""Probabilities of two correct fp32 runs of LeNet differ by some 1e-7."""


def onnx_twin(graph: Graph) -> bytes:
    """The same network as an ONNX model with the same weights; input and images inside are NCHW.

    ONNX flattens channel first, an `hwc` network channel last: the rows of the dense weights that follow
    are permuted to match, so that the twin needs no transposition when it runs.
    """
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    tensor = "x"
    flattened: tuple[int, ...] | None = None  # height, width, channels, until a dense layer has permuted its rows

    def add(kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"t{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def weight(array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), f"w{len(weights)}"))
        return weights[-1].name

    def activate(tensor: str, activation: Activation | None) -> str:
        if activation is None:
            return tensor
        if activation.function != "relu":
            raise SystemExit(f"the ONNX twin has no {activation.function}")
        return add("Relu", tensor)

    for node in graph.nodes:
        w = node.weights
        match node.op:
            case Conv2D() as op:
                top, bottom, left, right = op.padding
                inputs = [tensor, weight(w["weight"].transpose(3, 2, 0, 1))]
                inputs += [weight(w["bias"])] if op.use_bias else []
                tensor = add("Conv", *inputs, strides=op.stride, pads=[top, left, bottom, right], group=op.groups)
                tensor = activate(tensor, op.activation)
            case Pool2D(reduction="max") as op:
                top, bottom, left, right = op.padding
                pads = [top, left, bottom, right]
                tensor = add("MaxPool", tensor, kernel_shape=op.kernel, strides=op.stride, pads=pads)
            case Flatten():
                (source,) = graph.input_types(node)
                flattened = source.shape[1:]
                tensor = add("Flatten", tensor)
            case Dense() as op:
                matrix = w["weight"]
                if flattened:
                    matrix = matrix.reshape(*flattened, -1).transpose(2, 0, 1, 3).reshape(matrix.shape)
                    flattened = None
                inputs = [tensor, weight(matrix)] + ([weight(w["bias"])] if op.use_bias else [])
                tensor = activate(add("Gemm", *inputs), op.activation)
            case Activate() as op:
                tensor = activate(tensor, op.activation)
            case Softmax():
                tensor = add("Softmax", tensor, axis=-1)
            case op:
                raise SystemExit(f"the ONNX twin has no {op.kind}")
    batch, height, width, channels = graph.inputs[0].type.shape
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, channels, height, width])
    y = helper.make_tensor_value_info(tensor, TensorProto.FLOAT, list(graph.types[graph.outputs[0]].shape))
    model = helper.make_model(
        helper.make_graph(nodes, graph.name, [x], [y], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def onnx_session(model: bytes) -> onnxruntime.InferenceSession:
    """A session on one thread with every optimisation on."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def smallest_network() -> Graph:
    """ReLU of one number: `run` on it takes what Python adds to any call."""
    x = Input("x", TensorType((1, 1, 1, 1)))
    node = Node("relu", Activate(Activation("relu")), ("x",))
    return infer_shapes(Graph("smallest", (x,), (node,), ("relu",)))


def disagreement(network: cnngen.Network, session: onnxruntime.InferenceSession, images: np.ndarray) -> float:
    """Largest difference of the probabilities over all `images` (n, 28, 28, 1)."""
    theirs = np.concatenate([session.run(None, {"x": image.transpose(2, 0, 1)[None]})[0] for image in images])
    return float(np.abs(network(images) - theirs).max())


def race(
    network: cnngen.Network,
    smallest: cnngen.Network,
    session: onnxruntime.InferenceSession,
    image: np.ndarray,
    slices: int,
) -> dict[str, common.Timing]:
    """Seconds per image of each, called as its users call it, with input and output preallocated."""
    x, y = image[None].copy(), np.empty(network.output_shapes[0], np.float32)
    their_x, their_y = image.transpose(2, 0, 1)[None].copy(), np.empty_like(y)
    one, result = np.zeros((1, 1, 1, 1), np.float32), np.empty((1, 1, 1, 1), np.float32)
    binding = session.io_binding()
    binding.bind_cpu_input("x", their_x)
    output = session.get_outputs()[0].name
    binding.bind_output(output, "cpu", 0, np.float32, their_y.shape, their_y.ctypes.data)
    return common.interleave(
        {
            "cnngen": lambda: network.run(x, out=y),
            "onnxruntime": lambda: session.run(None, {"x": their_x}),
            "onnxruntime_bound": lambda: session.run_with_iobinding(binding),
            "smallest": lambda: smallest.run(one, out=result),
        },
        slices=slices,
    )


LABELS = {
    "cnngen": "cnngen, net.run",
    "onnxruntime": "ONNX Runtime, session.run",
    "onnxruntime_bound": "ONNX Runtime, bound in- and outputs",
    "smallest": "net.run of a network of one ReLU",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the results here; a bare name goes to benchmarks/results/")
    parser.add_argument("--core", type=int, help="core to run on (default: the last one)")
    parser.add_argument("--slices", type=int, default=200, help="timed slices of each contender")
    options = parser.parse_args()

    machine = common.machine_facts()
    machine |= {"core": common.pin(options.core), "onnxruntime": onnxruntime.__version__}
    with np.load(specs_folder() / "data" / "digits.npz") as file:
        images = file["images"][..., None].astype(np.float32) / 255
    with cnngen.compile(SPEC, threads=1) as network, cnngen.compile(smallest_network(), threads=1) as smallest:
        session = onnx_session(onnx_twin(network.source_graph))
        difference = disagreement(network, session, images)
        if not difference <= TOLERANCE:
            print(f"void: probabilities differ by up to {difference:.2g}, {TOLERANCE:g} allowed", file=sys.stderr)
            return 1
        timings = race(network, smallest, session, images[0], options.slices)
        macs = sum(
            node.op.cost(network.graph.input_types(node), network.graph.types[node.name]).macs
            for node in network.graph.nodes
        )
        result = {
            "benchmark": "LeNet, batch 1, one thread, fp32",
            "machine": machine,
            "isa": network.isa,
            "macs": macs,
            "largest_difference": difference,
            "images_compared": len(images),
            "timings": {name: timing.as_json() for name, timing in timings.items()},
            "speedup": timings["onnxruntime"].median / timings["cnngen"].median,
            "speedup_over_bound": timings["onnxruntime_bound"].median / timings["cnngen"].median,
            "run_overhead_s": timings["smallest"].median,
        }
    report(result)
    if options.json:
        common.write_json(options.json, result)
    return 0


def report(result: dict[str, Any]) -> None:
    """Print the results for a person to read."""
    machine = result["machine"]
    print(f"{result['benchmark']}; {machine['cpu']}, core {machine['core']}, {result['isa']}, {machine['date']}")
    same = f"within {result['largest_difference']:.1g} on {result['images_compared']} images"
    print(f"cnngen and ONNX Runtime {machine['onnxruntime']} agree {same}\n")
    print(f"{'':<36}{'median':>10}{'p10':>10}{'p90':>10}{'GFLOP/s':>10}")
    for name, label in LABELS.items():
        timing = result["timings"][name]
        times = "".join(f"{timing[key] * 1e6:>7.2f} us" for key in ("median_s", "p10_s", "p90_s"))
        rate = "" if name == "smallest" else f"{2e-9 * result['macs'] / timing['median_s']:>10.1f}"
        print(f"{label:<36}{times}{rate}")
    print(f"\ncnngen is {result['speedup']:.2f}x faster than session.run, ", end="")
    print(f"{result['speedup_over_bound']:.2f}x faster than with bound inputs and outputs")


if __name__ == "__main__":
    sys.exit(main())
