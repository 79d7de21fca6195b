"""Warnings about the design of a network: it compiles and runs, but a person probably meant another one.

Every warning states facts that hold for the graph as it is, and a remedy. The rules, by code:

- ``narrow-output``: an element of an output cannot see the whole input.
- ``narrow-features``: no element of the tensor that the last global pooling gathers sees the whole input.
- ``unread-input``: rows or columns of an input reach no output.
- ``computed-in-vain``: elements between the read ones of a tensor are read by nothing.
- ``mixed-jumps``: paths that meet in a layer differ in jump, so positions do not correspond.
- ``dead-layer``, ``unused-input``: no output depends on it.
- ``taps-in-padding``: part of a kernel meets nothing but padding.
- ``useless-bias``: a bias that the batch norm behind it subtracts again.
- ``constant-softmax``: a softmax over one channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

import numpy as np

from cnngen.analysis.coverage import Coverage, needed_by_outputs, read_by_layers
from cnngen.analysis.receptive_field import AxisField, Fields, ReceptiveField, receptive_fields, step, window_taps
from cnngen.errors import Source
from cnngen.ir import Array, Graph, Node
from cnngen.ops import POINTWISE, BatchNorm, Conv2D, Conv2DTranspose, Dense, GlobalPool2D, Softmax, Table, Window
from cnngen.passes.remove_dead import live
from cnngen.passes.rewrite import uses

AXES = ("row", "column")
SMALLER_STEPS = "a smaller stride, less dilation or a larger kernel"


@dataclass(frozen=True)
class LintWarning:
    """One warning: `layer` is a tensor's name, `source` its place in the spec where that is known."""

    code: str
    layer: str
    source: Source | None
    problem: str
    remedy: str

    @property
    def text(self) -> str:
        return f"{self.problem}; {self.remedy}"

    def __str__(self) -> str:
        place = "" if self.source is None else f"{self.source}: "
        return f"{place}{self.layer}: {self.text}"


@dataclass(frozen=True, eq=False)
class Facts:
    """What the rules look at, computed once."""

    graph: Graph
    fields: Fields
    read: Coverage
    needed: Coverage

    def positions(self, name: str) -> int:
        """Number of positions (pixels) of a tensor; 1 for tensors of rank 2."""
        shape = self.graph.types[name].shape
        return len(self.read[name].height) * len(self.read[name].width) if len(shape) == 4 else 1


def lint(graph: Graph) -> tuple[LintWarning, ...]:
    """All warnings about a typed graph, in the order of its layers."""
    fields = receptive_fields(graph)
    facts = Facts(graph, fields, read_by_layers(graph, fields), needed_by_outputs(graph, fields))
    order = {name: position for position, name in enumerate(graph.types)}
    found = [warning for rule in RULES for warning in rule(facts)]
    return tuple(sorted(found, key=lambda warning: order[warning.layer]))


def narrow_output(facts: Facts) -> Iterator[LintWarning]:
    """An element of an output cannot see all of the input that the network uses."""
    for name in facts.graph.outputs:
        for origin, field in facts.fields[name].items():
            if name == origin:
                continue
            used = _used(facts, origin)
            blind = [_misses(axis, low, high) for axis, (low, high) in zip(field.axes, used, strict=True)]
            if any(mask.any() for mask in blind):
                seeing = int((~blind[0]).sum()) * int((~blind[1]).sum())
                total = len(blind[0]) * len(blind[1])
                which = "no element sees" if seeing == 0 else f"only {seeing} of {total} positions see"
                yield _warning(
                    facts,
                    "narrow-output",
                    name,
                    f"{which} the whole of {_input(facts, origin)}: an element sees at most {_at_most(field)} of its "
                    f"{_extent(field)} pixels",
                    "add layers, strides, dilation or a global_avg_pool if an output must see the whole picture",
                )


def narrow_features(facts: Facts) -> Iterator[LintWarning]:
    """The last global pooling gathers elements none of which sees the whole input."""
    for node in facts.graph.nodes:
        if not isinstance(node.op, GlobalPool2D) or not _is_final(facts, node):
            continue
        for origin, field in facts.fields[node.inputs[0]].items():
            used = _used(facts, origin)
            if any(axis.largest < high - low + 1 for axis, (low, high) in zip(field.axes, used, strict=True)):
                yield _warning(
                    facts,
                    "narrow-features",
                    node.name,
                    f"no element of {node.inputs[0]}, which it pools, sees the whole of {_input(facts, origin)}: "
                    f"at most {_at_most(field)} of {_extent(field)} pixels, so classes are told apart by local parts",
                    "add layers, strides or dilation in front of it if the whole picture matters",
                )


