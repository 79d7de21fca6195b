/* Direct convolution: 36 taps, 6 output channels in each of 2 groups, 20 pixels. */

/* 10 pixels x 6 channels */
static inline void conv2d_3x3s1_c4_o6_g2_p20_t10x1v6__avx2_10x1t6(const float *in, const float *weight,
    const float *bias, float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0, a3_0 = a0_0, a4_0 = a0_0, a5_0 = a0_0, a6_0 = a0_0, a7_0 = a0_0,
        a8_0 = a0_0, a9_0 = a0_0;
    for (int ky = 0; ky < 3; ++ky) {
        for (int kx = 0; kx < 3; ++kx) {
#pragma GCC unroll 4
            for (int c = 0; c < 4; ++c) {
                const float *x = in + ky * 56 + kx * 8 + c;
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

static void conv2d_3x3s1_c4_o6_g2_p20_t10x1v6__avx2(const float *in, const float *weights, const float *bias,
    float *out, int thread, int threads)
{
    { /* channels 0 to 5 of each group: 1 block of 1 vector */
        const int begin = first_unit(2, thread, threads), end = first_unit(2, thread + 1, threads);
        for (int group = begin; group < end; ++group) {
            const float *w = weights + (ptrdiff_t)group * 288;
            const float *b = bias + group * 8;
            const float *x = in + group * 4;
            float *y = out + group * 6;
            for (int t = 0; t < 2; ++t) {
                conv2d_3x3s1_c4_o6_g2_p20_t10x1v6__avx2_10x1t6(x + t * 112, w, b, y + t * 120);
            }
        }
    }
}
