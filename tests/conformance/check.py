"""Runs cases: what can be compiled is compiled many networks at a time, what cannot gets its reason.

A compiler takes a few tenths of a second for the smallest network, and there are more than a thousand: so the graphs
of many cases become one graph, whose kernels are one compilation unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import TensorProto
from onnx.backend.test.runner import Runner

from cnngen import pipeline
from cnngen.backends.cpu import loader
from cnngen.backends.cpu.compiler import find_compiler
from cnngen.backends.cpu.plan import plan_graph
from cnngen.backends.cpu.target import resolve
from cnngen.backends.sources import SourceTree
from cnngen.cache import library
from cnngen.errors import ModelError
from cnngen.frontends.onnx.conversion import UnsupportedModelError
from cnngen.frontends.onnx.node import UnsupportedError
from cnngen.interface import Interface, Stages
from cnngen.ir import Array, Graph, Input, Node
from cnngen.network import Network
from cnngen.onnx_backend import Binding, CnngenRep, _typed
from cnngen.passes import optimise
from cnngen.passes.infer_shapes import infer_shapes
from tests.conformance.cases import Case

PARAMETERS = {TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}
LARGE = 500_000
"""Parameters of a network that is compiled alone."""
GROUP = 60
"""Networks that are compiled together."""


@dataclass(frozen=True)
class Outcome:
    """How a case ended. `reason` says why it is not supported, or how it failed."""

    suite: str
    name: str
    ops: tuple[str, ...]
    opset: int
    status: str
    """passed, failed or unsupported"""
    reason: str = ""
    detail: str = ""
    of_float: bool = False
    """whether an input is of type FLOAT, and none of another float"""


@dataclass(frozen=True, eq=False)
class Ready:
    """A case whose model became a graph."""

    case: Case
    binding: Binding
    rep: CnngenRep


def run_cases(cases: Sequence[Case], isa: str = "native", flags: Sequence[str] = ("-O1",)) -> list[Outcome]:
    """The outcome of every case, in order."""
    outcomes: dict[int, Outcome] = {}
    ready: list[tuple[int, Ready]] = []
    for number, case in enumerate(cases):
        try:
            ready.append((number, prepare(case)))
        except ModelError as error:
            outcomes[number] = unsupported(case, error)
        except Exception as error:  # a defect, which must not hide the others
            outcomes[number] = outcome(case, "failed", f"{type(error).__name__}: {error}")
    for group in grouped(ready):
        for (number, one), results in zip(group, run_group([one for _, one in group], isa, flags), strict=True):
            outcomes[number] = compared(one, results)
    return [outcomes[number] for number in range(len(cases))]


def grouped(ready: Sequence[tuple[int, Ready]]) -> Iterator[list[tuple[int, Ready]]]:
    """Groups of small networks; a large one is one by itself."""
    group: list[tuple[int, Ready]] = []
    for number, one in ready:
        graph = one.binding.converted.graph
        if graph is not None and sum(array.size for node in graph.nodes for array in node.weights.values()) > LARGE:
            yield [(number, one)]
            continue
        group.append((number, one))
        if len(group) == GROUP:
            yield group
            group = []
    if group:
        yield group


def prepare(case: Case) -> Ready:
    """The graph of a case. Raises `ModelError` where it is not supported."""
    rep = CnngenRep(case.proto())
    fed = dict(zip([value.name for value in rep.inputs], case.data[0][0], strict=False))
    odd = [name for name, value in fed.items() if not isinstance(value, np.ndarray | np.generic)]
    if odd:
        raise UnsupportedError("an input is no tensor", reason="types other than float")
    return Ready(case, rep.bind(rep._by_name(fed)), rep)


def run_group(group: Sequence[Ready], isa: str, flags: Sequence[str]) -> list[list[list[Array]]]:
    """For each case and each of its sets of inputs the outputs, all from one library."""
    graphs = [one.binding.converted.graph for one in group]
    joined = merged([graph for graph in graphs if graph is not None])
    network = compiled(joined, isa, flags) if joined is not None else None
    sets = max(len(one.case.data) for one in group)
    results: list[list[list[Array]]] = [[] for _ in group]
    for index in range(sets):
        feeds = [one.case.data[min(index, len(one.case.data) - 1)][0] for one in group]
        outputs = _called(network, group, feeds) if network is not None else {}
        place = 0
        for number, (one, graph) in enumerate(zip(group, graphs, strict=True)):
            found: dict[str, Array] = dict(one.binding.converted.constants)
            if graph is not None:
                for own, name in zip(graph.outputs, one.binding.converted.outputs, strict=True):
                    found[name] = outputs[f"n{place}/{own}"]
                place += 1
            if index < len(one.case.data):
                values = one.rep.model.graph.output
                results[number].append([_typed(found[value.name], value) for value in values])
    return results


def _called(network: Network, group: Sequence[Ready], feeds: Sequence[tuple[Any, ...]]) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    place = 0
    for one, feed in zip(group, feeds, strict=True):
        if one.binding.converted.graph is None:
            continue
        given = dict(zip([value.name for value in one.rep.inputs], feed, strict=True))
        for name, own in one.binding.converted.inputs.items():
            arrays[f"n{place}/{own}"] = np.array(given[name], np.float32, order="C")
        place += 1
    outs = [np.empty(shape, np.float32) for shape in network.output_shapes]
    network.run(*(arrays[name] for name in network.input_names), out=outs)
    return dict(zip(network.output_names, outs, strict=True))


def merged(graphs: Sequence[Graph]) -> Graph | None:
    """All graphs as one, that of number n with its names behind ``n<number>/``."""
    if not graphs:
        return None
    inputs, nodes, outputs = [], [], []
    for number, graph in enumerate(graphs):
        prefix = f"n{number}/"
        inputs += [Input(prefix + tensor.name, tensor.type) for tensor in graph.inputs]
        nodes += [
            Node(prefix + node.name, node.op, tuple(prefix + name for name in node.inputs), node.weights, node.source)
            for node in graph.nodes
        ]
        outputs += [prefix + name for name in graph.outputs]
    return infer_shapes(Graph("conformance", tuple(inputs), tuple(nodes), tuple(outputs)))


def compiled(graph: Graph, isa: str, flags: Sequence[str]) -> Network:
    """`graph` behind all passes, as one compilation unit, quickly."""
    plan = plan_graph(optimise(graph), resolve(isa, 1))
    tree = one_unit(pipeline.sources(plan))
    tree = replace(tree, flags=(*tree.flags, *flags))
    stages = Stages(graph, plan)
    interface = Interface.of(stages)
    path = library(tree, find_compiler(), use_cache=plan.blob_floats < LARGE)
    return Network(interface, loader.load(path, tree.name, len(graph.inputs), len(graph.outputs)), stages)


def one_unit(tree: SourceTree) -> SourceTree:
    """`tree` with its kernels included in one file: the headers of intrinsics are read once."""
    units = [unit for unit in tree.units if unit.startswith("kernels/")]
    text = "".join(f'#include "{unit}"\n' for unit in units)
    others = tuple(unit for unit in tree.units if unit not in units)
    return replace(tree, files={**tree.files, "all_kernels.c": text}, units=("all_kernels.c", *others))


def compared(one: Ready, results: Sequence[Sequence[Array]]) -> Outcome:
    """Whether the outputs are those expected, by the comparison of ONNX's own runner."""
    for (_, expected), found in zip(one.case.data, results, strict=True):
        try:
            Runner.assert_similar_outputs(expected, found, rtol=one.case.rtol, atol=one.case.atol)
        except AssertionError as error:
            return outcome(one.case, "failed", " ".join(str(error).split())[:300])
    return outcome(one.case, "passed")


def unsupported(case: Case, error: ModelError) -> Outcome:
    """The outcome for a model that was refused."""
    if isinstance(error, UnsupportedModelError):
        first = error.problems[0]
        reason = f"the op {first.op}" if first.reason == "op" else first.reason
    else:
        reason = error.reason if isinstance(error, UnsupportedError) else error.problem
    return outcome(case, "unsupported", reason, str(error))


def outcome(case: Case, status: str, reason: str = "", detail: str = "") -> Outcome:
    model = case.proto()
    ops = tuple(dict.fromkeys(node.op_type for node in model.graph.node))
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    types = {value.type.tensor_type.elem_type for value in model.graph.input}
    of_float = TensorProto.FLOAT in types and types <= PARAMETERS
    return Outcome(case.suite, case.name, ops, opset, status, reason, detail, of_float)


def counts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many ended in which way."""
    found = {"passed": 0, "failed": 0, "unsupported": 0}
    for one in outcomes:
        found[one.status] += 1
    return found