def unread_input(facts: Facts) -> Iterator[LintWarning]:
    """Rows or columns of an image input that no output depends on."""
    for tensor in facts.graph.inputs:
        needed = facts.needed[tensor.name]
        if len(tensor.type.shape) != 4 or not needed.any:
            continue
        lost = [np.flatnonzero(~mask) for mask in needed]
        parts = [
            f"{len(indices)} of the {len(mask)} {axis}s ({_ranges(indices)})"
            for axis, mask, indices in zip(AXES, needed, lost, strict=True)
            if len(indices)
        ]
        if parts:
            gaps = any(_has_gaps(mask) for mask in needed)
            yield _warning(
                facts,
                "unread-input",
                _loser(facts) or tensor.name,
                f"{' and '.join(parts)} of {_input(facts, tensor.name)} reach no output",
                f"use {SMALLER_STEPS}"
                if gaps
                else "use a padding or an input size with which windows end at the border",
            )


def computed_in_vain(facts: Facts) -> Iterator[LintWarning]:
    """Tensors whose readers all step over some of the rows or columns between those that they read."""
    consumers = facts.graph.consumers()
    for node in facts.graph.nodes:
        rows = facts.read[node.name]
        if rows.any and any(_has_gaps(mask) for mask in rows):
            share = float(rows.height.mean() * rows.width.mean())
            readers = " and ".join(reader.name for reader in consumers[node.name])
            yield _warning(
                facts,
                "computed-in-vain",
                node.name,
                f"{100 * (1 - share):.0f} % of its elements are read by nothing: {readers} step over them",
                f"stride in this layer, or use {SMALLER_STEPS} behind it",
            )


def mixed_jumps(facts: Facts) -> Iterator[LintWarning]:
    """Layers in which paths of different jump meet for the first time."""
    for node in facts.graph.nodes:
        for origin, field in facts.fields[node.name].items():
            before = [facts.fields[name][origin] for name in node.inputs if origin in facts.fields[name]]
            jumps = _jumps(field)
            if jumps and not any(_jumps(other) for other in before):
                yield _warning(
                    facts,
                    "mixed-jumps",
                    node.name,
                    f"its inputs step over {_input(facts, origin)} by {' and '.join(map(str, sorted(jumps)))} pixels "
                    "an element, so equal positions do not show the same place",
                    "give the branches the same product of strides",
                )


def dead_layer(facts: Facts) -> Iterator[LintWarning]:
    """Layers and inputs that no output depends on."""
    graph = facts.graph
    alive, count = live(graph), uses(graph)
    for node in graph.nodes:
        if node.name not in alive and not count[node.name]:
            yield _warning(
                facts, "dead-layer", node.name, "no layer reads it and it is no output", "list it under outputs:"
            )
    for tensor in graph.inputs:
        if tensor.name not in alive:
            yield _warning(facts, "unused-input", tensor.name, "no output depends on this input", "remove it")


def taps_in_padding(facts: Facts) -> Iterator[LintWarning]:
    """Convolutions part of whose kernel never meets an element of the input."""
    for node in facts.graph.nodes:
        window = step(node, facts.graph.input_types(node), 0)
        if not isinstance(node.op, Conv2D) or not isinstance(window, Window):
            continue
        sizes, steps = facts.graph.types[node.inputs[0]].shape[1:3], facts.graph.types[node.name].shape[1:3]
        met = [
            int(window_taps(window, axis, sizes[axis], steps[axis])[1].any(axis=0).sum()) for axis in range(len(sizes))
        ]
        taps = window.kernel[0] * window.kernel[1]
        if met[0] * met[1] < taps:
            yield _warning(
                facts,
                "taps-in-padding",
                node.name,
                f"{taps - met[0] * met[1]} of the {taps} taps of its kernel meet nothing but padding on an input of "
                f"{sizes[0]}x{sizes[1]}",
                "use a smaller kernel, less dilation or fewer strides before it",
            )


