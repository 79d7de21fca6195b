"""Arrays of other libraries, above all PyTorch's tensors, as NumPy arrays over the same memory, and back."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from cnngen.errors import RunError
from cnngen.ir import Array


def is_torch(value: object) -> bool:
    """Whether `value` is a PyTorch tensor; PyTorch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def as_array(what: str, value: Any) -> Array:
    """`value` as a NumPy array over its own memory: a PyTorch tensor, or whatever speaks DLPack, on the CPU.

    Types and layouts are looked at later. Raises `RunError`, which calls it `what`, for a tensor on another device,
    one that autograd follows (a network has no gradient), and for values that are no arrays.
    """
    if isinstance(value, np.ndarray):
        return value
    if is_torch(value):
        return _of_torch(what, value)
    if not hasattr(value, "__dlpack__"):
        raise RunError(
            f"{what} is a {type(value).__name__}, not an array or tensor", remedy="use numpy.asarray(x, 'float32')"
        )
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise RunError(
            f"{what} is a {type(value).__name__} that NumPy cannot read: {error}",
            remedy="move it to the memory of the CPU",
        ) from None


def _of_torch(what: str, tensor: Any) -> Array:
    torch = sys.modules["torch"]
    if tensor.device.type != "cpu":
        raise RunError(f"{what} is on {tensor.device}, not on the CPU", remedy="call .cpu() on it")
    if tensor.requires_grad and torch.is_grad_enabled():
        raise RunError(
            f"{what} requires a gradient, which a compiled network does not have",
            remedy="call the network under torch.no_grad(), or on x.detach()",
        )
    if tensor.dtype != torch.float32:
        name = str(tensor.dtype).removeprefix("torch.")
        raise RunError(f"{what} has dtype {name}, not float32", remedy="use x.float()")
    if tensor.layout != torch.strided:
        raise RunError(f"{what} is a sparse tensor", remedy="use x.to_dense()")
    array: Array = tensor.detach().resolve_neg().numpy()
    return array


def to_torch(array: Array) -> Any:
    """A PyTorch tensor over the memory of `array`."""
    return sys.modules["torch"].from_numpy(array)


def on_gpu(value: object) -> bool:
    """Whether `value` is an array in the memory of a GPU: of PyTorch, CuPy, pycuda, this package or others."""
    if isinstance(value, np.ndarray):
        return False
    if is_torch(value):
        return bool(value.is_cuda)  # type: ignore[attr-defined]  # a tensor
    return hasattr(value, "__cuda_array_interface__")


def gpu_to_torch(array: Any) -> Any:
    """A PyTorch tensor over the memory of `array` on a GPU."""
    return sys.modules["torch"].from_dlpack(array)
