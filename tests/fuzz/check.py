"""What has to hold for one random network: on every ISA and in two ways, for every batch size.

1. *The reference against ONNX Runtime*, layer by layer: each layer on ONNX Runtime's own inputs to it, within the
   layer's error bound.
2. *Native code against the reference*: `cnngen.verify`, that is every layer on its own native inputs within its
   bound, every layer alone on small integers (bit for bit where the op allows it), and the outputs end to end.
3. *A call of the network*: equal bit for bit to the steps run one by one, nothing written beside the outputs and
   the arena, the inputs unchanged, other batch sizes equal to the compiled one.
4. *Two threads* give the bits of one; on the CUDA emulation, blocks and threads that run last to first those of
   first to last.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import cnngen
from cnngen.backends.cpu.loader import FFI
from cnngen.ir import Array, Graph, Node, verify_graph
from cnngen.network import Network
from cnngen.ops import LRN, Activate, BatchNorm, Bound, UpsampleBilinear
from cnngen.ops.statistics_norm import StatisticsNorm
from cnngen.reference import bound, evaluate
from cnngen.report.verify_report import Comparison
from cnngen.verify_integers import activation_of, without_activation
from tests.differential.onnx_twin import OnnxTwin
from tests.fuzz import build, build_cuda
from tests.fuzz.document import Document
from tests.fuzz.variant import Variant
from tests.native import RUNNABLE

LIBRARY_ROUNDINGS = 8
"""ONNX Runtime's exp, pow and tanh may be a few roundings worse than ours, for which the bounds were derived."""
STRAIGHT = ("relu", "relu6", "clip", "leaky_relu", "prelu", "hard_sigmoid", "thresholded_relu", "abs", "neg", "sqrt")
"""Activations without a curve. ONNX Runtime's curved ones have an error relative to 1 (times x, as in silu)."""
GUARD = np.float32(-1.2345e-38)
"""A denormal that no network computes: what stands beside arrays that are given to native code."""
ROOM = 37
"""Floats of guard on either side: odd, so that arrays are not aligned to a vector."""


