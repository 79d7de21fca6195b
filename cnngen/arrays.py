"""Arrays in `.npy` and `.npz` files: what `cnngen run` reads and writes."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cnngen.errors import RunError
from cnngen.ir import Array


def load_arrays(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """The arrays for the inputs `names`, in that order.

    A `.npy` file holds the only input; a `.npz` file one array for each input by name, or a single
    array of any name for a single input. Files with Python objects are refused. Raises `RunError`.
    """
    if not path.is_file():
        raise RunError(f"{path}: {'is no regular file' if path.exists() else 'no such file'}")
    if path.suffix not in (".npy", ".npz"):
        raise RunError(f"{path}: unknown kind of input", remedy="give a .npy or .npz file, or a picture such as .png")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays = {"": loaded}
        else:
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: cannot be read as an array: {error}", remedy="write it with numpy.save") from None
    if len(names) == 1 and len(arrays) == 1:
        return {names[0]: next(iter(arrays.values()))}
    if missing := [name for name in names if name not in arrays]:
        holds = ", ".join(arrays) if path.suffix == ".npz" else "a single array"
        raise RunError(
            f"{path}: has no array for {', '.join(missing)} (holds {holds})",
            remedy=f"write it with numpy.savez(file, {', '.join(f'{name}=...' for name in names)})",
        )
    return {name: arrays[name] for name in names}


def save_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write one array as `.npy`, or all by name as `.npz`. Raises `RunError` for several in a `.npy`."""
    if path.suffix == ".npz":
        np.savez(path, allow_pickle=False, **arrays)
        return
    if len(arrays) != 1:
        raise RunError(f"{path}: the network has outputs {', '.join(arrays)}", remedy="write them to a .npz file")
    np.save(path, next(iter(arrays.values())), allow_pickle=False)
