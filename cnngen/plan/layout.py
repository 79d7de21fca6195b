"""Where tensors lie: which are views of others, which need a halo, which go straight to an output."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from cnngen.ir import Graph, Node
from cnngen.ops import Constant, Flatten, Identity, Reshape, Slice
from cnngen.plan.memory import NO_HALO, Arena, Buffer, Halo, View, aligned, as_image, assign_offsets
from cnngen.plan.steps import K, Step


@dataclass(frozen=True)
class Room:
    """A buffer of the arena before its time and offset are known; spare floats count as channels."""

    shape: tuple[int, int, int, int]
    halo: Halo

    @property
    def size(self) -> int:
        n, h, w, c = self.shape
        top, bottom, left, right = self.halo
        return n * (h + top + bottom) * (w + left + right) * c


@dataclass(frozen=True, eq=False)
class Layout:
    """The place of every tensor; arena views are relative to their own buffer until `resolve`.

    `staged` are graph inputs that are copied into the arena first, `aliases` nodes that are another
    view of their input, `copied_outputs` the graph outputs (by number) that are copied at the end. `constants` says
    where each constant lies among the packed parameters; its view is elsewhere where it is copied from there.
    """

    graph: Graph
    views: Mapping[str, View]
    buffers: tuple[Room, ...]
    staged: frozenset[str]
    aliases: frozenset[str]
    copied_outputs: frozenset[int]
    constants: Mapping[str, View] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def constant_floats(self) -> int:
        """Size of all constants, which come first among the packed parameters."""
        return sum(aligned(math.prod(view.shape)) for view in self.constants.values())

    def free(self, node: Node) -> bool:
        """Whether nothing has to be done for `node`: it is a view of its input, or a constant where it is read."""
        return node.name in self.aliases or self.views[node.name].space == "weights"

    def external_input(self, name: str) -> View:
        """Where the caller's array of a graph input lies."""
        index = [tensor.name for tensor in self.graph.inputs].index(name)
        return View.packed("input", index, self.graph.types[name])

    def lies_in(self, name: str, host: str) -> bool:
        """Whether `name` is a slice of `host` and need not be copied there."""
        placement = self.graph.placements.get(name)
        return placement is not None and placement.host == host

    def resolve(self, steps: Sequence[Step[K]]) -> tuple[Mapping[str, View], Arena, list[Step[K]]]:
        """Find when each buffer is in use, give it an offset, and make all views absolute."""
        uses: dict[int, list[int]] = {index: [] for index in range(len(self.buffers))}
        for number, step in enumerate(steps):
            for call in step.calls:
                for view in call.views:
                    if view.space == "arena":
                        uses[view.index].append(number)
        arena = assign_offsets(
            [
                Buffer(index, room.size, min(uses[index]), max(uses[index]), halo=room.halo, shape=room.shape)
                for index, room in enumerate(self.buffers)
                if uses[index]
            ]
        )
        offsets = {buffer.index: buffer.offset for buffer in arena.buffers}

        def absolute(view: View) -> View:
            return replace(view, offset=view.offset + offsets[view.index]) if view.space == "arena" else view

        moved = []
        for step in steps:
            calls = tuple(
                replace(
                    call,
                    reads=tuple(map(absolute, call.reads)),
                    write=absolute(call.write),
                    scratch=absolute(call.scratch) if call.scratch else None,
                )
                for call in step.calls
            )
            moved.append(replace(step, calls=calls))
        views = {
            name: absolute(view) for name, view in self.views.items() if view.space != "arena" or view.index in offsets
        }
        return MappingProxyType(views), arena, moved


Scratch = Callable[[int], View]
"""Room in the arena for so many float32 numbers, for the time of one call or of those that name it."""


class ScratchRooms:
    """Adds rooms that no tensor lies in to those of a layout, whose elements have `element_bytes`."""

    def __init__(self, layout: Layout, element_bytes: int = 4) -> None:
        self._layout = layout
        self._rooms = list(layout.buffers)
        self._words = 4 // element_bytes

    def room(self, floats: int) -> View:
        """A view of `floats` float32 numbers, counted in the arena's elements."""
        size = floats * self._words
        self._rooms.append(Room((1, 1, 1, size), NO_HALO))
        return View("arena", len(self._rooms) - 1, 0, (1, 1, 1, size), (size, size, size, 1))

    def added(self) -> Layout:
        """The layout with the rooms."""
        return replace(self._layout, buffers=tuple(self._rooms))


