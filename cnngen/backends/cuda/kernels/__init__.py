"""The kernels, each a frozen value that holds everything its template prints."""

from cnngen.backends.cuda.kernels.base import CudaKernel, Launch
from cnngen.backends.cuda.kernels.convolution import GemmConvKernel
from cnngen.backends.cuda.kernels.pointwise import CopyKernel

AnyKernel = GemmConvKernel | CopyKernel

__all__ = ["AnyKernel", "CopyKernel", "CudaKernel", "GemmConvKernel", "Launch"]
