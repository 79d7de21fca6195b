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
    UpsampleKernel,
)
from cnngen.backends.cuda.kernels.pointwise import FillKernel, LrnKernel, SoftmaxKernel
from cnngen.backends.cuda.kernels.windows import DepthwiseKernel, GlobalPoolKernel, PoolKernel

AnyKernel = (
    BilinearKernel
    | CopyKernel
    | DenseKernel
    | DepthwiseKernel
    | ElementwiseKernel
    | FillKernel
    | GemmConvKernel
    | GlobalPoolKernel
    | LrnKernel
    | PadKernel
    | PoolKernel
    | ReduceSplitsKernel
    | ReshapeKernel
    | ResizeKernel
    | SoftmaxKernel
    | UpsampleKernel
)

__all__ = [
    "AnyKernel",
    "BilinearKernel",
    "CopyKernel",
    "CudaKernel",
    "DenseKernel",
    "DepthwiseKernel",
    "ElementwiseKernel",
    "Epilogue",
    "FillKernel",
    "GemmConvKernel",
    "GlobalPoolKernel",
    "Launch",
    "LrnKernel",
    "PadKernel",
    "PoolKernel",
    "ReduceSplitsKernel",
    "ReshapeKernel",
    "ResizeKernel",
    "SoftmaxKernel",
    "UpsampleKernel",
]
