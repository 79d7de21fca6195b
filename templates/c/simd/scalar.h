/* Vector vocabulary: plain C, one float at a time. Runs on every machine. */
#ifndef CNNGEN_SIMD_H
#define CNNGEN_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float v_t;
#define V_LANES 1
/* whether a multiply-add rounds once */
#define V_FUSED 0

/* asks for a line of memory before it is needed; never faults */
#if defined(__GNUC__)
#define V_PREFETCH(p) __builtin_prefetch(p, 0, 2)
#else
#define V_PREFETCH(p) ((void)(p))
#endif

/* keeps the compiler from remembering what was read through p before */
#if defined(__GNUC__)
#define V_FORGET(p) __asm__("" : "+r"(p))
#else
#define V_FORGET(p) ((void)(p))
#endif

static inline float v_float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline uint32_t v_bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
#define V_HOLD(a) ((void)(a)) /* no loop of vectors */

static inline v_t v_zero(void) { return 0.0f; }
static inline v_t v_set1(float x) { return x; }
static inline v_t v_load(const float *p) { return *p; }
/* numbers stored in 16 bits, as float32: bfloat16 is the upper half of one */
static inline v_t v_load_bf16(const uint16_t *p) { return v_float_of((uint32_t)*p << 16); }
/* IEEE binary16, denormal ones included: exponent and fraction move to their places, and the exponent gets the
   difference of the biases, 112; once more for infinity and NaN. What is denormal is the difference of two floats. */
static inline float v_float_of_half(uint32_t half)
{
    const uint32_t magnitude = half & 0x7fffu, least = 113u << 23;
    uint32_t bits = (magnitude << 13) + (112u << 23);
    if (magnitude > 0x7bffu) bits += 112u << 23;
    if (magnitude < 0x0400u) bits = v_bits_of(v_float_of((magnitude << 13) + least) - v_float_of(least));
    return v_float_of(bits | (half >> 15) << 31);
}
static inline v_t v_load_f16(const uint16_t *p) { return v_float_of_half(*p); }
static inline void v_store(float *p, v_t a) { *p = a; }
static inline v_t v_load_n(const float *p, int n) { return n > 0 ? *p : 0.0f; }
static inline void v_store_n(float *p, v_t a, int n) { if (n > 0) *p = a; }
static inline v_t v_add(v_t a, v_t b) { return a + b; }
static inline v_t v_sub(v_t a, v_t b) { return a - b; }
static inline v_t v_mul(v_t a, v_t b) { return a * b; }
static inline v_t v_div(v_t a, v_t b) { return a / b; }
/* a b + c; rounded twice, since a fused multiply-add would be a library call here */
static inline v_t v_fma(v_t a, v_t b, v_t c) { return a * b + c; }
/* the larger (smaller) one; b where either is NaN or both are equal */
static inline v_t v_max(v_t a, v_t b) { return a > b ? a : b; }
static inline v_t v_min(v_t a, v_t b) { return a < b ? a : b; }
/* the larger one; NaN where either is NaN */
static inline v_t v_max_nan(v_t a, v_t b) { return a > b || a != a ? a : b; }
/* the smaller one; NaN where either is NaN */
static inline v_t v_min_nan(v_t a, v_t b) { return a < b || a != a ? a : b; }
/* the larger ones of neighbours, first those in a, then those in b; NaN where either is NaN */
static inline v_t v_max_pairs(v_t a, v_t b) { return v_max_nan(a, b); }
static inline v_t v_sqrt(v_t a) { return sqrtf(a); }
/* to the nearest integer, ties to even */
static inline v_t v_round(v_t a) { return rintf(a); }
/* x where a < b, else y */
static inline v_t v_select_lt(v_t a, v_t b, v_t x, v_t y) { return a < b ? x : y; }
/* 2^n for an integral n from -126 to 128, where it is infinite: the sum has the biased exponent in its low bits; any
   bits for NaN */
static inline v_t v_pow2(v_t n) { return v_float_of(v_bits_of(n + (12582912.0f + 127.0f)) << 23); }
/* 2^n as v_pow2, where t is n + V_SHIFT: its low bits are the biased exponent */
static inline v_t v_pow2_shifted(v_t t) { return v_float_of(v_bits_of(t) << 23); }
/* a = mantissa 2^exponent with 1 <= mantissa < 2, for a normal a > 0 */
static inline v_t v_exponent(v_t a) { return (float)((int32_t)(v_bits_of(a) >> 23) - 127); }
static inline v_t v_mantissa(v_t a) { return v_float_of((v_bits_of(a) & 0x007fffffu) | 0x3f800000u); }
/* the largest lane, where none is NaN */
static inline float v_reduce_max(v_t a) { return a; }

#endif
