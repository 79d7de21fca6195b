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
  }
}
```

An empty `choice` is the plan's own: it was measured, and nothing was clearly faster. A device's name holds all that
decides the code beside the layer. Files of several machines can be merged: no device stands in two of them.
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
        self._devices = self._read()

    def find(self, device: str, layer: str) -> Mapping[str, Any] | None:
        """The choice for a layer on a device, as its fields; None where it was not measured."""
        entry = self._devices.get(device, {}).get(layer)
        return None if entry is None else dict(entry["choice"])

    def add(self, device: str, layer: str, entry: Mapping[str, Any]) -> None:
        """Write an entry (with its `choice`) down, beside what others wrote in the meantime. Raises `TuningError`."""
        self._devices = self._read()
        self._devices.setdefault(device, {})[layer] = dict(entry)
        text = json.dumps({"cnngen_tuning": FORMAT, "devices": self._devices}, indent=2) + "\n"
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

    def _read(self) -> dict[str, dict[str, Any]]:
        remedy = "delete it, or name another file"
        try:
            with self.path.open("rb") as file:
                data = file.read(LARGEST + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise TuningError(f"cannot be read: {error.strerror}", remedy=remedy, source=self._source) from error
        try:
            found = json.loads(data) if len(data) <= LARGEST else None
        except ValueError as error:
            raise TuningError(f"is no JSON: {error}", remedy=remedy, source=self._source) from error
        if not isinstance(found, dict) or found.get("cnngen_tuning") != FORMAT:
            raise TuningError("is no file of tuned choices of this version", remedy=remedy, source=self._source)
        devices = found.get("devices")
        if not isinstance(devices, dict) or not all(map(_are_entries, devices.values())):
            raise TuningError("has entries without a choice", remedy=remedy, source=self._source)
        return devices

    @property
    def _source(self) -> Source:
        return Source(str(self.path))


def _are_entries(layers: Any) -> bool:
    return isinstance(layers, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("choice"), dict) for entry in layers.values()
    )
