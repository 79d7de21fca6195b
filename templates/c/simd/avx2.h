/* Vector vocabulary: AVX2 with FMA and F16C, eight floats at a time. */
#ifndef CNNGEN_SIMD_H
#define CNNGEN_SIMD_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

typedef __m256 v_t;
#define V_LANES 8
/* whether a multiply-add rounds once */
#define V_FUSED 1

/* the first n lanes selected */
static inline __m256i v_mask_n(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

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

static inline v_t v_zero(void) { return _mm256_setzero_ps(); }
static inline v_t v_set1(float x) { return _mm256_set1_ps(x); }
static inline v_t v_load(const float *p) { return _mm256_loadu_ps(p); }
/* numbers stored in 16 bits, as float32: bfloat16 is the upper half of one */
static inline v_t v_load_bf16(const uint16_t *p)
{
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
/* IEEE binary16, denormal ones included */
static inline v_t v_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
static inline void v_store(float *p, v_t a) { _mm256_storeu_ps(p, a); }
/* the first n floats; the others are zero and are not touched in memory */
static inline v_t v_load_n(const float *p, int n) { return _mm256_maskload_ps(p, v_mask_n(n)); }
/* n is a constant where it is called; a masked store would take ten times as long on some processors */
static inline void v_store_n(float *p, v_t a, int n)
{
    __m128 part = _mm256_castps256_ps128(a);
    if (n & 4) {
        _mm_storeu_ps(p, part);
        part = _mm256_extractf128_ps(a, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, part);
        part = _mm_movehl_ps(part, part);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, part);
}
static inline v_t v_add(v_t a, v_t b) { return _mm256_add_ps(a, b); }
static inline v_t v_sub(v_t a, v_t b) { return _mm256_sub_ps(a, b); }
static inline v_t v_mul(v_t a, v_t b) { return _mm256_mul_ps(a, b); }
static inline v_t v_div(v_t a, v_t b) { return _mm256_div_ps(a, b); }
/* a b + c, rounded once */
static inline v_t v_fma(v_t a, v_t b, v_t c) { return _mm256_fmadd_ps(a, b, c); }
/* the larger (smaller) one; b where either is NaN or both are equal */
static inline v_t v_max(v_t a, v_t b) { return _mm256_max_ps(a, b); }
static inline v_t v_min(v_t a, v_t b) { return _mm256_min_ps(a, b); }
/* the larger one; NaN where either is NaN */
static inline v_t v_max_nan(v_t a, v_t b)
{
    return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
/* the smaller one; NaN where either is NaN */
static inline v_t v_min_nan(v_t a, v_t b)
{
    return _mm256_blendv_ps(_mm256_min_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
/* the larger ones of neighbours, first those in a, then those in b; NaN where either is NaN */
static inline v_t v_max_pairs(v_t a, v_t b)
{
    const v_t mixed = v_max_nan(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8));
}
static inline v_t v_sqrt(v_t a) { return _mm256_sqrt_ps(a); }
/* to the nearest integer, ties to even */
static inline v_t v_round(v_t a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/* x where a < b, else y */
static inline v_t v_select_lt(v_t a, v_t b, v_t x, v_t y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
/* 2^n for an integral n from -126 to 128, where it is infinite */
static inline v_t v_pow2(v_t n)
{
    const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
/* 2^n as v_pow2, where t is n + V_SHIFT: its low bits are the biased exponent */
static inline v_t v_pow2_shifted(v_t t) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(t), 23)); }
/* a = mantissa 2^exponent with 1 <= mantissa < 2, for a normal a > 0 */
static inline v_t v_exponent(v_t a)
{
    const __m256i biased = _mm256_srli_epi32(_mm256_castps_si256(a), 23);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(biased, _mm256_set1_epi32(127)));
}
static inline v_t v_mantissa(v_t a)
{
    const __m256i fraction = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x007fffff));
    return _mm256_castsi256_ps(_mm256_or_si256(fraction, _mm256_set1_epi32(0x3f800000)));
}
/* the largest lane, where none is NaN */
static inline float v_reduce_max(v_t a)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    m = _mm_max_ss(m, _mm_movehdup_ps(m));
    return _mm_cvtss_f32(m);
}

#endif