@dataclass(frozen=True)
class Failure:
    """One thing that does not hold: for which variant, and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Tally:
    """What was checked."""

    variants: int = 0
    layers: int = 0
    exact: int = 0
    warnings: int = 0


Witness = Callable[[Graph, dict[str, Array]], Iterator[str]]
"""Yields what an independent implementation of the graph says otherwise."""


def check_group(
    documents: Sequence[Document],
    folder: Path,
    *,
    isas: Sequence[str] = RUNNABLE,
    witnesses: Sequence[Witness] | None = None,
    tally: Tally | None = None,
    flags: Sequence[str] = (),
    drawn: bool = False,
) -> dict[int, list[Failure]]:
    """Check networks together, in `folder`; returns the failures of each document that has some, by its number.

    With `drawn`, each batch size of a network is compiled for one of the ISAs only, which its text decides.
    A compilation that fails is an exception: nobody knows whose fault it is before the networks are tried alone.
    """
    found: dict[int, list[Failure]] = {}
    tally = tally or Tally()
    graphs: list[tuple[int, int, Graph]] = []
    feeds: dict[tuple[int, int], dict[str, Array]] = {}
    for number, document in enumerate(documents):
        place = folder / f"net{number}"
        document.write(place)
        for batch in document.batches:
            graph = document.graph(place, batch)
            graphs.append((number, batch, graph))
            feeds[number, batch] = feed(graph, seed=batch)
        graph = graphs[-1][2]
        xs = feeds[number, document.batches[-1]]
        for witness in (onnx_differences,) if witnesses is None else witnesses:
            for what in witness(graph, xs):
                found.setdefault(number, []).append(Failure(witness.__name__.split("_")[0], what))
    choice = {one[:2]: draw(documents[one[0]], one[1], len(isas)) if drawn else None for one in graphs}
    for position, isa in enumerate(isas):
        builder = build_cuda if isa in build_cuda.CUDA else build
        chosen = [one for one in graphs if choice[one[:2]] in (None, position)]
        if not chosen:
            continue
        variants = builder.build(chosen, isa, folder / isa.replace(" ", "_"), flags=flags)
        pairs = zip(variants[::2], variants[1::2], strict=True)
        for one, two in pairs:
            xs = feeds[one.network, one.batch]
            for failure in check_variant(one, two, xs, tally):
                found.setdefault(one.network, []).append(failure)
    return found


def draw(document: Document, batch: int, count: int) -> int:
    """One of `count` ISAs, by number."""
    return zlib.crc32(f"{batch} {document.text}".encode()) % count


def feed(graph: Graph, seed: int) -> dict[str, Array]:
    """Normal values with a few zeros of either sign and a few equal ones among them."""
    rng = np.random.default_rng([seed, 17])
    arrays = {}
    for tensor in graph.inputs:
        x = rng.standard_normal(tensor.type.shape, np.float32)
        rounded = rng.random(x.shape) < 0.2
        x[rounded] = np.rint(x[rounded])  # with -0.0
        arrays[tensor.name] = x
    return arrays


def onnx_differences(graph: Graph, xs: dict[str, Array]) -> Iterator[str]:
    """Where a layer of the reference is not within its bound of what ONNX Runtime makes of the same inputs."""
    if not graph.nodes:
        return
    everything = verify_graph(replace(graph, outputs=tuple(node.name for node in graph.nodes)))
    tensors = {**xs, **OnnxTwin(everything, matrices=True)(xs)}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            inputs = [tensors[name] for name in node.inputs]
            found = bound(node, inputs)
            slack = LIBRARY_ROUNDINGS * 2.0**-24 * (np.abs(found.value) + other_terms(node, inputs))
            limits = Bound(found.value, found.limit + slack, found.alarm + slack)
            comparison = Comparison.of(tensors[node.name], limits)
            if comparison.mismatches:
                yield f"{node.name} {node.op}: {comparison.first}; {comparison.where}"
                return


def other_terms(node: Node, inputs: Sequence[Array]) -> Array | float:
    """What ONNX Runtime's errors are relative to, beside the result."""
    op = node.op
    if isinstance(op, BatchNorm):  # it rounds beta and mean * scale, where ours are one number
        scale, _ = op.affine(node.weights)
        own = np.abs(np.asarray(node.weights["mean"] * scale)) + np.abs(node.weights["beta"])
        return own + _activation_terms(node, inputs)
    if isinstance(op, StatisticsNorm):
        return _norm_terms(op, node, inputs[0]) + _activation_terms(node, inputs)
    if isinstance(op, LRN):
        # It slides the window: squares are added and subtracted again, and what they rounded stays in all later sums.
        x = np.asarray(inputs[0], np.float64)
        base = op.base(x)
        rounded = x.shape[-1] * (base - op.bias).max(axis=-1, keepdims=True)
        return np.asarray(abs(op.beta) * np.abs(x * base**-op.beta) * rounded / base)
    if isinstance(op, UpsampleBilinear):
        # It computes coordinates in float32: their error moves the weights, each axis by two roundings of the
        # coordinate, and two neighbours differ by at most twice the largest element.
        return float(max(inputs[0].shape[1:3]) * np.abs(inputs[0]).max())
    return _activation_terms(node, inputs)


def _norm_terms(op: StatisticsNorm, node: Node, x: Array) -> Array:
    """It neither takes the rounding of a mean out again, nor squares differences only: the variance is the mean of the
    squares less the square of the mean. A sum of n terms is off by n roundings of their magnitudes."""
    sets = op.sets(x.shape)
    grouped = np.asarray(x, np.float64).reshape(sets.shape)
    mean = grouped.mean(axis=sets.axes, keepdims=True)
    squares = np.square(grouped).mean(axis=sets.axes, keepdims=True)
    whole = grouped.var(axis=sets.axes, keepdims=True) + op.epsilon
    count = math.prod(sets.shape[axis] for axis in sets.axes)
    shifted = np.abs(grouped).mean(axis=sets.axes, keepdims=True) / np.sqrt(whole)
    stretched = np.abs(grouped - mean) / np.sqrt(whole) * squares / whole
    gamma = np.abs(node.weights.get("gamma", np.ones(())))
    return np.asarray(count * (shifted + stretched).reshape(x.shape) * gamma)


def _activation_terms(node: Node, inputs: Sequence[Array]) -> Array | float:
    """The same for the activation that a node ends with."""
    op, activation = node.op, activation_of(node)
    if activation is None or activation.function in STRAIGHT:
        return 0.0
    linear = inputs[0] if isinstance(op, Activate) else evaluate(replace(node, op=without_activation(op)), inputs)
    return 1.0 + np.abs(linear)


