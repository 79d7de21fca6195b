"""Several ONNX nodes that are one op of cnngen: found by their connections, and converted together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnngen.frontends.onnx.structure import STANDARD
from cnngen.frontends.onnx.values import Tensor, Value

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Shuffle:
    """A Reshape, a Transpose and a Reshape, each read by the next one only: perhaps a channel shuffle."""

    split: onnx.NodeProto
    turn: onnx.NodeProto
    join: onnx.NodeProto

    @property
    def inner(self) -> tuple[onnx.NodeProto, onnx.NodeProto]:
        """The nodes whose results nothing else reads."""
        return self.split, self.turn

    def groups(self, values: Mapping[str, Value]) -> int | None:
        """The number of groups whose channels are dealt out in turn; None where the nodes do something else.

        That is (batch, groups, channels / groups, ...), whose axes 1 and 2 change places, in the shape from before.
        """
        x, sizes, whole = (values.get(name) for name in (*self.split.input[:2], self.join.input[1]))
        if not isinstance(x, Tensor) or x.rank != 4 or isinstance(sizes, Tensor) or isinstance(whole, Tensor):
            return None
        if sizes is None or whole is None:
            return None
        split = [int(size) for size in np.asarray(sizes).reshape(-1)]
        perm = next((list(item.ints) for item in self.turn.attribute if item.name == "perm"), [])
        if len(split) < 4 or perm != [0, 2, 1, *range(3, len(split))]:
            return None
        groups = split[1] if split[1] > 0 else -1
        if groups < 1 or x.shape[1] % groups:
            return None
        rest = list(x.shape[2:]) if len(split) == 5 else [x.shape[2] * x.shape[3]]
        same = _is(split, [x.shape[0], groups, x.shape[1] // groups, *rest], x.shape[:1])
        back = _is([int(size) for size in np.asarray(whole).reshape(-1)], list(x.shape), x.shape[:1])
        return groups if same and back else None


def _is(sizes: list[int], shape: list[int], kept: tuple[int, ...]) -> bool:
    """Whether a Reshape to `sizes` gives `shape`: -1 stands for what is left, 0 for the size of `kept` there."""
    if len(sizes) != len(shape) or sizes.count(-1) > 1:
        return False
    return all(
        size in (own, -1) or (size == 0 and axis < len(kept) and kept[axis] == own)
        for axis, (size, own) in enumerate(zip(sizes, shape, strict=True))
    )


def shuffles(nodes: Iterable[onnx.NodeProto], outputs: frozenset[str]) -> dict[str, Shuffle]:
    """What may be a channel shuffle, by the name of its result; `outputs` are those of the model."""
    nodes = list(nodes)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def only(node: onnx.NodeProto, kind: str) -> onnx.NodeProto | None:
        """The one node that reads the result of `node`, where it is of this kind."""
        found = readers.get(node.output[0], []) if node.output else []
        if len(found) != 1 or node.output[0] in outputs or found[0].input[0] != node.output[0]:
            return None
        return found[0] if found[0].op_type == kind and found[0].domain in STANDARD else None

    found: dict[str, Shuffle] = {}
    for node in nodes:
        if node.op_type != "Reshape" or node.domain not in STANDARD or len(node.input) != 2:
            continue
        if node.output and node.output[0] in found:  # the end of one is not the beginning of another
            continue
        turn = only(node, "Transpose")
        join = only(turn, "Reshape") if turn is not None else None
        if turn is not None and join is not None and len(join.input) == 2 and join.output:
            found[join.output[0]] = Shuffle(node, turn, join)
    return found
