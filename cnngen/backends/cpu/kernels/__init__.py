"""What a generated CPU kernel is specialised to: one frozen dataclass for each template.

A kernel value holds every number that its template prints, and nothing about a particular layer:
two layers with equal kernels share one C function. Offsets and steps are in floats. Every C
function takes its inputs, its packed parameters, its output, then `thread` and `threads`.
"""

from cnngen.backends.cpu.kernels.base import Axis, Epilogue, Kernel, Strides, Strip, verify_strips
from cnngen.backends.cpu.kernels.convolution import ChannelBlocks, ConvKernel, Loop, Pixel, Tile, even_strips
from cnngen.backends.cpu.kernels.elementwise import Arithmetic, ElementwiseKernel, Operation
from cnngen.backends.cpu.kernels.movement import (
    BilinearKernel,
    CopyKernel,
    HaloKernel,
    PadKernel,
    ReshapeKernel,
    StridedCopyKernel,
    UpsampleKernel,
)
from cnngen.backends.cpu.kernels.planar_rows import PlanarRowsKernel
from cnngen.backends.cpu.kernels.pointwise import FillKernel, LrnKernel, PoolKernel, SoftmaxKernel
from cnngen.backends.cpu.kernels.reduction import ArgReduceKernel, MatMulKernel, ReduceKernel
from cnngen.backends.cpu.kernels.resize import ResizeKernel
from cnngen.backends.cpu.kernels.special_convolution import DepthwiseKernel, PlanarConvKernel
from cnngen.backends.cpu.kernels.statistics_norm import ChannelNormKernel, ImageNormKernel
from cnngen.backends.cpu.kernels.winograd import WinogradKernel
from cnngen.backends.cpu.kernels.winograd_rows import WinogradRowsKernel

AnyKernel = (
    ConvKernel
    | PlanarConvKernel
    | DepthwiseKernel
    | WinogradKernel
    | WinogradRowsKernel
    | PlanarRowsKernel
    | PoolKernel
    | ElementwiseKernel
    | ReduceKernel
    | ArgReduceKernel
    | MatMulKernel
    | FillKernel
    | LrnKernel
    | SoftmaxKernel
    | ImageNormKernel
    | ChannelNormKernel
    | CopyKernel
    | StridedCopyKernel
    | UpsampleKernel
    | BilinearKernel
    | PadKernel
    | ReshapeKernel
    | ResizeKernel
    | HaloKernel
)
"""Every kernel; a `match` over it ends in `assert_never`."""

__all__ = [
    "AnyKernel",
    "ArgReduceKernel",
    "Arithmetic",
    "Axis",
    "BilinearKernel",
    "ChannelBlocks",
    "ChannelNormKernel",
    "ConvKernel",
    "CopyKernel",
    "DepthwiseKernel",
    "ElementwiseKernel",
    "Epilogue",
    "FillKernel",
    "HaloKernel",
    "ImageNormKernel",
    "Kernel",
    "Loop",
    "LrnKernel",
    "MatMulKernel",
    "Operation",
    "PadKernel",
    "Pixel",
    "PlanarConvKernel",
    "PlanarRowsKernel",
    "PoolKernel",
    "ReduceKernel",
    "ReshapeKernel",
    "ResizeKernel",
    "SoftmaxKernel",
    "StridedCopyKernel",
    "Strides",
    "Strip",
    "Tile",
    "UpsampleKernel",
    "WinogradKernel",
    "WinogradRowsKernel",
    "even_strips",
    "verify_strips",
]
