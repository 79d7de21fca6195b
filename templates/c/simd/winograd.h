/* The one-dimensional transforms of Winograd's F(2x2, 3x3) and F(4x4, 3x3), and of F(m, r) along the height, on vectors. */
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

/* B^T d: of the inputs that a column of m results of r taps sees, m + r - 1 of them */
static inline void winograd_6_points(const v_t d[6], v_t t[6]) { winograd_4_inputs(d, t); }

static inline void winograd_8_points(const v_t d[8], v_t t[8])
{
    const v_t half = v_set1(0.5f), two = v_set1(2.0f), quarter = v_set1(0.25f), four = v_set1(4.0f);
    const v_t outer = v_set1(5.25f), one = v_set1(-4.25f), odd = v_set1(-2.5f);
    const v_t even_1 = v_fma(one, d[4], v_add(d[2], d[6])), odd_1 = v_fma(one, d[3], v_add(d[1], d[5]));
    const v_t even_2 = v_fma(quarter, d[2], v_fma(v_set1(-1.25f), d[4], d[6]));
    const v_t odd_2 = v_fma(half, d[1], v_fma(odd, d[3], v_mul(two, d[5])));
    const v_t even_half = v_fma(four, d[2], v_fma(v_set1(-5.0f), d[4], d[6]));
    const v_t odd_half = v_fma(half, d[5], v_fma(odd, d[3], v_mul(two, d[1])));
    t[0] = v_fma(outer, v_sub(d[4], d[2]), v_sub(d[0], d[6]));
    t[1] = v_add(even_1, odd_1);
    t[2] = v_sub(even_1, odd_1);
    t[3] = v_add(even_2, odd_2);
    t[4] = v_sub(even_2, odd_2);
    t[5] = v_add(even_half, odd_half);
    t[6] = v_sub(even_half, odd_half);
    t[7] = v_fma(outer, v_sub(d[3], d[5]), v_sub(d[7], d[1]));
}

/* A^T m: m results of a column of products */
static inline void winograd_2_of_6(const v_t m[6], v_t y[2])
{
    y[0] = v_add(v_add(m[0], v_add(m[1], m[2])), v_add(m[3], m[4]));
    y[1] = v_add(v_fma(v_set1(2.0f), v_sub(m[3], m[4]), v_sub(m[1], m[2])), m[5]);
}

static inline void winograd_4_of_6(const v_t m[6], v_t y[4]) { winograd_4_results(m, y); }

static inline void winograd_2_of_8(const v_t m[8], v_t y[2])
{
    const v_t even = v_add(m[1], m[2]), even_2 = v_add(m[3], m[4]), even_half = v_add(m[5], m[6]);
    const v_t odd = v_sub(m[1], m[2]), odd_2 = v_sub(m[3], m[4]), odd_half = v_sub(m[5], m[6]);
    y[0] = v_add(v_add(m[0], even), v_add(even_2, even_half));
    y[1] = v_add(v_fma(v_set1(0.5f), odd_half, v_fma(v_set1(2.0f), odd_2, odd)), m[7]);
}

static inline void winograd_4_of_8(const v_t m[8], v_t y[4])
{
    const v_t even = v_add(m[1], m[2]), even_2 = v_add(m[3], m[4]), even_half = v_add(m[5], m[6]);
    const v_t odd = v_sub(m[1], m[2]), odd_2 = v_sub(m[3], m[4]), odd_half = v_sub(m[5], m[6]);
    y[0] = v_add(v_add(m[0], even), v_add(even_2, even_half));
    y[1] = v_fma(v_set1(0.5f), odd_half, v_fma(v_set1(2.0f), odd_2, odd));
    y[2] = v_fma(v_set1(0.25f), even_half, v_fma(v_set1(4.0f), even_2, even));
    y[3] = v_add(v_fma(v_set1(0.125f), odd_half, v_fma(v_set1(8.0f), odd_2, odd)), m[7]);
}

#endif