def useless_bias(facts: Facts) -> Iterator[LintWarning]:
    """Biases whose only reader is a batch norm, which subtracts the mean that they shift."""
    consumers, count = facts.graph.consumers(), uses(facts.graph)
    for node in facts.graph.nodes:
        if (
            isinstance(node.op, Conv2D | Conv2DTranspose | Dense)
            and node.op.use_bias
            and node.op.activation is None
            and count[node.name] == 1
            and any(isinstance(reader.op, BatchNorm) for reader in consumers[node.name])
        ):
            yield _warning(
                facts,
                "useless-bias",
                node.name,
                f"its bias ({facts.graph.types[node.name].shape[-1]} parameters) is subtracted again by the batch norm "
                "behind it",
                "say bias: false when the network is trained next",
            )


def constant_softmax(facts: Facts) -> Iterator[LintWarning]:
    """Softmax over a single channel, which is 1 whatever it reads."""
    for node in facts.graph.nodes:
        if isinstance(node.op, Softmax) and facts.graph.types[node.name].shape[-1] == 1:
            yield _warning(
                facts, "constant-softmax", node.name, "a softmax over one channel is always 1", "use a sigmoid"
            )


RULES: tuple[Callable[[Facts], Iterator[LintWarning]], ...] = (
    narrow_output,
    narrow_features,
    unread_input,
    computed_in_vain,
    mixed_jumps,
    dead_layer,
    taps_in_padding,
    useless_bias,
    constant_softmax,
)


def _warning(facts: Facts, code: str, name: str, problem: str, remedy: str) -> LintWarning:
    source = next((node.source for node in facts.graph.nodes if node.name == name), None)
    return LintWarning(code, name, source, problem, remedy)


def _input(facts: Facts, name: str) -> str:
    """How a text speaks of an input: by name only where there are several."""
    return "the input" if len(facts.graph.inputs) == 1 else f"input {name}"


def _used(facts: Facts, origin: str) -> list[tuple[int, int]]:
    """First and last row, first and last column of an input that some output depends on.

    What lies outside is `unread_input`'s to report, once.
    """
    spans = []
    for mask in facts.needed[origin]:
        indices = np.flatnonzero(mask)
        spans.append((int(indices[0]), int(indices[-1])) if len(indices) else (0, -1))
    return spans


def _misses(axis: AxisField, low: int, high: int) -> Array:
    """For each position whether its field leaves out a part of low to high."""
    return np.asarray((axis.start > low) | (axis.stop < high))


def _is_final(facts: Facts, pool: Node) -> bool:
    """Whether an output is reached and everything behind `pool` has a single position: it is no gate on an image."""
    behind = {pool.name}
    for node in facts.graph.nodes:
        if behind.intersection(node.inputs):
            if facts.positions(node.name) > 1:
                return False
            behind.add(node.name)
    return bool(behind.intersection(facts.graph.outputs))


def _loser(facts: Facts) -> str | None:
    """The first layer that leaves out positions of its input that no other reader takes either."""
    for node in facts.graph.nodes:
        for position, name in enumerate(node.inputs):
            window = step(node, facts.graph.input_types(node), position)
            if (
                isinstance(window, Window | Table)
                and window != POINTWISE
                and not all(m.all() for m in facts.read[name])
            ):
                return node.name
    return None


def _has_gaps(mask: Array) -> bool:
    """Whether something is left out between things that are not."""
    taken = np.flatnonzero(mask)
    return len(taken) > 0 and bool(taken[-1] - taken[0] + 1 > len(taken))


def _jumps(field: ReceptiveField) -> set[Fraction]:
    """The jumps along the axes on which paths disagree; what sees the same from everywhere (jump 0) agrees with all."""
    found = [{path.jump for path in axis.paths if path.jump} for axis in field.axes]
    return set().union(*(jumps for jumps in found if len(jumps) > 1))


def _ranges(indices: Array, most: int = 3) -> str:
    """Sorted indices as text: ``0-2, 5, 7, ...``."""
    runs = []
    for _, group in groupby(enumerate(indices.tolist()), key=lambda pair: pair[1] - pair[0]):
        run = [index for _, index in group]
        runs.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(runs[:most]) + (", ..." if len(runs) > most else "")


def _at_most(field: ReceptiveField) -> str:
    return f"{field.height.largest}x{field.width.largest}"


def _extent(field: ReceptiveField) -> str:
    return f"{field.height.extent}x{field.width.extent}"
