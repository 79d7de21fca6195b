/* Direct convolution as a matrix product with implicit rows.
   36 taps, 6 output channels in each of 2 groups, 1 row of 20 pixels. */

/* 10 pixels x 1 vector of channels, 6 in the last */
static inline void conv2d_3x3s1_c4_o6_g2_p20_t10x1v6__avx2_10x1t6(const float *in, const float *weight, const float *bias, float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0, a3_0 = a0_0, a4_0 = a0_0, a5_0 = a0_0, a6_0 = a0_0, a7_0 = a0_0, a8_0 = a0_0, a9_0 = a0_0;
    for (int i0 = 0; i0 < 3; ++i0) {
        for (int i1 = 0; i1 < 3; ++i1) {
#pragma GCC unroll 4
            for (int i2 = 0; i2 < 4; ++i2) {
                const float *x = in + i0 * 56 + i1 * 8 + i2;
                const v_t w0 = v_load(weight);
                v_t s;
                s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0);
                s = v_set1(x[8]); a1_0 = v_fma(s, w0, a1_0);
                s = v_set1(x[16]); a2_0 = v_fma(s, w0, a2_0);
                s = v_set1(x[24]); a3_0 = v_fma(s, w0, a3_0);
                s = v_set1(x[32]); a4_0 = v_fma(s, w0, a4_0);
                s = v_set1(x[56]); a5_0 = v_fma(s, w0, a5_0);
                s = v_set1(x[64]); a6_0 = v_fma(s, w0, a6_0);
                s = v_set1(x[72]); a7_0 = v_fma(s, w0, a7_0);
                s = v_set1(x[80]); a8_0 = v_fma(s, w0, a8_0);
                s = v_set1(x[88]); a9_0 = v_fma(s, w0, a9_0);
                weight += 8;
            }
        }
    }
    v_store_n(out, a0_0, 6);
    v_store_n(out + 12, a1_0, 6);
    v_store_n(out + 24, a2_0, 6);
    v_store_n(out + 36, a3_0, 6);
    v_store_n(out + 48, a4_0, 6);
    v_store_n(out + 60, a5_0, 6);
    v_store_n(out + 72, a6_0, 6);
    v_store_n(out + 84, a7_0, 6);
    v_store_n(out + 96, a8_0, 6);
    v_store_n(out + 108, a9_0, 6);
}

static void conv2d_3x3s1_c4_o6_g2_p20_t10x1v6__avx2(const float *in, const float *weights, const float *bias, float *out, int thread, int threads)
{
    {
        /* channels 0 to 5 of each group: 1 block of 1 vector */
        const int begin = (int)((int64_t)2 * thread / threads);
        const int end = (int)((int64_t)2 * (thread + 1) / threads);
        for (int unit = begin; unit < end; ++unit) {
            const int group = unit / 1;
            const float *x = in + group * 4;
            const float *w = weights + (ptrdiff_t)group * 288;
            const float *b = bias + group * 8;
            float *y = out + group * 6;
            for (int t = 0; t < 2; ++t)
                conv2d_3x3s1_c4_o6_g2_p20_t10x1v6__avx2_10x1t6(x + t * 112, w, b, y + t * 120);
        }
    }
}
