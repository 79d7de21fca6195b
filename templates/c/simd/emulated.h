/* Vector vocabulary: any width with the vectors of GCC and Clang, to check the kernels of an ISA that this machine
   lacks. CNNGEN_EMULATED_LANES, and whether its multiply-add rounds once, CNNGEN_EMULATED_FMA, are set on the
   compiler's command line. Lane by lane the same IEEE operations as the real instructions, so the results have
   the same bits. */
#ifndef CNNGEN_SIMD_H
#define CNNGEN_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__FMA__)
#include <immintrin.h>
#endif

#define V_LANES CNNGEN_EMULATED_LANES
/* whether a multiply-add rounds once */
#define V_FUSED CNNGEN_EMULATED_FMA
/* the compiler's own vectors: whatever the machine lacks it makes of what there is */
typedef float v_t __attribute__((vector_size(4 * V_LANES)));

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

#define V_HOLD(a) ((void)(a)) /* such a vector may be wider than a register */

#define V_EACH(expression) \
    v_t r; \
    for (int i = 0; i < V_LANES; ++i) r[i] = (expression); \
    return r

/* x where the mask is set, else y */
typedef int32_t v_mask __attribute__((vector_size(4 * V_LANES)));
#define V_PICK(mask, x, y) ((v_t)(((v_mask)(x) & (mask)) | ((v_mask)(y) & ~(mask))))

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

static inline v_t v_zero(void) { return (v_t){0}; }
static inline v_t v_set1(float x) { return x - v_zero(); }
static inline v_t v_load(const float *p)
{
    v_t r;
    memcpy(&r, p, sizeof r);
    return r;
}
/* numbers stored in 16 bits, as float32: bfloat16 is the upper half of one */
static inline v_t v_load_bf16(const uint16_t *p) { V_EACH(v_float_of((uint32_t)p[i] << 16)); }
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
static inline v_t v_load_f16(const uint16_t *p) { V_EACH(v_float_of_half(p[i])); }
static inline void v_store(float *p, v_t a) { memcpy(p, &a, sizeof a); }
/* the first n floats; the others are zero and are not touched in memory */
static inline v_t v_load_n(const float *p, int n) { V_EACH(i < n ? p[i] : 0.0f); }
static inline void v_store_n(float *p, v_t a, int n) { memcpy(p, &a, (size_t)n * sizeof(float)); }
static inline v_t v_add(v_t a, v_t b) { return a + b; }
static inline v_t v_sub(v_t a, v_t b) { return a - b; }
static inline v_t v_mul(v_t a, v_t b) { return a * b; }
static inline v_t v_div(v_t a, v_t b) { return a / b; }
/* a b + c, rounded once where the emulated ISA does */
#if !V_FUSED
static inline v_t v_fma(v_t a, v_t b, v_t c) { return a * b + c; }
#elif defined(__FMA__) && V_LANES % 8 == 0
static inline v_t v_fma(v_t a, v_t b, v_t c)
{
    __m256 x[V_LANES / 8], y[V_LANES / 8], z[V_LANES / 8];
    memcpy(x, &a, sizeof a);
    memcpy(y, &b, sizeof b);
    memcpy(z, &c, sizeof c);
    for (int i = 0; i < V_LANES / 8; ++i) z[i] = _mm256_fmadd_ps(x[i], y[i], z[i]);
    memcpy(&c, z, sizeof c);
    return c;
}
#else
static inline v_t v_fma(v_t a, v_t b, v_t c) { V_EACH(fmaf(a[i], b[i], c[i])); }
#endif
#if V_LANES == 16
/* The first half of a vector. */
typedef float h_t __attribute__((vector_size(2 * V_LANES)));
static inline h_t h_zero(void) { return (h_t){0}; }
static inline h_t h_set1(float x) { return x - h_zero(); }
static inline h_t h_load(const float *p)
{
    h_t r;
    memcpy(&r, p, sizeof r);
    return r;
}
static inline void h_store(float *p, h_t a) { memcpy(p, &a, sizeof a); }
static inline h_t h_of(v_t a) { return h_load((const float *)&a); }
/* a vector whose second half holds anything */
static inline v_t h_widened(h_t a)
{
    v_t r = v_zero();
    h_store((float *)&r, a);
    return r;
}
static inline h_t h_fma(h_t a, h_t b, h_t c) { return h_of(v_fma(h_widened(a), h_widened(b), h_widened(c))); }
#endif
/* the larger (smaller) one; b where either is NaN or both are equal */
static inline v_t v_max(v_t a, v_t b) { return V_PICK(a > b, a, b); }
static inline v_t v_min(v_t a, v_t b) { return V_PICK(a < b, a, b); }
/* the larger one; NaN where either is NaN */
static inline v_t v_max_nan(v_t a, v_t b)
{
    return V_PICK((a > b) | (a != a), a, b);
}
/* the smaller one; NaN where either is NaN */
static inline v_t v_min_nan(v_t a, v_t b)
{
    return V_PICK((a < b) | (a != a), a, b);
}
/* the larger ones of neighbours, first those in a, then those in b; NaN where either is NaN */
static inline v_t v_max_pairs(v_t a, v_t b)
{
    float pairs[2 * V_LANES];
    memcpy(pairs, &a, sizeof a);
    memcpy(pairs + V_LANES, &b, sizeof b);
    v_t even = a, odd = b;
    for (int i = 0; i < V_LANES; ++i) even[i] = pairs[2 * i], odd[i] = pairs[2 * i + 1];
    return v_max_nan(even, odd);
}
static inline v_t v_sqrt(v_t a) { V_EACH(sqrtf(a[i])); }
/* to the nearest integer, ties to even */
static inline v_t v_round(v_t a) { V_EACH(rintf(a[i])); }
/* x where a < b, else y */
static inline v_t v_select_lt(v_t a, v_t b, v_t x, v_t y)
{
    return V_PICK(a < b, x, y);
}
/* 2^n for an integral n from -126 to 128, where it is infinite: the sum has the biased exponent in its low bits; any
   bits for NaN */
static inline v_t v_pow2(v_t n) { V_EACH(v_float_of(v_bits_of(n[i] + (12582912.0f + 127.0f)) << 23)); }
/* 2^n as v_pow2, where t is n + V_SHIFT: its low bits are the biased exponent */
static inline v_t v_pow2_shifted(v_t t) { V_EACH(v_float_of(v_bits_of(t[i]) << 23)); }
/* a = mantissa 2^exponent with 1 <= mantissa < 2, for a normal a > 0 */
static inline v_t v_exponent(v_t a) { V_EACH((float)((int32_t)(v_bits_of(a[i]) >> 23) - 127)); }
static inline v_t v_mantissa(v_t a) { V_EACH(v_float_of((v_bits_of(a[i]) & 0x007fffffu) | 0x3f800000u)); }
/* the largest lane, where none is NaN */
static inline float v_reduce_max(v_t a)
{
    float m = a[0];
    for (int i = 1; i < V_LANES; ++i) m = a[i] > m ? a[i] : m;
    return m;
}

#endif
