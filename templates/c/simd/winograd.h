/* The one-dimensional transforms of Winograd's algorithms, on vectors: f4_3 is F(4, 3), f4_3s2 the one of stride 2.
   cnngen/winograd.py has their matrices, B^T (inputs) and A^T (results). */
#ifndef CNNGEN_WINOGRAD_H
#define CNNGEN_WINOGRAD_H

#include "simd.h"

/* B^T d for interpolation at 0, 1 and infinity */
static inline void winograd_points_3(const v_t d[3], v_t t[3])
{
    t[0] = v_sub(d[1], d[0]);
    t[1] = d[1];
    t[2] = v_sub(d[2], d[1]);
}

/* B^T d: 0, 1, -1 and infinity */
static inline void winograd_points_4(const v_t d[4], v_t t[4])
{
    t[0] = v_sub(d[2], d[0]);
    t[1] = v_add(d[1], d[2]);
    t[2] = v_sub(d[2], d[1]);
    t[3] = v_sub(d[3], d[1]);
}

/* B^T d: 0, 1, -1, 2 and infinity */
static inline void winograd_points_5(const v_t d[5], v_t t[5])
{
    const v_t two = v_set1(2.0f), minus_two = v_set1(-2.0f);
    const v_t inner = v_sub(d[3], d[1]);
    t[0] = v_fma(two, v_sub(d[0], d[2]), inner);
    t[1] = v_fma(minus_two, d[1], v_sub(d[3], d[2]));
    t[2] = v_fma(two, d[1], v_fma(v_set1(-3.0f), d[2], d[3]));
    t[3] = inner;
    t[4] = v_fma(minus_two, inner, v_sub(d[4], d[2]));
}

/* B^T d: 0, 1, -1, 2, -2 and infinity */
static inline void winograd_points_6(const v_t d[6], v_t t[6])
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

/* B^T d: 0, 1, -1, 2, -2, 1/2 and infinity */
static inline void winograd_points_7(const v_t d[7], v_t t[7])
{
    const v_t half = v_set1(-0.5f), five = v_set1(-5.0f), four = v_set1(4.0f);
    t[5] = v_fma(four, d[1], v_fma(five, d[3], d[5]));
    t[0] = v_fma(half, d[4], v_fma(v_set1(2.5f), d[2], v_fma(v_set1(-2.0f), d[0], t[5])));
    t[1] = v_fma(v_set1(2.0f), v_sub(d[1], d[2]), v_fma(v_set1(-4.5f), d[3], v_fma(v_set1(0.5f), d[4], d[5])));
    t[2] = v_fma(v_set1(-1.5f), d[4], v_fma(v_set1(-3.5f), d[3], v_fma(v_set1(6.0f), d[2], d[5])));
    t[2] = v_fma(v_set1(-2.0f), d[1], t[2]);
    t[3] = v_fma(v_set1(1.5f), v_sub(d[4], d[2]), v_fma(v_set1(-2.0f), d[3], v_add(d[1], d[5])));
    t[4] = v_fma(v_set1(2.5f), v_sub(d[2], d[4]), v_sub(d[5], d[1]));
    t[6] = v_fma(half, t[5], v_fma(four, d[2], v_fma(five, d[4], d[6])));
}

/* B^T d: 0, 1, -1, 2, -2, 1/2, -1/2 and infinity */
static inline void winograd_points_8(const v_t d[8], v_t t[8])
{
    const v_t quarter = v_set1(0.25f), four = v_set1(4.0f), far = v_set1(5.25f);
    const v_t one_even = v_fma(v_set1(-4.25f), d[4], v_add(d[2], d[6]));
    const v_t one_odd = v_fma(v_set1(-4.25f), d[3], v_add(d[1], d[5]));
    const v_t two_even = v_fma(quarter, d[2], v_fma(v_set1(-1.25f), d[4], d[6]));
    const v_t two_odd = v_fma(quarter, d[1], v_fma(v_set1(-1.25f), d[3], d[5]));
    const v_t half_even = v_fma(four, d[2], v_fma(v_set1(-5.0f), d[4], d[6]));
    const v_t half_odd = v_fma(four, d[1], v_fma(v_set1(-5.0f), d[3], d[5]));
    t[0] = v_fma(far, v_sub(d[2], d[4]), v_sub(d[6], d[0]));
    t[1] = v_add(one_even, one_odd);
    t[2] = v_sub(one_even, one_odd);
    t[3] = v_fma(v_set1(2.0f), two_odd, two_even);
    t[4] = v_fma(v_set1(-2.0f), two_odd, two_even);
    t[5] = v_fma(v_set1(0.5f), half_odd, half_even);
    t[6] = v_fma(v_set1(-0.5f), half_odd, half_even);
    t[7] = v_fma(far, v_sub(d[3], d[5]), v_sub(d[7], d[1]));
}

/* A single tap: nothing to transform */
static inline void winograd_f1_1_inputs(const v_t d[1], v_t t[1]) { t[0] = d[0]; }
static inline void winograd_f1_1_results(const v_t m[1], v_t y[1]) { y[0] = m[0]; }

static inline void winograd_f2_3_inputs(const v_t d[4], v_t t[4]) { winograd_points_4(d, t); }
static inline void winograd_f2_3_results(const v_t m[4], v_t y[2])
{
    y[0] = v_add(v_add(m[0], m[1]), m[2]);
    y[1] = v_add(v_sub(m[1], m[2]), m[3]);
}

