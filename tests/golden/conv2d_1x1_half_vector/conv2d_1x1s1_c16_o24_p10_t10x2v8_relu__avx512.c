/* Direct convolution: 16 taps, 24 output channels, 10 pixels. */

/* 10 pixels x 24 channels */
static inline void conv2d_1x1s1_c16_o24_p10_t10x2v8_relu__avx512_10x2t8(const float *in, const float *weight,
    const float *bias, float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0, a3_0 = a0_0, a4_0 = a0_0, a5_0 = a0_0, a6_0 = a0_0, a7_0 = a0_0,
        a8_0 = a0_0, a9_0 = a0_0;
    h_t a0_1 = h_load(bias + 16), a1_1 = a0_1, a2_1 = a0_1, a3_1 = a0_1, a4_1 = a0_1, a5_1 = a0_1, a6_1 = a0_1,
        a7_1 = a0_1, a8_1 = a0_1, a9_1 = a0_1;
    for (int c = 0; c < 16; ++c) {
        const float *x = in + c;
        const v_t w0 = v_load(weight);
        const h_t w1 = h_load(weight + 16);
        v_t s;
        s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0); a0_1 = h_fma(h_of(s), w1, a0_1);
        s = v_set1(x[16]); a1_0 = v_fma(s, w0, a1_0); a1_1 = h_fma(h_of(s), w1, a1_1);
        s = v_set1(x[32]); a2_0 = v_fma(s, w0, a2_0); a2_1 = h_fma(h_of(s), w1, a2_1);
        s = v_set1(x[48]); a3_0 = v_fma(s, w0, a3_0); a3_1 = h_fma(h_of(s), w1, a3_1);
        s = v_set1(x[64]); a4_0 = v_fma(s, w0, a4_0); a4_1 = h_fma(h_of(s), w1, a4_1);
        s = v_set1(x[80]); a5_0 = v_fma(s, w0, a5_0); a5_1 = h_fma(h_of(s), w1, a5_1);
        s = v_set1(x[96]); a6_0 = v_fma(s, w0, a6_0); a6_1 = h_fma(h_of(s), w1, a6_1);
        s = v_set1(x[112]); a7_0 = v_fma(s, w0, a7_0); a7_1 = h_fma(h_of(s), w1, a7_1);
        s = v_set1(x[128]); a8_0 = v_fma(s, w0, a8_0); a8_1 = h_fma(h_of(s), w1, a8_1);
        s = v_set1(x[144]); a9_0 = v_fma(s, w0, a9_0); a9_1 = h_fma(h_of(s), w1, a9_1);
        weight += 32;
    }
    v_store(out, act_relu(a0_0));
    v_store_n(out + 16, act_relu(h_widened(a0_1)), 8);
    v_store(out + 24, act_relu(a1_0));
    v_store_n(out + 40, act_relu(h_widened(a1_1)), 8);
    v_store(out + 48, act_relu(a2_0));
    v_store_n(out + 64, act_relu(h_widened(a2_1)), 8);
    v_store(out + 72, act_relu(a3_0));
    v_store_n(out + 88, act_relu(h_widened(a3_1)), 8);
    v_store(out + 96, act_relu(a4_0));
    v_store_n(out + 112, act_relu(h_widened(a4_1)), 8);
    v_store(out + 120, act_relu(a5_0));
    v_store_n(out + 136, act_relu(h_widened(a5_1)), 8);
    v_store(out + 144, act_relu(a6_0));
    v_store_n(out + 160, act_relu(h_widened(a6_1)), 8);
    v_store(out + 168, act_relu(a7_0));
    v_store_n(out + 184, act_relu(h_widened(a7_1)), 8);
    v_store(out + 192, act_relu(a8_0));
    v_store_n(out + 208, act_relu(h_widened(a8_1)), 8);
    v_store(out + 216, act_relu(a9_0));
    v_store_n(out + 232, act_relu(h_widened(a9_1)), 8);
}

static void conv2d_1x1s1_c16_o24_p10_t10x2v8_relu__avx512(const float *in, const float *weights, const float *bias,
    float *out, int thread, int threads)
{
    { /* channels 0 to 23: 1 block of 2 vectors */
        if (thread == threads - 1) {
            const float *w = weights;
            const float *b = bias;
            const float *x = in;
            float *y = out;
            conv2d_1x1s1_c16_o24_p10_t10x2v8_relu__avx512_10x2t8(x, w, b, y);
        }
    }
}
