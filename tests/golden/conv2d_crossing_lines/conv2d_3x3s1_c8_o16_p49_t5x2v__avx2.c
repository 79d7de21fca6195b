/* Direct convolution as a matrix product with implicit rows.
   72 taps, 16 output channels, 1 row of 49 pixels. */

/* 5 pixels x 2 vectors of channels */
static inline void conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(const float *in, const float *weight, const float *bias, float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0, a3_0 = a0_0, a4_0 = a0_0;
    v_t a0_1 = v_load(bias + 8), a1_1 = a0_1, a2_1 = a0_1, a3_1 = a0_1, a4_1 = a0_1;
    for (int i0 = 0; i0 < 3; ++i0) {
#pragma GCC unroll 3
        for (int i1 = 0; i1 < 24; ++i1) {
            const float *x = in + i0 * 72 + i1;
            V_FORGET(x); /* a value kept for the next pixel would cost an accumulator its register */
            const v_t w0 = v_load(weight), w1 = v_load(weight + 8);
            v_t s;
            s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0); a0_1 = v_fma(s, w1, a0_1);
            s = v_set1(x[8]); a1_0 = v_fma(s, w0, a1_0); a1_1 = v_fma(s, w1, a1_1);
            s = v_set1(x[16]); a2_0 = v_fma(s, w0, a2_0); a2_1 = v_fma(s, w1, a2_1);
            s = v_set1(x[24]); a3_0 = v_fma(s, w0, a3_0); a3_1 = v_fma(s, w1, a3_1);
            s = v_set1(x[32]); a4_0 = v_fma(s, w0, a4_0); a4_1 = v_fma(s, w1, a4_1);
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

/* 5 pixels x 2 vectors of channels */
static inline void conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2_2(const float *in, const float *weight, const float *bias, float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0, a3_0 = a0_0, a4_0 = a0_0;
    v_t a0_1 = v_load(bias + 8), a1_1 = a0_1, a2_1 = a0_1, a3_1 = a0_1, a4_1 = a0_1;
    for (int i0 = 0; i0 < 3; ++i0) {
#pragma GCC unroll 3
        for (int i1 = 0; i1 < 24; ++i1) {
            const float *x = in + i0 * 72 + i1;
            V_FORGET(x); /* a value kept for the next pixel would cost an accumulator its register */
            const v_t w0 = v_load(weight), w1 = v_load(weight + 8);
            v_t s;
            s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0); a0_1 = v_fma(s, w1, a0_1);
            s = v_set1(x[8]); a1_0 = v_fma(s, w0, a1_0); a1_1 = v_fma(s, w1, a1_1);
            s = v_set1(x[32]); a2_0 = v_fma(s, w0, a2_0); a2_1 = v_fma(s, w1, a2_1);
            s = v_set1(x[40]); a3_0 = v_fma(s, w0, a3_0); a3_1 = v_fma(s, w1, a3_1);
            s = v_set1(x[48]); a4_0 = v_fma(s, w0, a4_0); a4_1 = v_fma(s, w1, a4_1);
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

/* 5 pixels x 2 vectors of channels */
static inline void conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2_3(const float *in, const float *weight, const float *bias, float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0, a3_0 = a0_0, a4_0 = a0_0;
    v_t a0_1 = v_load(bias + 8), a1_1 = a0_1, a2_1 = a0_1, a3_1 = a0_1, a4_1 = a0_1;
    for (int i0 = 0; i0 < 3; ++i0) {
#pragma GCC unroll 3
        for (int i1 = 0; i1 < 24; ++i1) {
            const float *x = in + i0 * 72 + i1;
            V_FORGET(x); /* a value kept for the next pixel would cost an accumulator its register */
            const v_t w0 = v_load(weight), w1 = v_load(weight + 8);
            v_t s;
            s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0); a0_1 = v_fma(s, w1, a0_1);
            s = v_set1(x[8]); a1_0 = v_fma(s, w0, a1_0); a1_1 = v_fma(s, w1, a1_1);
            s = v_set1(x[16]); a2_0 = v_fma(s, w0, a2_0); a2_1 = v_fma(s, w1, a2_1);
            s = v_set1(x[24]); a3_0 = v_fma(s, w0, a3_0); a3_1 = v_fma(s, w1, a3_1);
            s = v_set1(x[48]); a4_0 = v_fma(s, w0, a4_0); a4_1 = v_fma(s, w1, a4_1);
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

/* 5 pixels x 2 vectors of channels */
static inline void conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2_4(const float *in, const float *weight, const float *bias, float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0, a3_0 = a0_0, a4_0 = a0_0;
    v_t a0_1 = v_load(bias + 8), a1_1 = a0_1, a2_1 = a0_1, a3_1 = a0_1, a4_1 = a0_1;
    for (int i0 = 0; i0 < 3; ++i0) {
#pragma GCC unroll 3
        for (int i1 = 0; i1 < 24; ++i1) {
            const float *x = in + i0 * 72 + i1;
            V_FORGET(x); /* a value kept for the next pixel would cost an accumulator its register */
            const v_t w0 = v_load(weight), w1 = v_load(weight + 8);
            v_t s;
            s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0); a0_1 = v_fma(s, w1, a0_1);
            s = v_set1(x[24]); a1_0 = v_fma(s, w0, a1_0); a1_1 = v_fma(s, w1, a1_1);
            s = v_set1(x[32]); a2_0 = v_fma(s, w0, a2_0); a2_1 = v_fma(s, w1, a2_1);
            s = v_set1(x[40]); a3_0 = v_fma(s, w0, a3_0); a3_1 = v_fma(s, w1, a3_1);
            s = v_set1(x[48]); a4_0 = v_fma(s, w0, a4_0); a4_1 = v_fma(s, w1, a4_1);
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

/* 5 pixels x 2 vectors of channels */
static inline void conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2_5(const float *in, const float *weight, const float *bias, float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0, a3_0 = a0_0, a4_0 = a0_0;
    v_t a0_1 = v_load(bias + 8), a1_1 = a0_1, a2_1 = a0_1, a3_1 = a0_1, a4_1 = a0_1;
    for (int i0 = 0; i0 < 3; ++i0) {
#pragma GCC unroll 3
        for (int i1 = 0; i1 < 24; ++i1) {
            const float *x = in + i0 * 72 + i1;
            V_FORGET(x); /* a value kept for the next pixel would cost an accumulator its register */
            const v_t w0 = v_load(weight), w1 = v_load(weight + 8);
            v_t s;
            s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0); a0_1 = v_fma(s, w1, a0_1);
            s = v_set1(x[8]); a1_0 = v_fma(s, w0, a1_0); a1_1 = v_fma(s, w1, a1_1);
            s = v_set1(x[16]); a2_0 = v_fma(s, w0, a2_0); a2_1 = v_fma(s, w1, a2_1);
            s = v_set1(x[40]); a3_0 = v_fma(s, w0, a3_0); a3_1 = v_fma(s, w1, a3_1);
            s = v_set1(x[48]); a4_0 = v_fma(s, w0, a4_0); a4_1 = v_fma(s, w1, a4_1);
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

/* 4 pixels x 2 vectors of channels */
static inline void conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_4x2(const float *in, const float *weight, const float *bias, float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0, a3_0 = a0_0;
    v_t a0_1 = v_load(bias + 8), a1_1 = a0_1, a2_1 = a0_1, a3_1 = a0_1;
    for (int i0 = 0; i0 < 3; ++i0) {
#pragma GCC unroll 4
        for (int i1 = 0; i1 < 24; ++i1) {
            const float *x = in + i0 * 72 + i1;
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

static void conv2d_3x3s1_c8_o16_p49_t5x2v__avx2(const float *in, const float *weights, const float *bias, float *out, int thread, int threads)
{
    {
        /* channels 0 to 15: 1 block of 2 vectors */
        const int begin = (int)((int64_t)1 * thread / threads);
        const int end = (int)((int64_t)1 * (thread + 1) / threads);
        for (int unit = begin; unit < end; ++unit) {
            const float *x = in;
            const float *w = weights;
            const float *b = bias;
            float *y = out;
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(x, w, b, y);
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2_2(x + 40, w, b, y + 80);
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2_3(x + 96, w, b, y + 160);
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(x + 152, w, b, y + 240);
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2_4(x + 192, w, b, y + 320);
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2_5(x + 248, w, b, y + 400);
            for (int t = 0; t < 2; ++t)
                conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2(x + 304 + t * 56, w, b, y + 480 + t * 80);
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_5x2_2(x + 400, w, b, y + 640);
            conv2d_3x3s1_c8_o16_p49_t5x2v__avx2_4x2(x + 456, w, b, y + 720);
        }
    }
}
