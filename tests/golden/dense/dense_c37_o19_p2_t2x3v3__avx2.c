/* Dense layer: 37 inputs, 19 units, 2 images. */

/* 2 pixels x 19 channels */
static inline void dense_c37_o19_p2_t2x3v3__avx2_2x3t3(const float *in, const float *weight, const float *bias,
    float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0;
    v_t a0_1 = v_load(bias + 8), a1_1 = a0_1;
    v_t a0_2 = v_load(bias + 16), a1_2 = a0_2;
#pragma GCC unroll 5
    for (int c = 0; c < 37; ++c) {
        const float *x = in + c;
        const v_t w0 = v_load(weight), w1 = v_load(weight + 8), w2 = v_load(weight + 16);
        v_t s;
        s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0); a0_1 = v_fma(s, w1, a0_1); a0_2 = v_fma(s, w2, a0_2);
        s = v_set1(x[37]); a1_0 = v_fma(s, w0, a1_0); a1_1 = v_fma(s, w1, a1_1); a1_2 = v_fma(s, w2, a1_2);
        weight += 24;
    }
    v_store(out, a0_0);
    v_store(out + 8, a0_1);
    v_store_n(out + 16, a0_2, 3);
    v_store(out + 19, a1_0);
    v_store(out + 27, a1_1);
    v_store_n(out + 35, a1_2, 3);
}

static void dense_c37_o19_p2_t2x3v3__avx2(const float *in, const float *weights, const float *bias, float *out,
    int thread, int threads)
{
    { /* channels 0 to 18: 1 block of 3 vectors */
        if (thread == threads - 1) {
            const float *w = weights;
            const float *b = bias;
            const float *x = in;
            float *y = out;
            dense_c37_o19_p2_t2x3v3__avx2_2x3t3(x, w, b, y);
        }
    }
}
