"""Loads device code and runs a network on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from cnngen.backends.cuda.launches import Description
from cnngen.errors import DeviceError
from cnngen.ir import Array


def load(image: bytes | Path, description: Description, weights: Array, device: int = 0) -> NoReturn:
    """Load the network that `description` describes onto GPU number `device`.

    `image` is a cubin or a fatbin, or the path of one; `weights` the packed blob (`backends.pack_weights`). The result
    has the functions of `cnngen.backends.cpu.loader.Library`, so that `Network` takes it. Raises `DeviceError`.
    """
    del image, description, weights, device
    raise DeviceError("this version cannot run device code yet", remedy="use target='cuda-emulated'")
