/* Vector vocabulary: SSE4.1, four floats at a time. */
#ifndef CNNGEN_SIMD_H
#define CNNGEN_SIMD_H

#include <math.h>
#include <smmintrin.h>
#include <stdint.h>

typedef __m128 v_t;
#define V_LANES 4
/* whether a multiply-add rounds once */
#define V_FUSED 0

/* asks for a line of memory before it is needed; never faults */
#define V_PREFETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T1)

/* keeps the compiler from remembering what was read through p before */
#if defined(__GNUC__)
#define V_FORGET(p) __asm__("" : "+r"(p))
#else
#define V_FORGET(p) ((void)(p))
#endif

/* keeps a in a register: it would else be read from memory again for every use */
#if defined(__GNUC__)
#define V_HOLD(a) __asm__("" : "+x"(a))
#else
#define V_HOLD(a) ((void)(a))
#endif

static inline v_t v_zero(void) { return _mm_setzero_ps(); }
static inline v_t v_set1(float x) { return _mm_set1_ps(x); }
static inline v_t v_load(const float *p) { return _mm_loadu_ps(p); }
/* numbers stored in 16 bits, as float32: bfloat16 is the upper half of one */
static inline v_t v_load_bf16(const uint16_t *p)
{
    const __m128i wide = _mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)p));
    return _mm_castsi128_ps(_mm_slli_epi32(wide, 16));
}
/* IEEE binary16, denormal ones included: exponent and fraction move to their places, and the exponent gets the
   difference of the biases, 112; once more for infinity and NaN. What is denormal is the difference of two floats. */
static inline v_t v_load_f16(const uint16_t *p)
{
    const __m128i half = _mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)p));
    const __m128i magnitude = _mm_and_si128(half, _mm_set1_epi32(0x7fff));
    const __m128i bias = _mm_set1_epi32(112 << 23), moved = _mm_slli_epi32(magnitude, 13);
    const __m128i special = _mm_and_si128(_mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7bff)), bias);
    const __m128 normal = _mm_castsi128_ps(_mm_add_epi32(_mm_add_epi32(moved, bias), special));
    const __m128i least = _mm_set1_epi32(113 << 23);
    const __m128 denormal = _mm_sub_ps(_mm_castsi128_ps(_mm_add_epi32(moved, least)), _mm_castsi128_ps(least));
    const __m128 small = _mm_castsi128_ps(_mm_cmpgt_epi32(_mm_set1_epi32(0x0400), magnitude));
    const __m128 sign = _mm_castsi128_ps(_mm_slli_epi32(_mm_srli_epi32(half, 15), 31));
    return _mm_or_ps(_mm_blendv_ps(normal, denormal, small), sign);
}
static inline void v_store(float *p, v_t a) { _mm_storeu_ps(p, a); }
/* the first n floats; the others are zero and are not touched in memory; n is a constant where it is called */
static inline v_t v_load_n(const float *p, int n)
{
    if (n > 2) return _mm_movelh_ps(_mm_loadl_pi(_mm_setzero_ps(), (const __m64 *)p), _mm_load_ss(p + 2));
    if (n > 1) return _mm_loadl_pi(_mm_setzero_ps(), (const __m64 *)p);
    return n > 0 ? _mm_load_ss(p) : _mm_setzero_ps();
}
static inline void v_store_n(float *p, v_t a, int n)
{
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, a);
        a = _mm_movehl_ps(a, a);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, a);
}
static inline v_t v_add(v_t a, v_t b) { return _mm_add_ps(a, b); }
static inline v_t v_sub(v_t a, v_t b) { return _mm_sub_ps(a, b); }
static inline v_t v_mul(v_t a, v_t b) { return _mm_mul_ps(a, b); }
static inline v_t v_div(v_t a, v_t b) { return _mm_div_ps(a, b); }
/* a b + c; rounded twice, since there is no fused multiply-add */
static inline v_t v_fma(v_t a, v_t b, v_t c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
/* the larger (smaller) one; b where either is NaN or both are equal */
static inline v_t v_max(v_t a, v_t b) { return _mm_max_ps(a, b); }
static inline v_t v_min(v_t a, v_t b) { return _mm_min_ps(a, b); }
/* the larger one; NaN where either is NaN */
static inline v_t v_max_nan(v_t a, v_t b)
{
    return _mm_blendv_ps(_mm_max_ps(a, b), a, _mm_cmpunord_ps(a, a));
}
/* the smaller one; NaN where either is NaN */
static inline v_t v_min_nan(v_t a, v_t b)
{
    return _mm_blendv_ps(_mm_min_ps(a, b), a, _mm_cmpunord_ps(a, a));
}
/* the larger ones of neighbours, first those in a, then those in b; NaN where either is NaN */
static inline v_t v_max_pairs(v_t a, v_t b)
{
    return v_max_nan(_mm_shuffle_ps(a, b, 0x88), _mm_shuffle_ps(a, b, 0xdd));
}
static inline v_t v_sqrt(v_t a) { return _mm_sqrt_ps(a); }
/* to the nearest integer, ties to even */
static inline v_t v_round(v_t a) { return _mm_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/* x where a < b, else y */
static inline v_t v_select_lt(v_t a, v_t b, v_t x, v_t y) { return _mm_blendv_ps(y, x, _mm_cmplt_ps(a, b)); }
/* 2^n for an integral n from -126 to 128, where it is infinite */
static inline v_t v_pow2(v_t n)
{
    const __m128i biased = _mm_add_epi32(_mm_cvtps_epi32(n), _mm_set1_epi32(127));
    return _mm_castsi128_ps(_mm_slli_epi32(biased, 23));
}
/* 2^n as v_pow2, where t is n + V_SHIFT: its low bits are the biased exponent */
static inline v_t v_pow2_shifted(v_t t) { return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(t), 23)); }
/* a = mantissa 2^exponent with 1 <= mantissa < 2, for a normal a > 0 */
static inline v_t v_exponent(v_t a)
{
    const __m128i biased = _mm_srli_epi32(_mm_castps_si128(a), 23);
    return _mm_cvtepi32_ps(_mm_sub_epi32(biased, _mm_set1_epi32(127)));
}
static inline v_t v_mantissa(v_t a)
{
    const __m128i fraction = _mm_and_si128(_mm_castps_si128(a), _mm_set1_epi32(0x007fffff));
    return _mm_castsi128_ps(_mm_or_si128(fraction, _mm_set1_epi32(0x3f800000)));
}
/* the largest lane, where none is NaN */
static inline float v_reduce_max(v_t a)
{
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    a = _mm_max_ss(a, _mm_shuffle_ps(a, a, 1));
    return _mm_cvtss_f32(a);
}

#endif
