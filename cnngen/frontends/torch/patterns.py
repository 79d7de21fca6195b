"""What PyTorch writes as several ops and the graph has as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnngen.frontends.torch.handlers.normalise import local_response_norm
from cnngen.frontends.torch.handlers.shape import channel_shuffle

if TYPE_CHECKING:
    from torch.fx import Graph, Node


@dataclass
class Recognised:
    """`calls` maps the last node of a pattern to a handler and its arguments; `inner` are the nodes it replaces."""

    calls: dict[Node, tuple[Callable[..., Any], dict[str, Any]]] = field(default_factory=dict)
    inner: set[Node] = field(default_factory=set)


def recognise(graph: Graph) -> Recognised:
    """Every pattern in `graph` whose inner results nobody else reads."""
    found = Recognised()
    for node in graph.nodes:
        for pattern, handler in ((_response_norm, local_response_norm), (_shuffle, channel_shuffle)):
            match = pattern(node)
            if match is None:
                continue
            inner, arguments = match
            if all(user in inner or user is node for one in inner for user in one.users):
                found.calls[node] = (handler, arguments)
                found.inner |= inner
    return found


def _response_norm(node: Node) -> tuple[set[Node], dict[str, Any]] | None:
    """`torch.nn.functional.local_response_norm`: ``x / (k + alpha mean(x^2 over channels))^beta``.

    The mean is an average pooling over the channels, after padding them with zeros.
    """
    walk = _Walk()
    power = walk.argument(node, "div.Tensor", 1)
    total = walk.argument(power, "pow.Tensor_Scalar", 0)
    scaled = walk.argument(total, "add.Tensor", 0)
    mean = walk.past_views(walk.argument(scaled, "mul.Tensor", 0))
    padded = walk.argument(mean, "avg_pool3d.default", 0) or walk.argument(mean, "avg_pool2d.default", 0)
    square = walk.past_views(
        walk.argument(padded, "pad.default", 0) or walk.argument(padded, "constant_pad_nd.default", 0)
    )
    x = node.args[0] if node.args else None
    if square is None or _name(square) != "mul.Tensor" or not square.args[0] is square.args[1] is x:
        return None
    if power is None or total is None or scaled is None or mean is None or padded is None:
        return None
    kernel, stride = mean.args[1], mean.args[2]
    sides = padded.args[1]
    size = kernel[0]
    below, above = size // 2, (size - 1) // 2
    if list(sides)[-2:] != [below, above] or any(list(sides)[:-2]) or {*stride, *kernel[1:]} - {1}:
        return None
    arguments = {"x": x, "size": size, "alpha": scaled.args[1], "beta": power.args[1], "k": total.args[1]}
    if any(not isinstance(arguments[name], int | float) for name in ("alpha", "beta", "k")):
        return None
    return {*walk.passed, square} - {node}, arguments


def _shuffle(node: Node) -> tuple[set[Node], dict[str, Any]] | None:
    """A channel shuffle: channels as a matrix of groups, its transpose, and one axis of channels again."""
    walk = _Walk()
    swapped = walk.past_views(node, copies=True)
    if swapped is None or swapped is node or _name(swapped) not in ("transpose.int", "permute.default"):
        return None
    grouped = swapped.args[0]
    x = walk.argument(grouped, "view.default", 0) or walk.argument(grouped, "reshape.default", 0)
    if x is None or any("val" not in one.meta for one in (x, grouped, swapped, node)):
        return None
    before, parts, end = (tuple(one.meta["val"].shape) for one in (x, grouped, node))
    if len(before) != 4 or len(parts) != 5 or end != before or parts[3:] != before[2:] or parts[0] != before[0]:
        return None
    axes = [1, 2] if _name(swapped) == "transpose.int" else [0, 2, 1, 3, 4]
    if sorted(swapped.args[1:]) != axes if len(axes) == 2 else list(swapped.args[1]) != axes:
        return None
    return {*walk.passed, swapped} - {node}, {"x": x, "groups": parts[1]}


VIEWS = frozenset(("view.default", "unsqueeze.default", "squeeze.dim", "squeeze.dims", "_unsafe_view.default"))

COPIES = frozenset(("reshape.default", "clone.default", "contiguous.default"))


class _Walk:
    """Steps from a node to those it reads, noting which were passed."""

    def __init__(self) -> None:
        self.passed: set[Node] = set()

    def argument(self, node: Node | None, name: str, index: int) -> Node | None:
        """Argument number `index` of `node`, if that is the op `name`."""
        if node is None or _name(node) != name or len(node.args) <= index:
            return None
        found = node.args[index]
        if not hasattr(found, "users"):  # a number
            return None
        self.passed.add(node)
        return found

    def past_views(self, node: Node | None, *, copies: bool = False) -> Node | None:
        """The first node that is no view, from `node` on upwards; with `copies` reshapes and copies are passed, too."""
        while node is not None and (_name(node) in VIEWS or (copies and _name(node) in COPIES)):
            self.passed.add(node)
            node = node.args[0]
        return node


def _name(node: Node) -> str:
    return str(node.target).removeprefix("aten.") if node.op == "call_function" else ""
