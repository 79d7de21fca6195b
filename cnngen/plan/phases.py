"""Views of the phases of a transposed convolution: every so many rows and columns of its output."""

from __future__ import annotations

from dataclasses import replace

from cnngen.ops.conv2d_transpose import Phase
from cnngen.plan.memory import View


def phase_view(view: View, stride: tuple[int, int], rows: Phase, columns: Phase) -> View:
    """The elements of `view` that lie in these phases."""
    n, h, w, c = view.strides
    return replace(
        view,
        offset=view.offset + rows.first * h + columns.first * w,
        shape=(view.shape[0], rows.count, columns.count, view.shape[3]),
        strides=(n, h * stride[0], w * stride[1], c),
    )
