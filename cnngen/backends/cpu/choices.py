"""How single layers are to be computed: what the planner decides, what tuning found, what a test forces.

A `Choice` names an algorithm and its sizes; what it leaves at 0 the planner decides. `Choices` are part of the
`Target`: a plan is a function of graph and target, whoever made the choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from cnngen.errors import PlanError

if TYPE_CHECKING:
    from cnngen.ops import Conv2D, Dense

Algorithm = Literal["direct", "planar", "depthwise", "winograd", "rows", "planar rows"]
Image = tuple[int, int, int, int]


class Choice(NamedTuple):
    """How a convolution or dense layer is computed.

    `vectors` of output channels and at most `pixels` make a register tile; `row` is how many pixels are tiled as one
    row. Winograd's algorithm computes tiles of `tile` (rows, columns) results, `block` of them at a time; `rows` is the
    one along the height, whose tiles have one column, and `planar rows` the same on one channel with vectors along the
    width. The tile of a depthwise convolution has at most so many rows and columns. 0: as the planner thinks best.
    """

    algorithm: Algorithm
    vectors: int = 0
    pixels: int = 0
    row: int = 0
    tile: tuple[int, int] = (0, 0)
    block: int = 0

    def __str__(self) -> str:
        sizes = {
            "winograd": f"winograd F({self.tile[0]}x{self.tile[1]})",
            "rows": f"winograd F({self.tile[0]}) along the height",
            "planar rows": f"planar winograd F({self.tile[0]}) along the height",
        }
        if self.algorithm == "depthwise" and any(self.tile):
            sizes["depthwise"] = f"depthwise, {self.tile[0] or 'any'}x{self.tile[1] or 'any'} tile"
        name = sizes.get(self.algorithm, self.algorithm)
        parts = [f"{self.block} tiles at a time"] if self.block else []
        parts += [f"{self.pixels or 'any'}x{self.vectors or 'any'} tile"] if self.pixels or self.vectors else []
        parts += [f"rows of {self.row}"] if self.row else []
        return ", ".join([name, *parts])

    def as_json(self) -> dict[str, Any]:
        """The fields that say something; a tile as `2x4`."""
        fields = {key: value for key, value in self._asdict().items() if value and key != "tile"}
        return fields | ({"tile": f"{self.tile[0]}x{self.tile[1]}"} if any(self.tile) else {})

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> Choice:
        """Raises `PlanError` for what is no choice."""
        unknown = set(fields) - set(Choice._fields)
        tile = str(fields.get("tile", "0x0")).split("x")
        sizes = [value for key, value in fields.items() if key not in ("algorithm", "tile")]
        if unknown or fields.get("algorithm") not in get_args(Algorithm):
            raise PlanError(f"{dict(fields)} is no choice of an algorithm and its sizes")
        if not all(type(size) is int and 0 <= size <= 1 << 20 for size in sizes):
            raise PlanError(f"the sizes of {dict(fields)} are no small whole numbers")
        if len(tile) != 2 or not all(side.isdecimal() and len(side) < 4 for side in tile):
            raise PlanError(f"the tile of {dict(fields)} is no size such as 2x4")
        return Choice(**{**fields, "tile": (int(tile[0]), int(tile[1]))})


class Choices(NamedTuple):
    """Choices by `layer_key`."""

    items: tuple[tuple[str, Choice], ...] = ()

    @staticmethod
    def of(choices: Mapping[str, Choice]) -> Choices:
        return Choices(tuple(sorted(choices.items(), key=lambda item: item[0])))

    def find(self, op: Conv2D | Dense, source: Image, output: Image) -> Choice | None:
        """The choice for a layer, if there is one."""
        if not self.items:
            return None
        key = layer_key(op, source, output)
        return next((choice for name, choice in self.items if name == key), None)


NO_CHOICES = Choices()


def unpooled(op: Conv2D, output: Image) -> tuple[Conv2D, Image]:
    """The layer without the pooling that is fused into it, and the shape of its own results."""
    n, h, w, c = output
    return op.unpooled, (n, h * op.pool[0], w * op.pool[1], c)


def layer_key(op: Conv2D | Dense, source: Image, output: Image) -> str:
    """What makes two layers the same to compute: op and shapes (n, h, w, c), not names or values."""
    words = [op.kind]
    for name, value in vars(op).items():
        if name in ("filters", "units", "activation") or (name == "pool" and value == (1, 1)):
            continue  # the first two are in the output's shape
        if isinstance(value, bool):
            words += [name.removeprefix("use_")] if value else []
        else:
            words.append(f"{name} {'x'.join(map(str, value)) if isinstance(value, tuple) else value}")
    if op.activation is not None:
        alpha, beta = op.activation.alpha, op.activation.beta
        words.append(op.activation.function + (f"({alpha:g}, {beta:g})" if alpha or beta else ""))
    return f"{' '.join(words)}: {'x'.join(map(str, source))} -> {'x'.join(map(str, output))}"
