"""The kernels, each a frozen value that holds everything its template prints."""

from cnngen.backends.cuda.kernels.base import CudaKernel, Epilogue, Launch
from cnngen.backends.cuda.kernels.convolution import DenseKernel, GemmConvKernel, ReduceSplitsKernel
from cnngen.backends.cuda.kernels.elementwise import ElementwiseKernel
from cnngen.backends.cuda.kernels.pointwise import CopyKernel, FillKernel, LrnKernel, SoftmaxKernel, UpsampleKernel
from cnngen.backends.cuda.kernels.windows import DepthwiseKernel, GlobalPoolKernel, PoolKernel

AnyKernel = (
    CopyKernel
    | DenseKernel
    | DepthwiseKernel
    | ElementwiseKernel
    | FillKernel
    | GemmConvKernel
    | GlobalPoolKernel
    | LrnKernel
    | PoolKernel
    | ReduceSplitsKernel
    | SoftmaxKernel
    | UpsampleKernel
)

__all__ = [
    "AnyKernel",
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
    "PoolKernel",
    "ReduceSplitsKernel",
    "SoftmaxKernel",
    "UpsampleKernel",
]
