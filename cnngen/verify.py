"""Holds a compiled network against the float64 reference: layer by layer, on integers, end to end.

Three independent questions:

1. *Is every layer right on real data?* Each node's output, as the native code computed it, against
   the reference run on the native inputs of that node, so that errors neither hide nor pile up. An
   error above the node's sound bound (`Bound.limit`) fails, one above `Bound.alarm` warns.
2. *Is every index right?* Each layer alone on small integers, where float32 makes no error and the
   result must be equal bit for bit (`verify_integers`).
3. *Is the whole network the one that was asked for?* Native output against the reference of the
   graph as loaded, before any pass. No sound bound is useful here (bounds grow with the product of
   the layers' norms); the limit is measured on the network itself, see `rounding_limits`. Where weights are
   stored in 16 bits, what that costs is told beside it, see `storage_errors`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from cnngen.analysis.batch import batched
from cnngen.arithmetic import FLOAT32, ROUNDING, Arithmetic
from cnngen.errors import RunError
from cnngen.feed import Feed, bind
from cnngen.ir import Array, Graph, Node
from cnngen.ops import Constant, Conv2D, Conv2DTranspose, Dense, MatMul
from cnngen.reference import evaluate, reference
from cnngen.report.verify_report import Comparison, LayerReport, Mismatch, OutputReport, Report
from cnngen.verify_integers import IntegerCase, integer_cases, integer_twin
from cnngen.weight_storage import narrows

SAMPLES = 2
"""Perturbed runs that estimate the end-to-end rounding error."""
COARSE_SAMPLES = 8
"""The same where tensors or factors have 11 bits: few large errors, which can cancel in two samples by chance."""
MARGIN = 10.0
"""End-to-end errors fail above this multiple of the estimate."""

Progress = Callable[[str, int, int], None]
"""Called with what is being checked, how many layers are done and how many there are."""


class Verifiable(Protocol):
    """What `verify` asks of a network; `cnngen.Network` has it."""

    @property
    def name(self) -> str: ...
    @property
    def graph(self) -> Graph: ...
    @property
    def source_graph(self) -> Graph: ...
    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def weight_storage(self) -> str: ...
    def __call__(self, *xs: Any) -> Any: ...
    def trace(self, *xs: Any) -> dict[str, Array]: ...
    def run_layer(self, name: str, inputs: list[Array], weights: Any = None) -> Array: ...
    def together(self, name: str, inputs: list[Array]) -> list[Array]: ...
    def arithmetic(self, name: str) -> Arithmetic: ...
    def pack(self, graph: Graph) -> Any: ...


def verify(net: Verifiable, *, x: Feed | None = None, seed: int = 0, progress: Progress | None = None) -> Report:
    """Check a compiled network; see the module's docstring for what is checked.

    `x` is an input as `net` takes it, any number of images; without it, standard normal values drawn
    with `seed`. Layers are checked on the first batch of `x`, outputs on all of it. Returns a
    `Report`, true where nothing failed. Raises `RunError` where `x` does not fit the network.
    """
    start = time.perf_counter()
    # Infinities and NaN in weights or inputs are for the comparison to judge, not for NumPy to warn about.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        layers, outputs = _check(net, _feed(net, x, seed), seed, progress or (lambda *_: None))
    seconds = time.perf_counter() - start
    parts = tuple(layers), tuple(outputs)
    return Report(net.name, net.isa, net.threads, net.batch, seed, *parts, seconds, net.weight_storage)


def _check(
    net: Verifiable, feed: dict[str, Array], seed: int, progress: Progress
) -> tuple[list[LayerReport], list[OutputReport]]:
    nodes = net.graph.nodes
    cases = integer_cases(net.graph, seed)
    blob = net.pack(integer_twin(net.graph, cases))
    first = _batches(feed, net.batch)[0] if batched(net.source_graph) else feed
    traced = net.trace(*first.values())
    # Images that are computed one after the other: `graph` has the first of them.
    if batched(net.source_graph):
        first = {tensor.name: first[tensor.name][: tensor.type.shape[0]] for tensor in net.graph.inputs}
    tensors = {**first, **traced}
    layers = []
    for position, node in enumerate(nodes):
        progress(node.name, position, len(nodes))
        layers.append(_check_layer(net, node, tensors, cases[node.name], blob))
    progress("end to end", len(nodes), len(nodes))
    return layers, _end_to_end(net, feed, seed)


def _feed(net: Verifiable, x: Feed | None, seed: int) -> dict[str, Array]:
    """Every input by name as float32 with a batch axis."""
    inputs = net.source_graph.inputs
    if x is None:
        rng = np.random.default_rng(seed)
        return {tensor.name: rng.standard_normal(tensor.type.shape, np.float32) for tensor in inputs}
    feed = {}
    for tensor, array in bind(inputs, x):
        if not batched(net.source_graph):
            feed[tensor.name] = np.asarray(array, np.float32, order="C")
            if feed[tensor.name].shape != tensor.type.shape:
                taken = tensor.type.shape
                raise RunError(f"input {tensor.name} has shape {np.shape(array)}, the network takes exactly {taken}")
            continue
        image = tensor.type.shape[1:]
        value = np.ascontiguousarray(array, np.float32)
        value = value[None] if value.shape == image else value
        if value.shape[1:] != image or not len(value):
            expected = ", ".join(map(str, image))
            raise RunError(f"input {tensor.name} has shape {value.shape}, the network takes (batch, {expected})")
        feed[tensor.name] = value
    if batched(net.source_graph) and len({len(value) for value in feed.values()}) > 1:
        raise RunError(f"inputs have different batch sizes: {[len(value) for value in feed.values()]}")
    return feed


def _batches(feed: Mapping[str, Array], batch: int) -> list[dict[str, Array]]:
    """`feed` cut into compiled batches; the last one is filled by repeating its images."""
    images = len(next(iter(feed.values())))
    parts = [np.resize(np.arange(low, min(low + batch, images)), batch) for low in range(0, images, batch)]
    return [{name: value[part] for name, value in feed.items()} for part in parts]


def _check_layer(
    net: Verifiable, node: Node, tensors: Mapping[str, Array], case: IntegerCase, blob: Any
) -> LayerReport:
    arithmetic = net.arithmetic(node.name)
    floats = Comparison.of(tensors[node.name], arithmetic.bound(node, [tensors[name] for name in node.inputs]))
    case = replace(case, inputs=tuple(net.together(node.name, list(case.inputs))))
    native = net.run_layer(node.name, list(case.inputs), weights=blob)
    if arithmetic.winograd:
        twin = replace(node, weights=case.weights)
        case = replace(case, exactness="bound", reason=f"{arithmetic.winograd} divides")
        expected = arithmetic.bound(twin, case.inputs)
    else:
        expected = arithmetic.of_result(case.bound(node))
    return LayerReport(
        name=node.name,
        kind=node.op.kind,
        shape=net.graph.types[node.name].shape,
        source=str(node.source) if node.source else None,
        floats=floats,
        integers=Comparison.of(native, expected),
        exactness=case.exactness,
        reason=case.reason,
    )


def rounding_limits(
    graph: Graph, feed: Mapping[str, Array], seed: int = 0, arithmetic: Arithmetic = FLOAT32
) -> dict[str, tuple[Array, float, float]]:
    """For every output of `graph`: its float64 value, an estimate of float32 rounding errors, a limit.

    Estimate and limit are L2 norms relative to the value. They are measured, not proven: the reference
    is run again with every element of every tensor moved by its layer's alarm bound, sign at random
    (stochastic arithmetic as in Vignes, A stochastic arithmetic for reliable scientific computation,
    1993), which carries the allowed errors through the network as it really amplifies them. Rounding
    errors of correct kernels are several times smaller than the estimate; a wrong pass, layout or
    buffer is orders of magnitude larger than the limit. Where the target rounds tensors and factors to
    fewer bits, or only stored weights, the perturbed runs round the weights, too, and draw errors of that size for
    the rest.
    """
    reference, perturbed = _perturbed_reference(graph, feed, np.random.default_rng([seed, 2**31]), arithmetic)
    limits = {}
    for name in graph.outputs:
        value = reference[name]
        estimate = max(relative_error(sample, value) for sample in perturbed[name])
        # Half a unit in the last place: the output is stored, also where a network only moves data and makes no error.
        limits[name] = (value, estimate, MARGIN * estimate + arithmetic.stored_roundoff)
    return limits


def _end_to_end(net: Verifiable, feed: dict[str, Array], seed: int) -> list[OutputReport]:
    """Native outputs against the reference of the graph as loaded."""
    results = net(*feed.values())
    arrays = list(results) if isinstance(results, list | tuple) else [results]
    limits = rounding_limits(net.source_graph, feed, seed, _coarsest(net))
    values = {name: value for name, (value, _, _) in limits.items()}
    costs = storage_errors(net.source_graph, feed, net.weight_storage, values)
    reports = []
    for native, (name, (value, estimate, limit)) in zip(arrays, limits.items(), strict=True):
        actual = np.asarray(native, np.float64)
        top1, tie = _top1(actual, value) if batched(net.source_graph) else (None, None)
        images = len(value) if batched(net.source_graph) else 1
        error = relative_error(actual, value)
        reports.append(OutputReport(name, error, estimate, limit, images, top1, tie, costs.get(name)))
    return reports


def storage_errors(
    graph: Graph, feed: Mapping[str, Array], storage: str, values: Mapping[str, Array]
) -> dict[str, float]:
    """What it costs to store weights in 16 bits: the reference with rounded weights against the one without, `values`.

    L2 norms relative to the value, without any error of float32 arithmetic; none for float32 weights.
    """
    if storage == "fp32":
        return {}
    nodes = {node.name: node for node in graph.nodes}
    matrices = {node.inputs[1] for node in graph.nodes if _is_narrowed(node, nodes) and isinstance(node.op, MatMul)}
    rounded = []
    for node in graph.nodes:
        if isinstance(node.op, Dense) and _is_narrowed(node, nodes):
            node = Arithmetic(weights=storage).round_weights(node)
        elif node.name in matrices:
            node = replace(node, weights={"value": ROUNDING[storage](node.weights["value"])})
        rounded.append(node)
    results = reference(replace(graph, nodes=tuple(rounded)), dict(feed), keep=True)
    assert isinstance(results, dict)
    return {name: relative_error(results[name], value) for name, value in values.items()}


def _is_narrowed(node: Node, nodes: Mapping[str, Node]) -> bool:
    """Whether a layer is compiled to a dense one that keeps its weights in 16 bits, where that is asked for."""
    if isinstance(node.op, Dense):
        return narrows(node.weights["weight"].size)
    if not isinstance(node.op, MatMul) or node.inputs[1] not in nodes:
        return False
    matrix = nodes[node.inputs[1]].op
    return isinstance(matrix, Constant) and len(matrix.shape) == 2 and narrows(matrix.shape[0] * matrix.shape[1])


def _coarsest(net: Verifiable) -> Arithmetic:
    """The arithmetic of the tensor that is rounded most: the whole network is estimated with it.

    Its tile is the largest of any layer, of which none has both that and rounded weights.
    """
    names = [*(node.name for node in net.graph.nodes), *(tensor.name for tensor in net.graph.inputs)]
    found = [net.arithmetic(name) for name in names]
    side = max((max(a.tile) for a in found if a.tile), default=0)
    coarsest = next((a for a in found if a.tensor_cores), next((a for a in found if not a.exact), FLOAT32))
    return replace(coarsest, tile=(side, side) if side else None, rows=max(a.rows for a in found))


def _samples(arithmetic: Arithmetic) -> int:
    return SAMPLES if arithmetic.exact or arithmetic.only_weights else COARSE_SAMPLES


def _perturbed_reference(
    graph: Graph, feed: Mapping[str, Array], rng: np.random.Generator, arithmetic: Arithmetic
) -> tuple[dict[str, Array], dict[str, list[Array]]]:
    """Outputs of the reference, and those of all perturbed runs."""
    samples = _samples(arithmetic)
    clean = {name: np.asarray(value, np.float64) for name, value in feed.items()}
    moved = {name: [value] * samples for name, value in clean.items()}
    last_use = {name: position for position, node in enumerate(graph.nodes) for name in node.inputs}
    constants = {node.name for node in graph.nodes if isinstance(node.op, Constant)}
    nodes = {node.name: node for node in graph.nodes}
    for position, node in enumerate(graph.nodes):
        found = Arithmetic(tile=arithmetic.tile, rows=arithmetic.rows).bound(
            node, [clean[name] for name in node.inputs]
        )
        clean[node.name] = found.value
        # A product with a constant matrix is compiled as the dense layer or convolution that it is.
        matrix = isinstance(node.op, MatMul) and node.inputs[1] in constants
        layer = matrix or isinstance(node.op, Conv2D | Conv2DTranspose | Dense)
        if arithmetic.only_weights:
            layer = _is_narrowed(node, nodes)
        rounds = arithmetic if layer else Arithmetic(arithmetic.stored)
        weights = rounds.round_weights(node)
        signs = rng.integers(0, 2, (samples, *found.value.shape), dtype=np.int8) * 2 - 1
        moved[node.name] = []
        for sample in range(samples):
            inputs = rounds.disturb_inputs([moved[name][sample] for name in node.inputs], rng)
            if matrix:
                inputs[1] = ROUNDING[rounds.weights](inputs[1])
            moved[node.name].append(evaluate(weights, inputs) + signs[sample] * found.alarm)
        for name in set(node.inputs):
            if last_use[name] == position and name not in graph.outputs:
                del clean[name], moved[name]
    return clean, moved


def relative_error(actual: Array, value: Array) -> float:
    """L2 norm of the difference over that of `value`; infinite where one is NaN and the other is not."""
    if actual.shape != value.shape:
        return float("inf")
    with np.errstate(all="ignore"):
        same = (actual == value) | (np.isnan(actual) & np.isnan(value))
        difference = float(np.linalg.norm(np.where(same, 0.0, actual - value)))
        norm = float(np.linalg.norm(np.where(np.isfinite(value), value, 0.0)))
    if difference == 0:
        return 0.0
    return difference / norm if norm and np.isfinite(difference) else float("inf")


def _top1(actual: Array, value: Array) -> tuple[int | None, float | None]:
    """How many images agree in their largest class, and the widest margin among those that do not.

    For vectors of classes only: rank 2, or rank 4 with one pixel.
    """
    if (
        actual.shape != value.shape
        or value.ndim not in (2, 4)
        or value.shape[-1] < 2
        or value.size != len(value) * max(value.shape[1:])
    ):
        return None, None
    native, wanted = actual.reshape(len(value), -1), value.reshape(len(value), -1)
    rows = np.arange(len(value))
    chosen, best = native.argmax(axis=1), wanted.argmax(axis=1)
    agrees = chosen == best
    margins = wanted[rows, best] - wanted[rows, chosen]
    return int(agrees.sum()), float(margins[~agrees].max()) if not agrees.all() else None


__all__ = ["Comparison", "LayerReport", "Mismatch", "OutputReport", "Report", "rounding_limits", "verify"]
