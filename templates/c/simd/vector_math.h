/* Functions on vectors, written in the vocabulary of simd.h: the same bits on every ISA with FMA. */
#ifndef CNNGEN_MATH_H
#define CNNGEN_MATH_H

#include "simd.h"

/* 2^n e^r for an integral n from -252 to 254 and |r| < 0.38: the Taylor series to degree 7 */
static inline v_t v_exp_scaled(v_t n, v_t r)
{
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

/* x - n ln 2; ln 2 in two parts, the first with few bits, so that its product with n is exact */
static inline v_t v_reduced(v_t x, v_t n)
{
    return v_fma(n, v_set1(2.12194440e-4f), v_fma(n, v_set1(-0.693359375f), x));
}

/* e^x, relative error below 4 * 2^-24 */
static inline v_t v_exp(v_t x)
{
    x = v_min(v_set1(89.0f), v_max(v_set1(-104.0f), x));
    const v_t n = v_round(v_mul(x, v_set1(1.44269504f)));
    return v_exp_scaled(n, v_reduced(x, n));
}

/* e^x - 1 for x <= 0, relative error below 3 * 2^-24: 2^n (e^r - 1) + (2^n - 1); the second term is exact or
   next to -1, and at least the larger one, unless n = 0, where it is none */
static inline v_t v_expm1(v_t x)
{
    x = v_max(v_set1(-87.0f), x);
    const v_t n = v_round(v_mul(x, v_set1(1.44269504f)));
    const v_t r = v_reduced(x, n);
    v_t p = v_set1(1.0f / 5040.0f);
    p = v_fma(p, r, v_set1(1.0f / 720.0f));
    p = v_fma(p, r, v_set1(1.0f / 120.0f));
    p = v_fma(p, r, v_set1(1.0f / 24.0f));
    p = v_fma(p, r, v_set1(1.0f / 6.0f));
    p = v_fma(p, r, v_set1(0.5f));
    p = v_fma(v_mul(r, r), p, r);
    const v_t scale = v_pow2(n);
    return v_fma(scale, p, v_sub(scale, v_set1(1.0f)));
}

/* ln(1 + x) for 0 <= x <= 1, relative error below 6 * 2^-24: 2 artanh s = 2 (s + s^3/3 + ...), s = x / (x + 2) */
static inline v_t v_log1p(v_t x)
{
    const v_t s = v_div(x, v_add(x, v_set1(2.0f)));
    const v_t q = v_mul(s, s);
    v_t p = v_set1(2.0f / 13.0f);
    p = v_fma(p, q, v_set1(2.0f / 11.0f));
    p = v_fma(p, q, v_set1(2.0f / 9.0f));
    p = v_fma(p, q, v_set1(2.0f / 7.0f));
    p = v_fma(p, q, v_set1(2.0f / 5.0f));
    p = v_fma(p, q, v_set1(2.0f / 3.0f));
    p = v_fma(p, q, v_set1(2.0f));
    return v_mul(p, s);
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
/* the larger of x and -x */
static inline v_t v_magnitude(v_t x) { return v_max(v_sub(v_zero(), x), x); }
/* -t / (2 + t), t = e^-2|x| - 1, with the sign of x: t is as accurate near 0 as anywhere */
static inline v_t act_tanh(v_t x)
{
    const v_t t = v_expm1(v_mul(v_set1(-2.0f), v_magnitude(x)));
    const v_t r = v_div(t, v_add(v_set1(2.0f), t));
    return v_select_lt(x, v_zero(), r, v_sub(v_zero(), r));
}
static inline v_t act_elu(v_t x, v_t alpha)
{
    return v_select_lt(x, v_zero(), v_mul(alpha, v_expm1(v_min(v_zero(), x))), x);
}
/* lambda x, and lambda alpha (e^x - 1) below zero (Klambauer et al., 2017) */
static inline v_t act_selu(v_t x)
{
    const v_t below = v_mul(v_set1(1.75809934f), v_expm1(v_min(v_zero(), x)));
    return v_select_lt(x, v_zero(), below, v_mul(v_set1(1.05070099f), x));
}
/* max(x, 0) + ln(1 + e^-|x|) */
static inline v_t act_softplus(v_t x)
{
    return v_add(v_max(v_zero(), x), v_log1p(v_exp(v_sub(v_zero(), v_magnitude(x)))));
}
/* x tanh(ln(1 + e^x)) = x m / (m + 2), m = e^x (e^x + 2); from 20 on the quotient is 1 */
static inline v_t act_mish(v_t x)
{
    const v_t e = v_exp(v_min(v_set1(20.0f), x));
    const v_t m = v_mul(e, v_add(e, v_set1(2.0f)));
    return v_mul(x, v_div(m, v_add(m, v_set1(2.0f))));
}
/* P(X < -z) for a normal X and 0 <= z <= 14.5, relative error below 10 * 2^-24: p(1 / (1 + 0.35 z)) e^(-z^2/2) with a
   minimax polynomial p. What z^2 would lose in rounding goes into the reduced argument of the exponential:
   near is z to 12 bits, so that its square is exact, and z^2 = near^2 + (z - near)(z + near). */
static inline v_t v_normal_tail(v_t z)
{
    const v_t t = v_div(v_set1(1.0f), v_fma(v_set1(0.35f), z, v_set1(1.0f)));
    v_t p = v_set1(-0.0282651391f);
    p = v_fma(p, t, v_set1(0.139407247f));
    p = v_fma(p, t, v_set1(-0.24553746f));
    p = v_fma(p, t, v_set1(0.146401092f));
    p = v_fma(p, t, v_set1(-0.01319684f));
    p = v_fma(p, t, v_set1(0.100591563f));
    p = v_fma(p, t, v_set1(0.121385857f));
    p = v_fma(p, t, v_set1(0.139561534f));
    p = v_fma(p, t, v_set1(0.139653593f));
    p = v_fma(p, t, v_set1(-1.45455806e-6f));
    const v_t near = v_mul(v_round(v_mul(z, v_set1(256.0f))), v_set1(1.0f / 256.0f));
    const v_t exponent = v_mul(v_set1(-0.5f), v_mul(near, near));
    const v_t rest = v_mul(v_set1(-0.5f), v_mul(v_sub(z, near), v_add(z, near)));
    const v_t n = v_round(v_mul(exponent, v_set1(1.44269504f)));
    return v_mul(p, v_exp_scaled(n, v_add(v_reduced(exponent, n), rest)));
}
/* x P(X < x): the tail itself below zero, where its complement would cancel */
static inline v_t act_gelu(v_t x)
{
    const v_t tail = v_normal_tail(v_min(v_set1(14.5f), v_magnitude(x)));
    return v_mul(x, v_select_lt(x, v_zero(), tail, v_sub(v_set1(1.0f), tail)));
}
/* x (1 + tanh w) / 2 = x / (1 + e^-2w), w = sqrt(2 / pi) (x + 0.044715 x^3) */
static inline v_t act_gelu_tanh(v_t x)
{
    const v_t exponent = v_mul(x, v_fma(v_mul(x, x), v_set1(-0.0713548163f), v_set1(-1.59576912f)));
    return v_div(x, v_add(v_set1(1.0f), v_exp(exponent)));
}

#endif
