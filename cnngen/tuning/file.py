"""The file of tuned choices: JSON for people, by device and layer.

```json
{
  "cnngen_tuning": 1,
  "devices": {
    "AMD EPYC 7763, avx2, 1 thread, fast": {
      "conv2d kernel 3x3 ... bias relu: 1x56x56x64 -> 1x56x56x64": {
        "choice": {"algorithm": "winograd", "tile": "4x4", "block": 28},
        "microseconds": 1257.0,
        "planned": {"algorithm": "winograd", "tile": "4x4", "block": 14},
        "planned_microseconds": 1311.2
      }
    }
  },
  "networks": {
    "AMD EPYC 7763, avx2, 1 thread, fast": {
      "resnet18 0123456789abcdef": {"faster": true, "untuned_microseconds": 17012.0, "tuned_microseconds": 16310.5}
    }
  }
}
```

An empty `choice` is the plan's own: it was measured, and nothing was clearly faster. A device's name holds all that
decides the code beside the layer. A network that is not `faster` with the choices for its layers is planned without
them; its key says which layers and choices these are (`cnngen.tuning.whole`). Files of several machines can be merged:
no device stands in two of them.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnngen.errors import CacheError, Source, TuningError
from cnngen.store import open_store

FORMAT = 1
LARGEST = 1 << 26
"""Bytes of a file; a longer one is none of ours."""


def default_file() -> Path:
    """The user's own file, in the cache folder. Raises `TuningError` where there is none."""
    try:
        store = open_store()
    except (CacheError, OSError) as error:
        raise TuningError(f"no place for tuned choices: {error}", remedy="name a file: tune='tuning.json'") from error
    if store is None:
        raise TuningError("no place for tuned choices: no home folder", remedy="name a file: tune='tuning.json'")
    return store.root / "tuning.json"


class TuningFile:
    """The tuned choices at `path`, which need not exist yet. Raises `TuningError` for a file that is none of ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._devices, self._networks = self._read()

    def find(self, device: str, layer: str) -> Mapping[str, Any] | None:
        """The choice for a layer on a device, as its fields; None where it was not measured."""
        entry = self._devices.get(device, {}).get(layer)
        return None if entry is None else dict(entry["choice"])

    def add(self, device: str, layer: str, entry: Mapping[str, Any]) -> None:
        """Write an entry (with its `choice`) down, beside what others wrote in the meantime. Raises `TuningError`."""
        self._devices, self._networks = self._read()
        self._devices.setdefault(device, {})[layer] = dict(entry)
        self._write()

    def find_network(self, device: str, network: str) -> Mapping[str, Any] | None:
        """What came out when a network was measured with its tuned choices; None where it was not."""
        return self._networks.get(device, {}).get(network)

    def add_network(self, device: str, network: str, entry: Mapping[str, Any]) -> None:
        """Write down whether a network is `faster` with its tuned choices. Raises `TuningError`."""
        self._devices, self._networks = self._read()
        self._networks.setdefault(device, {})[network] = dict(entry)
        self._write()

    def _write(self) -> None:
        content: dict[str, Any] = {"cnngen_tuning": FORMAT, "devices": self._devices}
        if self._networks:
            content["networks"] = self._networks
        text = json.dumps(content, indent=2) + "\n"
        try:
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".tuning-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                Path(name).replace(self.path)
            except BaseException:
                with suppress(OSError):
                    Path(name).unlink()
                raise
        except OSError as error:
            raise TuningError(f"cannot write {self.path}: {error.strerror}", remedy="name another file") from error

    def _read(self) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        """What the file says of layers and of networks, by device."""
        remedy = "delete it, or name another file"
        try:
            with self.path.open("rb") as file:
                data = file.read(LARGEST + 1)
        except FileNotFoundError:
            return {}, {}
        except OSError as error:
            raise TuningError(f"cannot be read: {error.strerror}", remedy=remedy, source=self._source) from error
        try:
            found = json.loads(data) if len(data) <= LARGEST else None
        except ValueError as error:
            raise TuningError(f"is no JSON: {error}", remedy=remedy, source=self._source) from error
        if not isinstance(found, dict) or found.get("cnngen_tuning") != FORMAT:
            raise TuningError("is no file of tuned choices of this version", remedy=remedy, source=self._source)
        devices, networks = found.get("devices"), found.get("networks", {})
        if not isinstance(devices, dict) or not all(_have(layers, "choice", dict) for layers in devices.values()):
            raise TuningError("has entries without a choice", remedy=remedy, source=self._source)
        if not isinstance(networks, dict) or not all(_have(entries, "faster", bool) for entries in networks.values()):
            raise TuningError(
                "has networks of which it does not say if they are faster", remedy=remedy, source=self._source
            )
        return devices, networks

    @property
    def _source(self) -> Source:
        return Source(str(self.path))


def _have(entries: Any, field: str, kind: type) -> bool:
    """Whether all entries of a device have such a field."""
    return isinstance(entries, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get(field), kind) for entry in entries.values()
    )
