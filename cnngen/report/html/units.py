"""What a drawing of a network shows as one box: a layer with what follows it element by element, or a block.

A network of hundreds of layers is read as its author wrote it: blocks of blocks. Names are paths
(``conv4/bottleneck_2/conv_1/conv2d_1``), so layers that stand together and share the beginning of their path
are a block. Where names say nothing, a block is what lies between two places that a single tensor crosses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

from cnngen.ir import Graph, Node
from cnngen.ops import Activate, BatchNorm, Identity
from cnngen.report.inspect_ops import describe

MOST_BOXES = 20
"""More boxes than this are gathered into blocks."""


@dataclass(frozen=True, eq=False)
class Unit:
    """Nodes, in order, that are drawn as one box; `parts` are the boxes inside a block, none for a layer.

    A unit without nodes is the input `name` of the network. A block is named by the path that its layers
    share, or by its first layer and `last`. `repeat` counts blocks in a row that are drawn as one: then
    `parts` holds the first, and `last` names the last.
    """

    name: str
    nodes: tuple[Node, ...] = ()
    parts: tuple[Unit, ...] = ()
    repeat: int = 1
    last: str = ""
    title: str = ""
    """What to call it, where that is not its name."""

    @property
    def is_block(self) -> bool:
        return bool(self.parts)

    @property
    def is_input(self) -> bool:
        return not self.nodes

    @cached_property
    def makes(self) -> frozenset[str]:
        """Names of the tensors that the unit produces."""
        return frozenset(node.name for node in self.nodes) or frozenset([self.name])

    @cached_property
    def takes(self) -> tuple[str, ...]:
        """Names of the tensors from outside that it reads, each once, in order."""
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.inputs if name not in self.makes))


def layers_as_units(graph: Graph) -> tuple[Unit, ...]:
    """The inputs, and every layer together with the batch norms and activations that only it leads to."""
    consumers = graph.consumers()
    chains: list[list[Node]] = []
    ends: dict[str, list[Node]] = {}  # last tensor of a chain -> the chain
    for node in graph.nodes:
        before = ends.get(node.inputs[0]) if len(node.inputs) == 1 else None
        if before is not None and _may_follow(node, before[0]) and len(consumers[node.inputs[0]]) == 1:
            before.append(node)
            del ends[node.inputs[0]]
            ends[node.name] = before
        else:
            chains.append([node])
            ends[node.name] = chains[-1]
    folders = Counter(_folder(node) for node in graph.nodes)
    inputs = tuple(Unit(tensor.name) for tensor in graph.inputs)
    return inputs + tuple(Unit(chain[0].name, tuple(chain), title=_title(chain, folders)) for chain in chains)


def _title(chain: Sequence[Node], folders: Mapping[str, int]) -> str:
    """The block that a convolution and its batch norm make up, where that is all there is in it."""
    folder = _folder(chain[0])
    inside = sum(_folder(node) == folder for node in chain)
    return folder if folder and inside > 1 and inside == folders[folder] else chain[0].name


def _may_follow(node: Node, first: Node) -> bool:
    """Whether a layer works element by element, and belongs to the chain that `first` begins.

    It stands in the same block; or around it, where the chain begins with a convolution or dense layer, into
    which the compiler may take it.
    """
    inner, outer = _folder(first), _folder(node)
    if inner == outer:
        return isinstance(node.op, BatchNorm | Activate | Identity)
    around = not outer or f"{inner}/".startswith(f"{outer}/")
    return isinstance(node.op, BatchNorm | Activate) and around and "weight" in first.weights


def _folder(node: Node) -> str:
    """The path of the block that a layer stands in."""
    return node.name.rpartition("/")[0]


def gathered(units: Sequence[Unit], graph: Graph, prefix: str = "") -> tuple[Unit, ...]:
    """The units of one drawing: blocks where there are too many layers, with repetitions as one."""
    if len(units) <= MOST_BOXES:
        return tuple(units)
    blocks = _runs(units, lambda unit: _component(unit, prefix))
    if len(blocks) == 1:
        return gathered(units, graph, f"{prefix}{_component(units[0], prefix)}/")
    if len(blocks) > max(len(units) // 2, MOST_BOXES * 3 // 2):
        blocks = _between_cuts(units)
    if len(blocks) == 1:
        return tuple(units)
    named = []
    for run in blocks:
        unit = _block(run, prefix)
        named.append(replace(unit, parts=gathered(run, graph, f"{unit.name}/")) if len(run) > 1 else unit)
    return _merged(named, graph)


def _component(unit: Unit, prefix: str) -> str | None:
    """The part of a layer's path behind `prefix` that names the block it stands in."""
    if unit.is_input or not unit.name.startswith(prefix):
        return None
    head, slash, _ = unit.name[len(prefix) :].partition("/")
    return head if slash else None


