/* Direct convolution: 72 taps, 20 output channels, 9 rows of 9 pixels. */

/* 3 pixels x 20 channels */
static NEVER_INLINE void conv2d_3x3s1_c8_o20_p81_t3x3v4_res_relu__avx2_3x3t4(const float *in, const float *residual,
    const float *weight, const float *bias, float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0;
    v_t a0_1 = v_load(bias + 8), a1_1 = a0_1, a2_1 = a0_1;
    v_t a0_2 = v_load(bias + 16), a1_2 = a0_2, a2_2 = a0_2;
    for (int ky = 0; ky < 3; ++ky) {
#pragma GCC unroll 3
        for (int kx_c = 0; kx_c < 24; ++kx_c) {
            const float *x = in + ky * 88 + kx_c;
            V_FORGET(x); /* a value kept for the next pixel would cost an accumulator its register */
            const v_t w0 = v_load(weight), w1 = v_load(weight + 8), w2 = v_load(weight + 16);
            v_t s;
            s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0); a0_1 = v_fma(s, w1, a0_1); a0_2 = v_fma(s, w2, a0_2);
            s = v_set1(x[8]); a1_0 = v_fma(s, w0, a1_0); a1_1 = v_fma(s, w1, a1_1); a1_2 = v_fma(s, w2, a1_2);
            s = v_set1(x[16]); a2_0 = v_fma(s, w0, a2_0); a2_1 = v_fma(s, w1, a2_1); a2_2 = v_fma(s, w2, a2_2);
            weight += 24;
        }
    }
    v_store(out, act_relu(v_add(a0_0, v_load(residual))));
    v_store(out + 8, act_relu(v_add(a0_1, v_load(residual + 8))));
    v_store_n(out + 16, act_relu(v_add(a0_2, v_load_n(residual + 16, 4))), 4);
    v_store(out + 20, act_relu(v_add(a1_0, v_load(residual + 20))));
    v_store(out + 28, act_relu(v_add(a1_1, v_load(residual + 28))));
    v_store_n(out + 36, act_relu(v_add(a1_2, v_load_n(residual + 36, 4))), 4);
    v_store(out + 40, act_relu(v_add(a2_0, v_load(residual + 40))));
    v_store(out + 48, act_relu(v_add(a2_1, v_load(residual + 48))));
    v_store_n(out + 56, act_relu(v_add(a2_2, v_load_n(residual + 56, 4))), 4);
}

static void conv2d_3x3s1_c8_o20_p81_t3x3v4_res_relu__avx2(const float *in, const float *residual, const float *weights,
    const float *bias, float *out, int thread, int threads)
{
    { /* channels 0 to 19: 1 block of 3 vectors */
        const int begin = first_unit(9, thread, threads), end = first_unit(9, thread + 1, threads);
        for (int row = begin; row < end; ++row) {
            const float *w = weights;
            const float *b = bias;
            const float *x = in + (ptrdiff_t)row * 88;
            const float *r = residual + (ptrdiff_t)row * 180;
            float *y = out + (ptrdiff_t)row * 180;
            for (int t = 0; t < 3; ++t) {
                conv2d_3x3s1_c8_o20_p81_t3x3v4_res_relu__avx2_3x3t4(x + t * 24, r + t * 60, w, b, y + t * 60);
            }
        }
    }
}
