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
__device__ __forceinline__ float act_swish(float x, float beta) { return x * act_sigmoid(beta * x); }
__device__ __forceinline__ float act_softsign(float x) { return x / (1.0f + fabsf(x)); }
__device__ __forceinline__ float act_thresholded_relu(float x, float threshold) { return x <= threshold ? 0.0f : x; }
__device__ __forceinline__ float act_tanh(float x) { return tanhf(x); }
__device__ __forceinline__ float act_elu(float x, float alpha) { return x < 0.0f ? alpha * expm1f(x) : x; }
__device__ __forceinline__ float act_celu(float x, float alpha) { return x < 0.0f ? alpha * expm1f(x / alpha) : x; }
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

__device__ __forceinline__ float act_exp(float x) { return expf(x); }
__device__ __forceinline__ float act_log(float x) { return logf(x); }
__device__ __forceinline__ float act_sqrt(float x) { return sqrtf(x); }
__device__ __forceinline__ float act_reciprocal(float x) { return 1.0f / x; }
__device__ __forceinline__ float act_erf(float x) { return erff(x); }
__device__ __forceinline__ float act_square(float x) { return x * x; }
__device__ __forceinline__ float act_abs(float x) { return fabsf(x); }
__device__ __forceinline__ float act_neg(float x) { return -x; }
__device__ __forceinline__ float act_round(float x) { return rintf(x); }
__device__ __forceinline__ float act_floor(float x) { return floorf(x); }
__device__ __forceinline__ float act_ceil(float x) { return ceilf(x); }
__device__ __forceinline__ float act_sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x + 0.0f; }
__device__ __forceinline__ float act_pow(float x, float exponent) { return powf(x, exponent); }
/* x^n for a constant n from -16 to 16 by squaring: no partial product is larger, or smaller, than the result. */
__device__ __forceinline__ float act_pow_whole(float x, int n)
{
    const int factors = n < 0 ? -n : n;
    float power = factors & 1 ? x : 1.0f;
    for (int bit = 2; bit <= factors; bit *= 2) {
        x *= x;
        if (factors & bit) power *= x;
    }
    return n < 0 ? 1.0f / power : power;
}
/* The square root as pow has it: that of -0 is 0, that of -infinity is infinite. */
__device__ __forceinline__ float act_pow_half(float x) { return x < -3.40282347e38f ? INFINITY : sqrtf(x + 0.0f); }
__device__ __forceinline__ float act_pow_minus_half(float x) { return 1.0f / act_pow_half(x); }

#endif
