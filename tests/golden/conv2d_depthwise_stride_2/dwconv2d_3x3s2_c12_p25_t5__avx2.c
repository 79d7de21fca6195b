/* Depthwise convolution: 3x3 taps, 12 channels, 5 rows of 5 pixels. */

/* 5 pixels x 8 channels */
static inline void dwconv2d_3x3s2_c12_p25_t5__avx2_5(const float *in, const float *weight, const float *bias,
    float *out)
{
    v_t a0 = v_load(bias), a1 = a0, a2 = a0, a3 = a0, a4 = a0;
    for (int ky = 0; ky < 3; ++ky) {
        const float *row = in + ky * 132;
        const v_t w0 = v_load(weight), w1 = v_load(weight + 8), w2 = v_load(weight + 16);
        v_t x;
        x = v_load(row); a0 = v_fma(x, w0, a0);
        x = v_load(row + 12); a0 = v_fma(x, w1, a0);
        x = v_load(row + 24); a0 = v_fma(x, w2, a0); a1 = v_fma(x, w0, a1);
        x = v_load(row + 36); a1 = v_fma(x, w1, a1);
        x = v_load(row + 48); a1 = v_fma(x, w2, a1); a2 = v_fma(x, w0, a2);
        x = v_load(row + 60); a2 = v_fma(x, w1, a2);
        x = v_load(row + 72); a2 = v_fma(x, w2, a2); a3 = v_fma(x, w0, a3);
        x = v_load(row + 84); a3 = v_fma(x, w1, a3);
        x = v_load(row + 96); a3 = v_fma(x, w2, a3); a4 = v_fma(x, w0, a4);
        x = v_load(row + 108); a4 = v_fma(x, w1, a4);
        x = v_load(row + 120); a4 = v_fma(x, w2, a4);
        weight += 24;
    }
    v_store(out, a0);
    v_store(out + 12, a1);
    v_store(out + 24, a2);
    v_store(out + 36, a3);
    v_store(out + 48, a4);
}

/* 5 pixels x 4 channels */
static inline void dwconv2d_3x3s2_c12_p25_t5__avx2_5t4(const float *in, const float *weight, const float *bias,
    float *out)
{
    v_t a0 = v_load(bias), a1 = a0, a2 = a0, a3 = a0, a4 = a0;
    for (int ky = 0; ky < 3; ++ky) {
        const float *row = in + ky * 132;
        const v_t w0 = v_load(weight), w1 = v_load(weight + 8), w2 = v_load(weight + 16);
        v_t x;
        x = v_load_n(row, 4); a0 = v_fma(x, w0, a0);
        x = v_load_n(row + 12, 4); a0 = v_fma(x, w1, a0);
        x = v_load_n(row + 24, 4); a0 = v_fma(x, w2, a0); a1 = v_fma(x, w0, a1);
        x = v_load_n(row + 36, 4); a1 = v_fma(x, w1, a1);
        x = v_load_n(row + 48, 4); a1 = v_fma(x, w2, a1); a2 = v_fma(x, w0, a2);
        x = v_load_n(row + 60, 4); a2 = v_fma(x, w1, a2);
        x = v_load_n(row + 72, 4); a2 = v_fma(x, w2, a2); a3 = v_fma(x, w0, a3);
        x = v_load_n(row + 84, 4); a3 = v_fma(x, w1, a3);
        x = v_load_n(row + 96, 4); a3 = v_fma(x, w2, a3); a4 = v_fma(x, w0, a4);
        x = v_load_n(row + 108, 4); a4 = v_fma(x, w1, a4);
        x = v_load_n(row + 120, 4); a4 = v_fma(x, w2, a4);
        weight += 24;
    }
    v_store_n(out, a0, 4);
    v_store_n(out + 12, a1, 4);
    v_store_n(out + 24, a2, 4);
    v_store_n(out + 36, a3, 4);
    v_store_n(out + 48, a4, 4);
}

static void dwconv2d_3x3s2_c12_p25_t5__avx2(const float *in, const float *weights, const float *bias, float *out,
    int thread, int threads)
{
    const int begin = first_unit(5, thread, threads), end = first_unit(5, thread + 1, threads);
    for (int row = begin; row < end; ++row) {
        const float *x = in + (ptrdiff_t)row * 264;
        float *y = out + (ptrdiff_t)row * 60;
        dwconv2d_3x3s2_c12_p25_t5__avx2_5(x, weights, bias, y);
        dwconv2d_3x3s2_c12_p25_t5__avx2_5t4(x + 8, weights + 72, bias + 8, y + 8);
    }
}