def check_variant(one: Variant, two: Variant, xs: dict[str, Array], tally: Tally) -> Iterator[Failure]:
    """The same network in two ways: with one thread and with two, or emulated in two orders."""
    where = f"{one.isa}, batch {one.batch}"
    # First of all: elsewhere, what is written beside an array may be the heap's own, which ends the process.
    calls = {variant.way: guarded_run(variant.net, list(xs.values())) for variant in (one, two)}
    beside = [Failure(f"{where}, {way}", what) for way, (_, complaints) in calls.items() for what in complaints]
    if beside:
        yield from beside
        return
    report = cnngen.verify(one.net, x=xs)
    tally.variants += 2
    tally.layers += len(report.layers)
    tally.exact += sum(layer.exactness == "exact" for layer in report.layers)
    tally.warnings += sum(layer.status == "warn" for layer in report.layers)
    if not report.ok:
        failed = [line for line in report.summary().splitlines() if "FAIL" in line or line.startswith("       ")]
        yield Failure(where, "\n".join(failed))
    traces = []
    for variant in (one, two):
        label = f"{where}, {variant.way}"
        traces.append(variant.net.trace(*xs.values()))
        for name, y in zip(variant.net.output_names, calls[variant.way][0], strict=True):
            if not same_bits(y, traces[-1][name]):
                yield Failure(label, f"output {name} of a call is not what the steps give one by one")
    for name in traces[0]:
        if not same_bits(traces[0][name], traces[1][name]):
            yield Failure(where, f"{name} differs between {one.way} and {two.way}")
            break
    yield from _other_batches(one, xs, where)


def _other_batches(variant: Variant, xs: dict[str, Array], where: str) -> Iterator[Failure]:
    """One image more than the compiled batch, which takes a second call with a part of a batch."""
    longer = [np.concatenate([x, x[:1]]) for x in xs.values()]
    whole, part = (_listed(variant.net(*arrays)) for arrays in (xs.values(), longer))
    for name, y, more in zip(variant.net.output_names, whole, part, strict=True):
        if not (same_bits(more[:-1], y) and same_bits(more[-1:], y[:1])):
            yield Failure(where, f"output {name} of {len(more)} images is not that of {len(y)} and one more")


def guarded_run(net: Network, xs: Sequence[Array]) -> tuple[list[Array], list[str]]:
    """The outputs of one call whose arrays lie between guards, and what it wrote where it should not."""
    rooms = [np.full(x.size + 2 * ROOM, GUARD) for x in xs]
    inner = [room[ROOM : ROOM + x.size].reshape(x.shape) for room, x in zip(rooms, xs, strict=True)]
    for place, x in zip(inner, xs, strict=True):
        place[...] = x
    out_rooms = [np.full(int(np.prod(shape)) + 2 * ROOM, GUARD) for shape in net.output_shapes]
    outs = [room[ROOM:-ROOM].reshape(shape) for room, shape in zip(out_rooms, net.output_shapes, strict=True)]
    for out in outs:
        out.fill(np.nan)
    arena_room, arena = _guarded_arena(net)
    net._arenas.append(arena)
    net.run(*inner, out=outs if len(outs) > 1 else outs[0])
    net._arenas.pop()
    complaints = []
    for kind, names, arrays in (("input", net.input_names, rooms), ("output", net.output_names, out_rooms)):
        for name, room in zip(names, arrays, strict=True):
            if not (np.all(room[:ROOM] == GUARD) and np.all(room[-ROOM:] == GUARD)):
                complaints.append(f"memory beside {kind} {name} was written")
    for name, place, x in zip(net.input_names, inner, xs, strict=True):
        if not same_bits(place, x):
            complaints.append(f"input {name} was changed")
    if not all(np.all(part == GUARD) for part in arena_room):
        complaints.append("memory beside the arena was written")
    return [np.array(out) for out in outs], complaints


def _guarded_arena(net: Network) -> tuple[list[Array], object]:
    """The guards around an arena that holds NaN in every format, and the arena as the network keeps it."""
    floats = net.arena_bytes // 4
    raw = np.full(floats + 2 * 64, GUARD)
    start = (-raw.ctypes.data % 64) // 4 + 16
    raw[start : start + floats].view(np.uint8)[:] = 0xFF
    return [raw[:start], raw[start + floats :]], FFI.from_buffer(raw[start : start + floats])


def same_bits(a: Array, b: Array) -> bool:
    """Whether two float32 arrays are equal in every bit; one NaN is as good as another."""
    if a.shape != b.shape:
        return False
    equal = np.ascontiguousarray(a).view(np.int32) == np.ascontiguousarray(b).view(np.int32)
    return bool(np.all(equal | (np.isnan(a) & np.isnan(b))))


def _listed(result: Array | list[Array]) -> list[Array]:
    return result if isinstance(result, list) else [result]
