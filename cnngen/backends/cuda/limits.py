"""What kernels and launches cannot go beyond: indices are 32-bit numbers, and a grid has limits of its own.

Indices are counted in elements from the beginning of a tensor; addresses are computed in 64 bits. So a tensor may have
more than 2^31 bytes, and the arena as many as the GPU has.
"""

from __future__ import annotations

from cnngen.backends.cuda.kernels import AnyKernel, GemmConvKernel
from cnngen.errors import TargetError
from cnngen.plan.memory import View
from cnngen.plan.steps import Call

INDEX_LIMIT = 1 << 31
GRID_LIMITS = ((1 << 31) - 1, 65535, 65535)
"""Blocks along x, y and z (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability")."""
SMALLER = "use a smaller batch or smaller images, or target='cpu'"


def verify_limits(call: Call[AnyKernel], layer: str) -> None:
    """Raise `TargetError` unless every index that the kernel computes, and its grid, are in range."""
    kernel, launch = call.kernel, call.kernel.launch
    for view in call.views:
        _check(_extent(view), "a tensor", layer, SMALLER)
    for size, kind in zip(kernel.parameter_sizes, kernel.parameter_types, strict=True):
        elements = size * (1 if kind == "float" else 4 // kernel.element_bytes)
        _check(elements, "an array of weights", layer, "use a smaller layer, or target='cpu'")
    # Threads behind the last element compute their index before they find that they have nothing to do.
    _check(launch.grid[0] * max(launch.threads, _block_elements(kernel)), "the work", layer, SMALLER)
    for count, limit, axis in zip(launch.grid, GRID_LIMITS, "xyz", strict=True):
        if count > limit:
            raise TargetError(
                f"{count:,} blocks along {axis} of the grid of a kernel, a GPU takes {limit:,}",
                layer=layer,
                remedy=SMALLER,
            )


def splits_fit(groups: int, splits: int) -> bool:
    """Whether a grid can have so many parts of so many groups along z."""
    return groups * splits <= GRID_LIMITS[2]


def _check(elements: int, what: str, layer: str, remedy: str) -> None:
    if elements >= INDEX_LIMIT:
        raise TargetError(
            f"{what} of {elements:,} elements is beyond the 2^31 that a CUDA kernel can address",
            layer=layer,
            remedy=remedy,
        )


def _extent(view: View) -> int:
    """Elements from the first to the last one."""
    return 1 + sum((count - 1) * step for count, step in zip(view.shape, view.strides, strict=True) if count)


def _block_elements(kernel: AnyKernel) -> int:
    """Pixels that a block counts."""
    return kernel.tile_pixels if isinstance(kernel, GemmConvKernel) else 1