def _runs(units: Sequence[Unit], key: Callable[[Unit], str | None]) -> list[list[Unit]]:
    """Neighbours of one key together; those of none apart."""
    runs: list[list[Unit]] = []
    for name, group in groupby(units, key):
        members = list(group)
        runs += [[unit] for unit in members] if name is None else [members]
    return runs


def _between_cuts(units: Sequence[Unit]) -> list[list[Unit]]:
    """Runs that begin and end where a single tensor leads from what is above to what is below."""
    last_use: dict[str, int] = {}
    maker = {name: place for place, unit in enumerate(units) for name in unit.makes}
    for place, unit in enumerate(units):
        for name in unit.takes:
            if name in maker:
                last_use[name] = place
    runs: list[list[Unit]] = [[]]
    crossing: set[str] = set()
    for place, unit in enumerate(units):
        runs[-1].append(unit)
        crossing = {name for name in crossing if last_use[name] > place}
        crossing |= {name for name in unit.makes if last_use.get(name, -1) > place}
        if len(crossing) <= 1:
            runs.append([])
    return [run for run in runs if run]


def _block(run: Sequence[Unit], prefix: str) -> Unit:
    """A run as one unit, without its parts; named by what all names in it begin with."""
    if len(run) == 1:
        return run[0]
    nodes = tuple(node for unit in run for node in unit.nodes)
    component = _component(run[0], prefix)
    shared = component is not None and all(_component(unit, prefix) == component for unit in run)
    return Unit(f"{prefix}{component}", nodes) if shared else Unit(run[0].name, nodes, last=run[-1].name)


def shape_of_code(unit: Unit, graph: Graph) -> tuple[object, ...]:
    """Equal for units of the same ops wired in the same way, whatever their names and numbers of channels."""
    place = {node.name: index for index, node in enumerate(unit.nodes)}
    return tuple(
        (describe(node.op, graph.input_types(node)), tuple(place.get(name, -1) for name in node.inputs))
        for node in unit.nodes
    )


def _merged(units: Sequence[Unit], graph: Graph) -> tuple[Unit, ...]:
    """Equal blocks that lead from one to the next, and nowhere else, as one with a count."""
    readers: dict[str, set[int]] = {}
    for place, unit in enumerate(units):
        for name in unit.takes:
            readers.setdefault(name, set()).add(place)
    merged: list[Unit] = []
    for place, unit in enumerate(units):
        before = merged[-1] if merged else None
        if (
            before is not None
            and before.is_block
            and unit.is_block
            and set(unit.takes) <= units[place - 1].makes
            and all(readers.get(name, {place}) == {place} for name in units[place - 1].makes)
            and not units[place - 1].makes & set(graph.outputs)
            and shape_of_code(units[place - 1], graph) == shape_of_code(unit, graph)
        ):
            merged[-1] = Unit(
                before.name, before.nodes + unit.nodes, before.parts, before.repeat + 1, unit.last or unit.name
            )
        else:
            merged.append(unit)
    return tuple(merged)
