"""How kernels reach the tensors: the type of their numbers, and how many of them can be moved at once."""

from __future__ import annotations

from collections.abc import Sequence

from cnngen.backends.cuda.target import CudaTarget
from cnngen.backends.cuda.tiling import vector_width
from cnngen.plan.memory import View


def c_type(view: View, target: CudaTarget) -> str:
    """The caller's arrays are float32; the arena holds numbers of the target's precision."""
    return target.precision.element if view.space == "arena" else "float"


def common_width(views: Sequence[View], target: CudaTarget) -> int:
    """Channels that can be loaded and stored together in all these tensors of equally many channels."""
    numbers = [number for view in views for number in (*pixel_distances(view), view.shape[3])]
    return vector_width(tuple(numbers), target.precision.element_bytes)


def pixel_distances(view: View) -> list[int]:
    """The distances that pixels of a tensor lie from an aligned address; the caller's arrays may lie anywhere."""
    return distances(view, view.shape[:3], view.strides[:3])


def distances(view: View, counts: Sequence[int], strides: Sequence[int]) -> list[int]:
    """The same where the tensor is taken in loops of so many rounds with these strides."""
    if view.space != "arena":
        return [1]
    return [view.offset, *(stride for count, stride in zip(counts, strides, strict=True) if count > 1)]
