/* Functions on vectors, written in the vocabulary of simd.h: the same bits on every ISA with FMA. */
#ifndef CNNGEN_MATH_H
#define CNNGEN_MATH_H

#include "simd.h"

/* 3 * 2^22 + 127: its sum with n is a float whose low bits are n + 127 */
#define V_SHIFT 12583039.0f

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

/* e ln 2 + ln m for 1 <= m < 2: brought to sqrt(1/2) <= m < sqrt(2), and
   ln m = 2 artanh s = 2 (s + s^3/3 + ...), s = (m - 1) / (m + 1). */
static inline v_t v_log_of(v_t e, v_t m)
{
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

/* ln x for a normal x > 0 */
static inline v_t v_log(v_t x) { return v_log_of(v_exponent(x), v_mantissa(x)); }

/* |x|, which is +0 for -0 */
static inline v_t v_abs(v_t x) { return v_max(x, v_sub(v_zero(), x)); }

/* ln x for every x: denormals are made normal first; -infinity at zero, NaN below */
static inline v_t v_log_any(v_t x)
{
    const v_t smallest = v_set1(1.17549435e-38f);
    const v_t normal = v_select_lt(x, smallest, v_mul(x, v_set1(4294967296.0f)), x);
    const v_t shift = v_select_lt(x, smallest, v_set1(-32.0f), v_zero());
    v_t y = v_log_of(v_add(v_exponent(normal), shift), v_mantissa(normal));
    y = v_select_lt(v_zero(), x, y, v_set1(-INFINITY));
    y = v_select_lt(x, v_zero(), v_set1(NAN), y);
    return v_select_lt(x, v_set1(INFINITY), y, x);
}

/* x^y = e^(y ln |x|) with the sign and the special values of C's pow: for x < 0, NaN unless y is whole */
static inline v_t v_pow(v_t x, v_t y)
{
    const v_t least = v_set1(1e-45f), logarithm = v_log_any(v_abs(x));
    /* a magnitude of 1 stays 1 whatever y is */
    const v_t exponent = v_select_lt(v_abs(logarithm), least, v_zero(), v_mul(y, logarithm));
    const v_t size = v_exp(exponent);
    /* distance of y from the nearest even number: 1 where odd, below 1 where not whole, NaN where infinite */
    const v_t odd = v_abs(v_sub(y, v_mul(v_set1(2.0f), v_round(v_mul(y, v_set1(0.5f))))));
    const v_t signed_size = v_select_lt(v_set1(0.99999994f), odd, v_mul(v_set1(-1.0f), size), size);
    v_t below = v_select_lt(odd, v_set1(1.0f), v_select_lt(v_zero(), odd, v_set1(NAN), size), signed_size);
    below = v_select_lt(x, v_set1(-3.40282347e38f), signed_size, below);
    below = v_select_lt(v_set1(-1.0f), v_abs(y), below, y); /* NaN */
    /* 1 / x has the sign of -0 */
    v_t power = v_select_lt(v_div(v_set1(1.0f), x), v_zero(), signed_size, size);
    power = v_select_lt(x, v_zero(), below, power);
    return v_select_lt(v_abs(y), least, v_set1(1.0f), power);
}

/* the error function, relative error below 8 * 2^-24: up to 0.75 the Taylor series to degree 17, beyond the complement
   of what is left in both tails, 2 P(X < -sqrt(2) |x|) for a normal X */
static inline v_t v_normal_tail(v_t z);
static inline v_t v_erf(v_t x)
{
    const v_t size = v_abs(x), q = v_mul(x, x);
    v_t p = v_set1(1.6462114e-6f);
    p = v_fma(p, q, v_set1(-1.4925650e-5f));
    p = v_fma(p, q, v_set1(1.2055333e-4f));
    p = v_fma(p, q, v_set1(-8.5483270e-4f));
    p = v_fma(p, q, v_set1(5.2239776e-3f));
    p = v_fma(p, q, v_set1(-2.6866170e-2f));
    p = v_fma(p, q, v_set1(1.1283792e-1f));
    p = v_fma(p, q, v_set1(-3.7612639e-1f));
    p = v_fma(p, q, v_set1(1.1283792f));
    const v_t tail = v_normal_tail(v_min(v_set1(14.5f), v_mul(v_set1(1.41421356f), size)));
    const v_t far = v_fma(v_set1(-2.0f), tail, v_set1(1.0f));
    const v_t beyond = v_select_lt(x, v_zero(), v_sub(v_zero(), far), far);
    return v_select_lt(size, v_set1(0.75f), v_mul(p, x), beyond);
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
/* x + n ln 2, where it is small. ln 2 lies 2^-29 from a float: with |n| <= 128 and one rounding the sum is off by
   4 * 2^-24. With two, the product must be exact: ln 2 in two parts, the first with few bits. */
static inline v_t v_plus_logarithms(v_t x, v_t n)
{
#if V_FUSED
    return v_fma(n, v_set1(0.693147182f), x);
#else
    return v_fma(n, v_set1(-2.12194440e-4f), v_fma(n, v_set1(0.693359375f), x));
#endif
}
/* 1 + e^-x, relative error below 9 * 2^-24. With s = x + n ln 2: e^-x = 2^n e^-s, a minimax polynomial to degree 5 that
   begins with 1 - s, evaluated in pairs for a short chain; n is rounded by the sum with V_SHIFT. From n = 128 on
   (x < -88.37), 2^n is infinite. */
static inline v_t v_one_plus_exp_minus(v_t x)
{
    const v_t near = v_min(v_set1(87.0f), v_max(v_set1(-89.0f), x));
    const v_t shifted = v_fma(near, v_set1(-1.44269504f), v_set1(V_SHIFT));
    const v_t s = v_plus_logarithms(near, v_sub(shifted, v_set1(V_SHIFT)));
    const v_t q = v_mul(s, s);
    const v_t high = v_fma(s, v_set1(-8.31473246e-3f), v_set1(4.1890908e-2f));
    const v_t middle = v_fma(s, v_set1(-0.166670904f), v_set1(0.499992281f));
    const v_t p = v_fma(q, v_fma(q, high, middle), v_sub(v_set1(1.0f), s));
    return v_fma(p, v_pow2_shifted(shifted), v_set1(1.0f));
}
static inline v_t act_sigmoid(v_t x) { return v_div(v_set1(1.0f), v_one_plus_exp_minus(x)); }
static inline v_t act_silu(v_t x) { return v_div(x, v_one_plus_exp_minus(x)); }
/* x sigmoid(beta x) */
static inline v_t act_swish(v_t x, v_t beta) { return v_mul(x, act_sigmoid(v_mul(beta, x))); }
static inline v_t act_softsign(v_t x) { return v_div(x, v_add(v_set1(1.0f), v_abs(x))); }
/* what lies below is 0, but NaN stays NaN */
static inline v_t act_thresholded_relu(v_t x, v_t threshold)
{
    const v_t nothing = v_sub(v_zero(), v_min(v_zero(), v_max(v_zero(), x)));
    return v_select_lt(threshold, x, x, nothing);
}
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
static inline v_t act_celu(v_t x, v_t alpha)
{
    return v_select_lt(x, v_zero(), v_mul(alpha, v_expm1(v_div(v_min(v_zero(), x), alpha))), x);
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

static inline v_t act_exp(v_t x) { return v_exp(x); }
static inline v_t act_log(v_t x) { return v_log_any(x); }
static inline v_t act_sqrt(v_t x) { return v_sqrt(x); }
static inline v_t act_reciprocal(v_t x) { return v_div(v_set1(1.0f), x); }
static inline v_t act_erf(v_t x) { return v_erf(x); }
static inline v_t act_square(v_t x) { return v_mul(x, x); }
static inline v_t act_abs(v_t x) { return v_abs(x); }
static inline v_t act_neg(v_t x) { return v_mul(v_set1(-1.0f), x); }
/* to the nearest integer, ties to even */
static inline v_t act_round(v_t x) { return v_round(x); }
static inline v_t act_floor(v_t x)
{
    const v_t nearest = v_round(x);
    return v_select_lt(x, nearest, v_sub(nearest, v_set1(1.0f)), nearest);
}
static inline v_t act_ceil(v_t x) { return act_neg(act_floor(act_neg(x))); }
static inline v_t act_sign(v_t x)
{
    const v_t below = v_select_lt(x, v_zero(), v_set1(-1.0f), v_add(x, v_zero()));
    return v_select_lt(v_zero(), x, v_set1(1.0f), below);
}
static inline v_t act_pow(v_t x, v_t exponent) { return v_pow(x, exponent); }
/* x^n for a constant n from -16 to 16 by squaring: no partial product is larger, or smaller, than the result */
static inline v_t act_pow_whole(v_t x, int n)
{
    const int factors = n < 0 ? -n : n;
    v_t power = factors & 1 ? x : v_set1(1.0f), square = x;
    for (int bit = 2; bit <= factors; bit *= 2) {
        square = v_mul(square, square);
        if (factors & bit) power = v_mul(power, square);
    }
    return n < 0 ? v_div(v_set1(1.0f), power) : power;
}
/* the square root as pow has it: that of -0 is 0, that of -infinity is infinite */
static inline v_t act_pow_half(v_t x)
{
    return v_select_lt(x, v_set1(-3.40282347e38f), v_set1(INFINITY), v_sqrt(v_add(x, v_zero())));
}
static inline v_t act_pow_minus_half(v_t x) { return v_div(v_set1(1.0f), act_pow_half(x)); }

#endif
