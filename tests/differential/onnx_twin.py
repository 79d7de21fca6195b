"""A Graph as an ONNX model with the same weights, run by ONNX Runtime as an independent witness."""

from __future__ import annotations

import numpy as np
import onnxruntime

from cnngen.ir import Array, Graph
from cnngen.onnx_writer import from_onnx_layout, onnx_model, to_onnx_layout
from cnngen.onnx_writer.emitter import transposed_kernel


class OnnxTwin:
    """Runs `graph` in ONNX Runtime, one thread, graph optimisations off: the ops as they are defined.

    With `matrices` images are resized by products with the matrices that our tables stand for: its own Resize computes
    positions in float32, which fall to another pixel wherever one lies between two.
    """

    def __init__(self, graph: Graph, *, matrices: bool = False) -> None:
        self.graph = graph
        self.model = onnx_model(graph, matrices=matrices)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            self.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, feed: dict[str, Array]) -> dict[str, Array]:
        """Every output by name; inputs and outputs in the graph's own layout."""
        results = self.session.run(None, {name: to_onnx_layout(x) for name, x in feed.items()})
        return {name: from_onnx_layout(np.asarray(y)) for name, y in zip(self.graph.outputs, results, strict=True)}


__all__ = ["OnnxTwin", "from_onnx_layout", "onnx_model", "to_onnx_layout", "transposed_kernel"]
