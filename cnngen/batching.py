"""Whether the images of a batch are computed together, layer by layer, or one after the other, each through all layers.

Together, every layer reads its weights once for all images: that pays where weights come from memory, as in large dense
layers. One after the other, tensors are those of one image and stay in the caches: that pays where images are large
and weights few (MobileNet, DenseNet). The planner's model of time knows both.
"""

from __future__ import annotations

from dataclasses import replace

from cnngen.analysis.batch import batched, images
from cnngen.backends.cpu.plan import Plan, plan_graph
from cnngen.backends.cpu.target import Target
from cnngen.errors import CnngenError
from cnngen.ir import Graph, Input, TensorType
from cnngen.passes import optimise
from cnngen.passes.infer_shapes import infer_shapes
from cnngen.report.plan_explained import explain

LEAST_GAIN = 0.02
"""Of the expected time; images stay together where less would be saved."""


def compiled_graph(graph: Graph, target: Target) -> tuple[Graph, int]:
    """The optimised graph to plan for `graph`, as it was read, and how often a run goes through it.

    It has the batch of `graph`, and a run goes through it once; or it has one image. The choice does not depend on
    what tuning found.
    """
    whole, count = optimise(graph), images(graph)
    single = with_batch_of_one(graph) if count > 1 else None
    if single is None:
        return whole, 1
    one = optimise(single)
    seconds = [expected_seconds(plan_graph(each, target)) for each in (whole, one)]
    return (one, count) if count * seconds[1] < (1 - LEAST_GAIN) * seconds[0] else (whole, 1)


def with_batch_of_one(graph: Graph) -> Graph | None:
    """The same network for one image; None where its ops leave no choice."""
    if not batched(graph):
        return None
    inputs = tuple(Input(tensor.name, TensorType((1, *tensor.type.shape[1:]))) for tensor in graph.inputs)
    try:
        single = infer_shapes(replace(graph, inputs=inputs))
    except CnngenError:
        return None  # an op that has the number of images among its parameters
    alike = all(single.types[name].shape == (1, *graph.types[name].shape[1:]) for name in graph.outputs)
    return single if alike and batched(single) else None


def expected_seconds(plan: Plan) -> float:
    """What the planner expects of one run."""
    return sum(layer.seconds for layer in explain(plan))
