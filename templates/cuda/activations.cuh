/* Activation functions; NaN stays NaN, as in NumPy. */
#ifndef CNNGEN_ACTIVATIONS_CUH
#define CNNGEN_ACTIVATIONS_CUH

#include "device.cuh"

__device__ __forceinline__ float act_relu(float x) { return x < 0.0f ? 0.0f : x; }
__device__ __forceinline__ float act_clip(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}
__device__ __forceinline__ float act_relu6(float x) { return act_clip(x, 0.0f, 6.0f); }
__device__ __forceinline__ float act_leaky_relu(float x, float slope) { return x < 0.0f ? slope * x : x; }
__device__ __forceinline__ float act_hard_sigmoid(float x, float slope, float shift)
{
    return act_clip(fmaf(slope, x, shift), 0.0f, 1.0f);
}
__device__ __forceinline__ float act_hard_swish(float x)
{
    return x * act_hard_sigmoid(x, 1.0f / 6.0f, 0.5f);
}
__device__ __forceinline__ float act_sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ float act_silu(float x) { return x * act_sigmoid(x); }
__device__ __forceinline__ float act_tanh(float x) { return tanhf(x); }

#endif
