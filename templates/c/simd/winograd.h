/* The one-dimensional transforms of Winograd's F(2x2, 3x3) and F(4x4, 3x3), on vectors. */
#ifndef CNNGEN_WINOGRAD_H
#define CNNGEN_WINOGRAD_H

#include "simd.h"

/* B^T d: of the inputs that a row of 2 results sees */
static inline void winograd_2_inputs(const v_t d[4], v_t t[4])
{
    t[0] = v_sub(d[0], d[2]);
    t[1] = v_add(d[1], d[2]);
    t[2] = v_sub(d[2], d[1]);
    t[3] = v_sub(d[1], d[3]);
}

/* A^T m: of a row of products */
static inline void winograd_2_results(const v_t m[4], v_t y[2])
{
    y[0] = v_add(v_add(m[0], m[1]), m[2]);
    y[1] = v_sub(v_sub(m[1], m[2]), m[3]);
}

/* B^T d: of the inputs that a row of 4 results sees */
static inline void winograd_4_inputs(const v_t d[6], v_t t[6])
{
    const v_t two = v_set1(2.0f), minus_two = v_set1(-2.0f);
    const v_t four = v_set1(4.0f), minus_four = v_set1(-4.0f), minus_five = v_set1(-5.0f);
    const v_t even = v_fma(minus_four, d[2], d[4]), odd = v_fma(minus_four, d[1], d[3]);
    const v_t outer = v_sub(d[4], d[2]), inner = v_sub(d[3], d[1]);
    t[0] = v_fma(four, d[0], v_fma(minus_five, d[2], d[4]));
    t[1] = v_add(even, odd);
    t[2] = v_sub(even, odd);
    t[3] = v_fma(two, inner, outer);
    t[4] = v_fma(minus_two, inner, outer);
    t[5] = v_fma(four, d[1], v_fma(minus_five, d[3], d[5]));
}

/* A^T m: of a row of products */
static inline void winograd_4_results(const v_t m[6], v_t y[4])
{
    const v_t even = v_add(m[1], m[2]), odd = v_sub(m[1], m[2]);
    const v_t even_far = v_add(m[3], m[4]), odd_far = v_sub(m[3], m[4]);
    y[0] = v_add(v_add(m[0], even), even_far);
    y[1] = v_fma(v_set1(2.0f), odd_far, odd);
    y[2] = v_fma(v_set1(4.0f), even_far, even);
    y[3] = v_add(v_fma(v_set1(8.0f), odd_far, odd), m[5]);
}

#endif
