/* Direct convolution: 8 taps, 20 output channels, 5 rows of 6 pixels. */

/* 3 pixels x 20 channels */
static inline void conv2dt_1x1s2_c8_o20_p30_t3x3v4_relu__avx2_3x3t4(const float *in, const float *weight,
    const float *bias, float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0;
    v_t a0_1 = v_load(bias + 8), a1_1 = a0_1, a2_1 = a0_1;
    v_t a0_2 = v_load(bias + 16), a1_2 = a0_2, a2_2 = a0_2;
#pragma GCC unroll 3
    for (int c = 0; c < 8; ++c) {
        const float *x = in + c;
        const v_t w0 = v_load(weight), w1 = v_load(weight + 8), w2 = v_load(weight + 16);
        v_t s;
        s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0); a0_1 = v_fma(s, w1, a0_1); a0_2 = v_fma(s, w2, a0_2);
        s = v_set1(x[8]); a1_0 = v_fma(s, w0, a1_0); a1_1 = v_fma(s, w1, a1_1); a1_2 = v_fma(s, w2, a1_2);
        s = v_set1(x[16]); a2_0 = v_fma(s, w0, a2_0); a2_1 = v_fma(s, w1, a2_1); a2_2 = v_fma(s, w2, a2_2);
        weight += 24;
    }
    v_store(out, act_relu(a0_0));
    v_store(out + 8, act_relu(a0_1));
    v_store_n(out + 16, act_relu(a0_2), 4);
    v_store(out + 40, act_relu(a1_0));
    v_store(out + 48, act_relu(a1_1));
    v_store_n(out + 56, act_relu(a1_2), 4);
    v_store(out + 80, act_relu(a2_0));
    v_store(out + 88, act_relu(a2_1));
    v_store_n(out + 96, act_relu(a2_2), 4);
}

static void conv2dt_1x1s2_c8_o20_p30_t3x3v4_relu__avx2(const float *in, const float *weights, const float *bias,
    float *out, int thread, int threads)
{
    { /* channels 0 to 19: 1 block of 3 vectors */
        const int begin = first_unit(5, thread, threads), end = first_unit(5, thread + 1, threads);
        for (int row = begin; row < end; ++row) {
            const float *w = weights;
            const float *b = bias;
            const float *x = in + (ptrdiff_t)row * 48;
            float *y = out + (ptrdiff_t)row * 480;
            for (int t = 0; t < 2; ++t) {
                conv2dt_1x1s2_c8_o20_p30_t3x3v4_relu__avx2_3x3t4(x + t * 24, w, b, y + t * 120);
            }
        }
    }
}
