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
__device__ __forceinline__ float act_elu(float x, float alpha) { return x < 0.0f ? alpha * expm1f(x) : x; }
__device__ __forceinline__ float act_selu(float x)
{
    return 1.05070099f * act_elu(x, 1.67326324f);
}
/* ln(1 + e^x), with a logarithm next to 1 that does not cancel. */
__device__ __forceinline__ float act_softplus(float x)
{
    return max_nan(x, 0.0f) + log1pf(expf(-fabsf(x)));
}
/* x tanh(ln(1 + e^x)) = x m / (m + 2) with m = e^x (e^x + 2); beyond 20 the quotient is 1. */
__device__ __forceinline__ float act_mish(float x)
{
    const float e = expf(fminf(x, 20.0f)), m = e * (e + 2.0f);
    return x * (m / (m + 2.0f));
}
/* x P(X < x) for a normal X. */
__device__ __forceinline__ float act_gelu(float x) { return x * normcdff(x); }
__device__ __forceinline__ float act_gelu_tanh(float x)
{
    const float exponent = 1.59576912f * x * fmaf(0.044715f * x, x, 1.0f);
    return x * act_sigmoid(exponent);
}

#endif
