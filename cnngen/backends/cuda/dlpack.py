"""DLPack for arrays on a GPU, without a compiled extension: the structures of dlpack.h (version 0.8) through ctypes."""

from __future__ import annotations

import ctypes
from typing import Any

CUDA = 2
"""kDLCUDA."""
FLOAT = 2
NAME, USED = b"dltensor", b"used_dltensor"


class _Device(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("number", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("rank", ctypes.c_int32),
        ("type", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _Tensor), ("owner", ctypes.c_void_p), ("deleter", _Deleter)]

_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))

_alive: dict[int, tuple[Any, ...]] = {}
"""What is lent, by the address of its structure: kept until the borrower calls the deleter."""


def _delete(managed: Any) -> None:
    _alive.pop(ctypes.addressof(managed.contents), None)


def _destroy(capsule: int) -> None:
    """Of a capsule: nobody took the tensor out of it."""
    if _is_valid(capsule, NAME):
        _alive.pop(_pointer(capsule, NAME), None)


_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


_deleter, _destructor = _Deleter(_delete), _Destructor(_destroy)


def capsule(owner: Any, address: int, shape: tuple[int, ...], device: int) -> Any:
    """A capsule with a float32 tensor in C order; `owner` is kept until the borrower is done."""
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    tensor = _Tensor(address, _Device(CUDA, device), len(shape), _Type(FLOAT, 32, 1), sizes, None, 0)
    managed = _Managed(tensor, None, _deleter)
    where = ctypes.addressof(managed)
    _alive[where] = (owner, managed, sizes)
    return _new(where, NAME, ctypes.cast(_destructor, ctypes.c_void_p))
