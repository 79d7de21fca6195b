/* Direct convolution: 72 taps, 16 output channels, 49 pixels. */

/* 5 pixels x 16 channels; *_at: where the pixels lie behind the first one */
static ALWAYS_INLINE void conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(const float *in, const float *weight,
    const float *bias, float *out, const int *input_at)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0, a3_0 = a0_0, a4_0 = a0_0;
    v_t a0_1 = v_load(bias + 8), a1_1 = a0_1, a2_1 = a0_1, a3_1 = a0_1, a4_1 = a0_1;
    for (int ky = 0; ky < 3; ++ky) {
#pragma GCC unroll 3
        for (int kx_c = 0; kx_c < 24; ++kx_c) {
            const float *x = in + ky * 72 + kx_c;
            V_FORGET(x); /* a value kept for the next pixel would cost an accumulator its register */
            const v_t w0 = v_load(weight), w1 = v_load(weight + 8);
            v_t s;
            s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0); a0_1 = v_fma(s, w1, a0_1);
            s = v_set1(x[input_at[1]]); a1_0 = v_fma(s, w0, a1_0); a1_1 = v_fma(s, w1, a1_1);
            s = v_set1(x[input_at[2]]); a2_0 = v_fma(s, w0, a2_0); a2_1 = v_fma(s, w1, a2_1);
            s = v_set1(x[input_at[3]]); a3_0 = v_fma(s, w0, a3_0); a3_1 = v_fma(s, w1, a3_1);
            s = v_set1(x[input_at[4]]); a4_0 = v_fma(s, w0, a4_0); a4_1 = v_fma(s, w1, a4_1);
            weight += 16;
        }
    }
    v_store(out, a0_0);
    v_store(out + 8, a0_1);
    v_store(out + 16, a1_0);
    v_store(out + 24, a1_1);
    v_store(out + 32, a2_0);
    v_store(out + 40, a2_1);
    v_store(out + 48, a3_0);
    v_store(out + 56, a3_1);
    v_store(out + 64, a4_0);
    v_store(out + 72, a4_1);
}

/* 4 pixels x 16 channels */
static NEVER_INLINE void conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_4x2(const float *in, const float *weight,
    const float *bias, float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0, a3_0 = a0_0;
    v_t a0_1 = v_load(bias + 8), a1_1 = a0_1, a2_1 = a0_1, a3_1 = a0_1;
    for (int ky = 0; ky < 3; ++ky) {
#pragma GCC unroll 4
        for (int kx_c = 0; kx_c < 24; ++kx_c) {
            const float *x = in + ky * 72 + kx_c;
            V_FORGET(x); /* a value kept for the next pixel would cost an accumulator its register */
            const v_t w0 = v_load(weight), w1 = v_load(weight + 8);
            v_t s;
            s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0); a0_1 = v_fma(s, w1, a0_1);
            s = v_set1(x[8]); a1_0 = v_fma(s, w0, a1_0); a1_1 = v_fma(s, w1, a1_1);
            s = v_set1(x[16]); a2_0 = v_fma(s, w0, a2_0); a2_1 = v_fma(s, w1, a2_1);
            s = v_set1(x[24]); a3_0 = v_fma(s, w0, a3_0); a3_1 = v_fma(s, w1, a3_1);
            weight += 16;
        }
    }
    v_store(out, a0_0);
    v_store(out + 8, a0_1);
    v_store(out + 16, a1_0);
    v_store(out + 24, a1_1);
    v_store(out + 32, a2_0);
    v_store(out + 40, a2_1);
    v_store(out + 48, a3_0);
    v_store(out + 56, a3_1);
}

static void conv2d_3x3s1_c8_o16_p49_t5x2v__avx2(const float *in, const float *weights, const float *bias, float *out,
    int thread, int threads)
{
    { /* channels 0 to 15: 1 block of 2 vectors */
        if (thread == threads - 1) {
            const float *w = weights;
            const float *b = bias;
            const float *x = in;
            float *y = out;
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(x, w, b, y, (const int[]){ 0, 8, 16, 24, 32 });
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(x + 40, w, b, y + 80, (const int[]){ 0, 8, 32, 40, 48 });
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(x + 96, w, b, y + 160, (const int[]){ 0, 8, 16, 24, 48 });
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(x + 152, w, b, y + 240, (const int[]){ 0, 8, 16, 24, 32 });
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(x + 192, w, b, y + 320, (const int[]){ 0, 24, 32, 40, 48 });
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(x + 248, w, b, y + 400, (const int[]){ 0, 8, 16, 40, 48 });
            for (int t = 0; t < 2; ++t) {
                conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(x + 304 + t * 56, w, b, y + 480 + t * 80,
                    (const int[]){ 0, 8, 16, 24, 32 });
            }
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(x + 400, w, b, y + 640, (const int[]){ 0, 8, 32, 40, 48 });
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_4x2(x + 456, w, b, y + 720);
        }
    }
}
