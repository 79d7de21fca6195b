"""How the sets of elements that share a mean lie in a tensor: what the backends make normalisation kernels from."""

from __future__ import annotations

from dataclasses import dataclass

from cnngen.ops import GroupNorm, InstanceNorm, LayerNorm
from cnngen.plan.memory import View

Four = tuple[int, int, int, int]


@dataclass(frozen=True)
class NormSets:
    """`over_channels`: each pixel is a set, and with `grouped` the columns have gamma and beta of their own.

    Otherwise the pixels of `groups` groups of channels are; with `per_element` gamma and beta have the
    shape of the image. Shape and strides are those of the tensors seen so.
    """

    over_channels: bool
    shape: Four
    in_strides: Four
    out_strides: Four
    groups: int = 1
    per_element: bool = False

    @property
    def grouped(self) -> bool:
        return self.groups > 1


def norm_sets(op: InstanceNorm | GroupNorm | LayerNorm, read: View, write: View) -> NormSets:
    """The sets of `op`. Those of an image of one pixel are runs of channels, whatever the op."""
    n, height, width, channels = write.shape
    if isinstance(op, LayerNorm) and op.axes == "channels":
        return NormSets(True, write.shape, read.strides, write.strides)
    per_element = isinstance(op, LayerNorm)
    groups = op.groups if isinstance(op, GroupNorm) else channels if isinstance(op, InstanceNorm) else 1
    if height * width == 1 and groups < channels:
        size = channels // groups
        in_strides, out_strides = ((view.strides[0], 0, size, 1) for view in (read, write))
        return NormSets(True, (n, 1, groups, size), in_strides, out_strides, groups)
    return NormSets(False, write.shape, read.strides, write.strides, groups, per_element)
