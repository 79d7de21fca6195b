"""The kernels, each a frozen value that holds everything its template prints."""

from cnngen.backends.cuda.kernels.base import CudaKernel, Epilogue, Launch
from cnngen.backends.cuda.kernels.convolution import DenseKernel, GemmConvKernel, ReduceSplitsKernel
from cnngen.backends.cuda.kernels.elementwise import ElementwiseKernel
from cnngen.backends.cuda.kernels.movement import (
    BilinearKernel,
    CopyKernel,
    PadKernel,
    ReshapeKernel,
    ResizeKernel,
    StridedCopyKernel,
    UpsampleKernel,
)
from cnngen.backends.cuda.kernels.pointwise import FillKernel, LrnKernel, SoftmaxKernel
from cnngen.backends.cuda.kernels.reduction import ArgReduceKernel, MatMulKernel, ReduceKernel
from cnngen.backends.cuda.kernels.statistics_norm import ChannelNormKernel, ImageNormKernel
from cnngen.backends.cuda.kernels.windows import DepthwiseKernel, GlobalPoolKernel, PoolKernel

AnyKernel = (
    BilinearKernel
    | ChannelNormKernel
    | CopyKernel
    | DenseKernel
    | DepthwiseKernel
    | ElementwiseKernel
    | FillKernel
    | GemmConvKernel
    | GlobalPoolKernel
    | ImageNormKernel
    | LrnKernel
    | PadKernel
    | PoolKernel
    | ReduceSplitsKernel
    | ReshapeKernel
    | ResizeKernel
    | SoftmaxKernel
    | StridedCopyKernel
    | ReduceKernel
    | ArgReduceKernel
    | MatMulKernel
    | UpsampleKernel
)

__all__ = [
    "AnyKernel",
    "ArgReduceKernel",
    "BilinearKernel",
    "ChannelNormKernel",
    "CopyKernel",
    "CudaKernel",
    "DenseKernel",
    "DepthwiseKernel",
    "ElementwiseKernel",
    "Epilogue",
    "FillKernel",
    "GemmConvKernel",
    "GlobalPoolKernel",
    "ImageNormKernel",
    "Launch",
    "LrnKernel",
    "MatMulKernel",
    "PadKernel",
    "PoolKernel",
    "ReduceKernel",
    "ReduceSplitsKernel",
    "ReshapeKernel",
    "ResizeKernel",
    "SoftmaxKernel",
    "StridedCopyKernel",
    "UpsampleKernel",
]
