"""Tiles that tuning found, or a test forces, for single layers: part of the target, whose function a plan is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from cnngen.errors import PlanError

if TYPE_CHECKING:
    from cnngen.backends.cuda.kernels.convolution import Tile

SIZES = {"pixels": 128, "channels": 128, "stages": 8, "splits": 64}
"""The fields of a tile that are numbers, and how large they can be."""


class TileChoices(NamedTuple):
    """Tiles by the key of the layer (`cnngen.backends.cpu.choices.layer_key`)."""

    items: tuple[tuple[str, Tile], ...] = ()

    @staticmethod
    def of(tiles: Mapping[str, Tile]) -> TileChoices:
        return TileChoices(tuple(sorted(tiles.items(), key=lambda item: item[0])))

    def find(self, key: str) -> Tile | None:
        """The tile for a layer, if one was chosen."""
        return next((tile for name, tile in self.items if name == key), None)


NO_CHOICES = TileChoices()


def fields_of(tile: Tile) -> dict[str, Any]:
    """A tile as it stands in the file of tuned choices."""
    return {**asdict(tile), "warps": list(tile.warps)}


def tile_of(fields: Mapping[str, Any]) -> Tile:
    """What `fields_of` wrote. Raises `PlanError` for anything else; `GemmConvKernel.verify` checks the rest."""
    from cnngen.backends.cuda.kernels.convolution import Tile  # which needs the target, and that this module

    warps = fields.get("warps")
    if set(fields) != {*SIZES, "warps"} or not isinstance(warps, list | tuple) or len(warps) != 2:
        raise PlanError(f"{dict(fields)} is no tile")
    if not all(type(fields[name]) is int and 1 <= fields[name] <= most for name, most in SIZES.items()):
        raise PlanError(f"the sizes of {dict(fields)} are none of a tile")
    down, across = warps
    if not all(type(count) is int and count in (1, 2, 4, 8) for count in (down, across)):
        raise PlanError(f"the warps of {dict(fields)} are none of a tile")
    return Tile(fields["pixels"], fields["channels"], (down, across), fields["stages"], fields["splits"])