def lay_out(
    graph: Graph,
    halo: Callable[[Graph, Node], Halo],
    spare: Callable[[Graph, Node], int] = lambda graph, node: 0,
    planes: frozenset[str] = frozenset(),
    *,
    converted: bool = False,
) -> Layout:
    """Decide where every tensor of `graph` lies.

    `halo` says which zero pixels a node reads around its first input, `spare` how many floats it wants between the
    pixels of that input. Images in `planes` lie row by row, the pixels of a channel side by side; nothing is beside
    them, and nobody looks at them as another shape. With `converted` the arena holds another type than the caller's
    arrays: all inputs are staged and all outputs copied.
    """
    home = _homes(graph)
    spares: dict[str, int] = {}
    halos: dict[str, Halo] = {}
    for node in graph.nodes:
        if node.inputs:
            root = home[node.inputs[0]]
            old, new = halos.get(root, NO_HALO), halo(graph, node)
            halos[root] = (max(old[0], new[0]), max(old[1], new[1]), max(old[2], new[2]), max(old[3], new[3]))
            spares[root] = max(spares.get(root, 0), spare(graph, node))
    aliases = _aliases(graph, home, halos, spares)

    views: dict[str, View] = {}
    buffers: list[Room] = []
    staged, copied = set(), set()

    def in_arena(name: str) -> View:
        if name in planes:
            buffers.append(Room(as_image(graph.types[name]), halos[name]))
            return View.rows_of_planes("arena", len(buffers) - 1, graph.types[name], halos[name])
        around, between = halos.get(name, NO_HALO), spares.get(name, 0)
        n, h, w, c = as_image(graph.types[name])
        buffers.append(Room((n, h, w, c + between), around))
        return View.packed("arena", len(buffers) - 1, graph.types[name], around, between)

    for index, tensor in enumerate(graph.inputs):
        if converted or any(halos.get(tensor.name, NO_HALO)) or spares.get(tensor.name):
            staged.add(tensor.name)
            views[tensor.name] = in_arena(tensor.name)
        else:
            views[tensor.name] = View.packed("input", index, tensor.type)

    direct = {} if converted else _direct_outputs(graph, home, halos, aliases)

    def place(name: str) -> View:
        """The view of a tensor that a node computes; hosts are placed with their first slice."""
        if name not in views:
            placement = graph.placements.get(name)
            if placement is not None:
                host = place(placement.host)
                views[name] = host.slice_channels(placement.channel, as_image(graph.types[name])[3])
            elif name in direct:
                views[name] = View.packed("output", direct[name], graph.types[name])
            else:
                views[name] = in_arena(name)
        return views[name]

    constants: dict[str, View] = {}
    packed = 0
    for node in graph.nodes:
        own = graph.types[node.name]
        if node.name in aliases:
            source = views[node.inputs[0]]
            channels = part_of_channels(graph, node)
            if channels is not None:
                source = source.slice_channels(*channels)
            elif not isinstance(node.op, Identity):
                source = replace(View.packed(source.space, source.index, own), offset=source.offset)
            views[node.name] = source
            continue
        if isinstance(node.op, Constant):
            constants[node.name] = replace(View.packed("weights", 0, own), offset=packed)
            packed += aligned(own.elements)
            if not (converted or any(halos.get(node.name, NO_HALO)) or spares.get(node.name)):
                views[node.name] = constants[node.name]
                continue
        place(node.name)
    for index, name in enumerate(graph.outputs):
        if views[name].space != "output" or views[name].index != index:
            copied.add(index)
    return Layout(
        graph,
        MappingProxyType(views),
        tuple(buffers),
        frozenset(staged),
        frozenset(aliases),
        frozenset(copied),
        MappingProxyType(constants),
    )


def _homes(graph: Graph) -> dict[str, str]:
    """For every tensor the one whose buffer it would share: through slices and plain views."""
    home = {tensor.name: tensor.name for tensor in graph.inputs}
    for node in reversed(graph.nodes):
        placement = graph.placements.get(node.name)
        home[node.name] = home[placement.host] if placement else node.name
    for node in graph.nodes:
        if isinstance(node.op, Identity) or part_of_channels(graph, node):
            home[node.name] = home[node.inputs[0]]
    return home


def _aliases(graph: Graph, home: Mapping[str, str], halos: Mapping[str, Halo], spares: Mapping[str, int]) -> set[str]:
    """The nodes that are another view of their input.

    A tensor of another shape must be dense: where its source has a halo or spare floats, or is a part, or where it
    needs them itself, it is a copy.
    """
    parts = set(graph.placements)
    aliases: set[str] = set()
    for node in graph.nodes:
        match node.op:
            case Identity():
                alias = True
            case Flatten() | Reshape():
                whole = node.inputs[0] not in parts and not _reorders(graph, node)
                ends = (home[node.inputs[0]], home[node.name])
                alias = whole and not any(any(halos.get(name, NO_HALO)) or spares.get(name) for name in ends)
            case Slice():
                alias = part_of_channels(graph, node) is not None
                parts |= {node.name} if alias else set()
            case _:
                continue
        if alias:
            aliases.add(node.name)
            parts |= {node.name} if node.inputs[0] in parts else set()
    return aliases


def part_of_channels(graph: Graph, node: Node) -> tuple[int, int] | None:
    """First and number of the channels of its input that `node` is, where it is no more than that."""
    return node.op.channels(graph.types[node.inputs[0]]) if isinstance(node.op, Slice) else None


def _reorders(graph: Graph, node: Node) -> bool:
    """Whether a flatten or reshape changes the order of the elements."""
    if not isinstance(node.op, Flatten | Reshape) or node.op.order == "hwc":
        return False
    images = [shape for tensor in (node.inputs[0], node.name) if len(shape := graph.types[tensor].shape) == 4]
    return any(shape[3] > 1 and shape[1] * shape[2] > 1 for shape in images)


def _direct_outputs(
    graph: Graph, home: Mapping[str, str], halos: Mapping[str, Halo], aliases: set[str]
) -> dict[str, int]:
    """Tensors that can be computed straight into the caller's output array, with its number.

    An output that is a view of a tensor hands the array on to that tensor.
    """
    inputs = {tensor.name for tensor in graph.inputs}
    producers = {node.name: node for node in graph.nodes}
    direct: dict[str, int] = {}
    for index, output in enumerate(graph.outputs):
        name = output
        while name in aliases and not isinstance(producers[name].op, Slice):
            name = producers[name].inputs[0]
        if name in inputs or name in direct or home[name] != name or any(halos.get(name, NO_HALO)):
            continue
        direct[name] = index
    return direct
