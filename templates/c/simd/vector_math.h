/* Functions on vectors, written in the vocabulary of simd.h: the same bits on every ISA with FMA. */
#ifndef CNNGEN_MATH_H
#define CNNGEN_MATH_H

#include "simd.h"

/* e^x, relative error below 4 * 2^-24; the range is reduced by multiples of ln 2 (in two parts, the
   first with few bits, so that its product is exact), then the Taylor series to degree 7. */
static inline v_t v_exp(v_t x)
{
    x = v_min(v_set1(89.0f), v_max(v_set1(-104.0f), x));
    const v_t n = v_round(v_mul(x, v_set1(1.44269504f)));
    v_t r = v_fma(n, v_set1(-0.693359375f), x);
    r = v_fma(n, v_set1(2.12194440e-4f), r);
    v_t p = v_set1(1.0f / 5040.0f);
    p = v_fma(p, r, v_set1(1.0f / 720.0f));
    p = v_fma(p, r, v_set1(1.0f / 120.0f));
    p = v_fma(p, r, v_set1(1.0f / 24.0f));
    p = v_fma(p, r, v_set1(1.0f / 6.0f));
    p = v_fma(p, r, v_set1(0.5f));
    p = v_fma(p, r, v_set1(1.0f));
    p = v_fma(p, r, v_set1(1.0f));
    /* 2^n in two factors: it may lie outside the range of floats where the result does not */
    const v_t half = v_round(v_mul(n, v_set1(0.5f)));
    return v_mul(v_mul(p, v_pow2(half)), v_pow2(v_sub(n, half)));
}

/* ln x for a normal x > 0: ln m + e ln 2 with sqrt(1/2) <= m < sqrt(2), and
   ln m = 2 artanh s = 2 (s + s^3/3 + ...), s = (m - 1) / (m + 1). */
static inline v_t v_log(v_t x)
{
    v_t e = v_exponent(x), m = v_mantissa(x);
    const v_t root = v_set1(1.41421356f);
    e = v_select_lt(root, m, v_add(e, v_set1(1.0f)), e);
    m = v_select_lt(root, m, v_mul(m, v_set1(0.5f)), m);
    const v_t s = v_div(v_sub(m, v_set1(1.0f)), v_add(m, v_set1(1.0f)));
    const v_t q = v_mul(s, s);
    v_t p = v_set1(2.0f / 9.0f);
    p = v_fma(p, q, v_set1(2.0f / 7.0f));
    p = v_fma(p, q, v_set1(2.0f / 5.0f));
    p = v_fma(p, q, v_set1(2.0f / 3.0f));
    p = v_fma(p, q, v_set1(2.0f));
    const v_t low = v_fma(e, v_set1(-2.12194440e-4f), v_mul(p, s));
    return v_fma(e, v_set1(0.693359375f), low);
}

static inline v_t act_relu(v_t x) { return v_max(v_zero(), x); }
static inline v_t act_clip(v_t x, v_t low, v_t high) { return v_min(high, v_max(low, x)); }
static inline v_t act_relu6(v_t x) { return act_clip(x, v_zero(), v_set1(6.0f)); }
static inline v_t act_leaky_relu(v_t x, v_t slope) { return v_select_lt(x, v_zero(), v_mul(slope, x), x); }
static inline v_t act_hard_sigmoid(v_t x, v_t slope, v_t shift)
{
    return act_clip(v_fma(slope, x, shift), v_zero(), v_set1(1.0f));
}
static inline v_t act_hard_swish(v_t x)
{
    return v_mul(x, act_hard_sigmoid(x, v_set1(1.0f / 6.0f), v_set1(0.5f)));
}
static inline v_t act_sigmoid(v_t x)
{
    return v_div(v_set1(1.0f), v_add(v_set1(1.0f), v_exp(v_sub(v_zero(), x))));
}
static inline v_t act_silu(v_t x) { return v_mul(x, act_sigmoid(x)); }
/* (1 - e^-2|x|) / (1 + e^-2|x|) with the sign of x */
static inline v_t act_tanh(v_t x)
{
    const v_t negative = v_sub(v_zero(), x);
    const v_t t = v_exp(v_mul(v_set1(2.0f), v_select_lt(x, v_zero(), x, negative)));
    const v_t r = v_div(v_sub(v_set1(1.0f), t), v_add(v_set1(1.0f), t));
    return v_select_lt(x, v_zero(), v_sub(v_zero(), r), r);
}

#endif
