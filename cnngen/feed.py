"""How a caller hands over the inputs of a network: one array, several by order, or several by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cnngen.errors import RunError
from cnngen.ir import Array, Input

Feed = Array | Sequence[Array] | Mapping[str, Array]


def bind(inputs: Sequence[Input], x: Feed) -> list[tuple[Input, Array]]:
    """Pair each input with its array, given one array, a sequence by order or a mapping by name.

    Raises `RunError` where names or number do not fit.
    """
    if isinstance(x, Mapping):
        names = {tensor.name for tensor in inputs}
        if set(x) != names:
            raise RunError(f"inputs {sorted(x)} were given, the network takes {sorted(names)}")
        return [(tensor, x[tensor.name]) for tensor in inputs]
    arrays = [x] if isinstance(x, np.ndarray) or not isinstance(x, Sequence) else list(x)
    if len(arrays) != len(inputs):
        names_in_order = ", ".join(tensor.name for tensor in inputs)
        raise RunError(f"{len(arrays)} inputs were given, the network takes {len(inputs)}: {names_in_order}")
    return list(zip(inputs, arrays, strict=True))