static inline void winograd_f4_3_inputs(const v_t d[6], v_t t[6]) { winograd_points_6(d, t); }
static inline void winograd_f4_3_results(const v_t m[6], v_t y[4])
{
    const v_t even = v_add(m[1], m[2]), odd = v_sub(m[1], m[2]);
    const v_t even_far = v_add(m[3], m[4]), odd_far = v_sub(m[3], m[4]);
    y[0] = v_add(v_add(m[0], even), even_far);
    y[1] = v_fma(v_set1(2.0f), odd_far, odd);
    y[2] = v_fma(v_set1(4.0f), even_far, even);
    y[3] = v_add(v_fma(v_set1(8.0f), odd_far, odd), m[5]);
}

static inline void winograd_f4_4_inputs(const v_t d[7], v_t t[7]) { winograd_points_7(d, t); }
static inline void winograd_f4_4_results(const v_t m[7], v_t y[4])
{
    const v_t even = v_add(m[1], m[2]), odd = v_sub(m[1], m[2]);
    const v_t even_far = v_add(m[3], m[4]), odd_far = v_sub(m[3], m[4]);
    y[0] = v_add(v_add(v_add(m[0], even), even_far), m[5]);
    y[1] = v_fma(v_set1(0.5f), m[5], v_fma(v_set1(2.0f), odd_far, odd));
    y[2] = v_fma(v_set1(0.25f), m[5], v_fma(v_set1(4.0f), even_far, even));
    y[3] = v_add(v_fma(v_set1(0.125f), m[5], v_fma(v_set1(8.0f), odd_far, odd)), m[6]);
}

static inline void winograd_f2_5_inputs(const v_t d[6], v_t t[6]) { winograd_points_6(d, t); }
static inline void winograd_f2_5_results(const v_t m[6], v_t y[2])
{
    const v_t even = v_add(m[1], m[2]), odd = v_sub(m[1], m[2]);
    const v_t even_far = v_add(m[3], m[4]), odd_far = v_sub(m[3], m[4]);
    y[0] = v_add(v_add(m[0], even), even_far);
    y[1] = v_add(v_fma(v_set1(2.0f), odd_far, odd), m[5]);
}

static inline void winograd_f4_5_inputs(const v_t d[8], v_t t[8]) { winograd_points_8(d, t); }
static inline void winograd_f4_5_results(const v_t m[8], v_t y[4])
{
    const v_t even = v_add(m[1], m[2]), odd = v_sub(m[1], m[2]);
    const v_t even_far = v_add(m[3], m[4]), odd_far = v_sub(m[3], m[4]);
    const v_t even_near = v_add(m[5], m[6]), odd_near = v_sub(m[5], m[6]);
    y[0] = v_add(v_add(v_add(m[0], even), even_far), even_near);
    y[1] = v_fma(v_set1(0.5f), odd_near, v_fma(v_set1(2.0f), odd_far, odd));
    y[2] = v_fma(v_set1(0.25f), even_near, v_fma(v_set1(4.0f), even_far, even));
    y[3] = v_add(v_fma(v_set1(0.125f), odd_near, v_fma(v_set1(8.0f), odd_far, odd)), m[7]);
}

static inline void winograd_f2_7_inputs(const v_t d[8], v_t t[8]) { winograd_points_8(d, t); }
static inline void winograd_f2_7_results(const v_t m[8], v_t y[2])
{
    const v_t even = v_add(m[1], m[2]), odd = v_sub(m[1], m[2]);
    const v_t even_far = v_add(m[3], m[4]), odd_far = v_sub(m[3], m[4]);
    const v_t even_near = v_add(m[5], m[6]), odd_near = v_sub(m[5], m[6]);
    y[0] = v_add(v_add(v_add(m[0], even), even_far), even_near);
    y[1] = v_add(v_fma(v_set1(0.5f), odd_near, v_fma(v_set1(2.0f), odd_far, odd)), m[7]);
}

/* Stride 2: the even inputs meet the first and the last tap, the odd ones the tap between them */
static inline void winograd_f2_3s2_inputs(const v_t d[5], v_t t[5])
{
    const v_t even[3] = { d[0], d[2], d[4] };
    winograd_points_3(even, t);
    t[3] = d[1];
    t[4] = d[3];
}
static inline void winograd_f2_3s2_results(const v_t m[5], v_t y[2])
{
    y[0] = v_add(v_add(m[0], m[1]), m[3]);
    y[1] = v_add(v_add(m[1], m[2]), m[4]);
}

static inline void winograd_f4_3s2_inputs(const v_t d[9], v_t t[9])
{
    const v_t even[5] = { d[0], d[2], d[4], d[6], d[8] };
    winograd_points_5(even, t);
    t[5] = d[1];
    t[6] = d[3];
    t[7] = d[5];
    t[8] = d[7];
}
static inline void winograd_f4_3s2_results(const v_t m[9], v_t y[4])
{
    const v_t even = v_add(m[1], m[2]), odd = v_sub(m[1], m[2]);
    y[0] = v_add(v_add(v_add(m[0], even), m[3]), m[5]);
    y[1] = v_add(v_fma(v_set1(2.0f), m[3], odd), m[6]);
    y[2] = v_add(v_fma(v_set1(4.0f), m[3], even), m[7]);
    y[3] = v_add(v_add(v_fma(v_set1(8.0f), m[3], odd), m[4]), m[8]);
}

#endif
