/* Vector vocabulary: AVX-512, sixteen floats at a time. */
#ifndef CNNGEN_SIMD_H
#define CNNGEN_SIMD_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

typedef __m512 v_t;
#define V_LANES 16
/* whether a multiply-add rounds once */
#define V_FUSED 1

/* the first n lanes selected, n < 16 */
static inline __mmask16 v_mask_n(int n) { return (__mmask16)((1u << n) - 1u); }

/* asks for a line of memory before it is needed; never faults */
#define V_PREFETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T1)

/* keeps the compiler from remembering what was read through p before */
#if defined(__GNUC__)
#define V_FORGET(p) __asm__("" : "+r"(p))
#else
#define V_FORGET(p) ((void)(p))
#endif

/* The first half of a vector: processors whose units have 256 bits take half the time for it. */
typedef __m256 h_t;
static inline h_t h_zero(void) { return _mm256_setzero_ps(); }
static inline h_t h_set1(float x) { return _mm256_set1_ps(x); }
static inline h_t h_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void h_store(float *p, h_t a) { _mm256_storeu_ps(p, a); }
static inline h_t h_fma(h_t a, h_t b, h_t c) { return _mm256_fmadd_ps(a, b, c); }
static inline h_t h_of(v_t a) { return _mm512_castps512_ps256(a); }
/* a vector whose second half holds anything */
static inline v_t h_widened(h_t a) { return _mm512_castps256_ps512(a); }
/* keeps a in a register: it would else be read from memory again for every use */
#if defined(__GNUC__)
#define V_HOLD(a) __asm__("" : "+v"(a))
#else
#define V_HOLD(a) ((void)(a))
#endif

static inline v_t v_zero(void) { return _mm512_setzero_ps(); }
static inline v_t v_set1(float x) { return _mm512_set1_ps(x); }
static inline v_t v_load(const float *p) { return _mm512_loadu_ps(p); }
/* numbers stored in 16 bits, as float32: bfloat16 is the upper half of one */
static inline v_t v_load_bf16(const uint16_t *p)
{
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
/* IEEE binary16, denormal ones included */
static inline v_t v_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
static inline void v_store(float *p, v_t a) { _mm512_storeu_ps(p, a); }
/* the first n floats; the others are zero and are not touched in memory */
static inline v_t v_load_n(const float *p, int n)
{
    return n == V_LANES / 2 ? _mm512_zextps256_ps512(h_load(p)) : _mm512_maskz_loadu_ps(v_mask_n(n), p);
}
static inline void v_store_n(float *p, v_t a, int n)
{
    if (n == V_LANES / 2) h_store(p, h_of(a));
    else _mm512_mask_storeu_ps(p, v_mask_n(n), a);
}
static inline v_t v_add(v_t a, v_t b) { return _mm512_add_ps(a, b); }
static inline v_t v_sub(v_t a, v_t b) { return _mm512_sub_ps(a, b); }
static inline v_t v_mul(v_t a, v_t b) { return _mm512_mul_ps(a, b); }
static inline v_t v_div(v_t a, v_t b) { return _mm512_div_ps(a, b); }
/* a b + c, rounded once */
static inline v_t v_fma(v_t a, v_t b, v_t c) { return _mm512_fmadd_ps(a, b, c); }
/* the larger (smaller) one; b where either is NaN or both are equal */
static inline v_t v_max(v_t a, v_t b) { return _mm512_max_ps(a, b); }
static inline v_t v_min(v_t a, v_t b) { return _mm512_min_ps(a, b); }
/* x, but a where that is NaN */
static inline v_t v_or_nan(v_t x, v_t a) { return _mm512_fixupimm_ps(x, a, _mm512_set1_epi32(0x22), 0); }
/* the larger one; NaN where either is NaN */
static inline v_t v_max_nan(v_t a, v_t b)
{
    return v_or_nan(_mm512_max_ps(a, b), a);
}
/* the smaller one; NaN where either is NaN */
static inline v_t v_min_nan(v_t a, v_t b)
{
    return v_or_nan(_mm512_min_ps(a, b), a);
}
/* the larger ones of neighbours, first those in a, then those in b; NaN where either is NaN */
static inline v_t v_max_pairs(v_t a, v_t b)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    return v_max_nan(_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b));
}
static inline v_t v_sqrt(v_t a) { return _mm512_sqrt_ps(a); }
/* to the nearest integer, ties to even */
static inline v_t v_round(v_t a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* x where a < b, else y */
static inline v_t v_select_lt(v_t a, v_t b, v_t x, v_t y)
{
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), x);
}
/* 2^n for an integral n from -126 to 128, where it is infinite */
static inline v_t v_pow2(v_t n)
{
    const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}
/* 2^n as v_pow2, where t is n + V_SHIFT: its low bits are the biased exponent */
static inline v_t v_pow2_shifted(v_t t) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(t), 23)); }
/* a = mantissa 2^exponent with 1 <= mantissa < 2, for a normal a > 0 */
static inline v_t v_exponent(v_t a)
{
    const __m512i biased = _mm512_srli_epi32(_mm512_castps_si512(a), 23);
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(biased, _mm512_set1_epi32(127)));
}
static inline v_t v_mantissa(v_t a)
{
    const __m512i fraction = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x007fffff));
    return _mm512_castsi512_ps(_mm512_or_si512(fraction, _mm512_set1_epi32(0x3f800000)));
}
/* the largest lane, where none is NaN */
static inline float v_reduce_max(v_t a) { return _mm512_reduce_max_ps(a); }

#endif
