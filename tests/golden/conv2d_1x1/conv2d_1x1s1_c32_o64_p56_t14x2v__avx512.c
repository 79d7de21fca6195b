/* Direct convolution: 32 taps, 64 output channels, 56 pixels. */

/* 14 pixels x 32 channels */
static inline void conv2d_1x1s1_c32_o64_p56_t14x2v__avx512_14x2(const float *in, const float *weight, const float *bias,
    float *out)
{
    v_t a0_0 = v_load(bias), a1_0 = a0_0, a2_0 = a0_0, a3_0 = a0_0, a4_0 = a0_0, a5_0 = a0_0, a6_0 = a0_0, a7_0 = a0_0,
        a8_0 = a0_0, a9_0 = a0_0, a10_0 = a0_0, a11_0 = a0_0, a12_0 = a0_0, a13_0 = a0_0;
    v_t a0_1 = v_load(bias + 16), a1_1 = a0_1, a2_1 = a0_1, a3_1 = a0_1, a4_1 = a0_1, a5_1 = a0_1, a6_1 = a0_1,
        a7_1 = a0_1, a8_1 = a0_1, a9_1 = a0_1, a10_1 = a0_1, a11_1 = a0_1, a12_1 = a0_1, a13_1 = a0_1;
    for (int c = 0; c < 32; ++c) {
        const float *x = in + c;
        const v_t w0 = v_load(weight), w1 = v_load(weight + 16);
        v_t s;
        s = v_set1(x[0]); a0_0 = v_fma(s, w0, a0_0); a0_1 = v_fma(s, w1, a0_1);
        s = v_set1(x[32]); a1_0 = v_fma(s, w0, a1_0); a1_1 = v_fma(s, w1, a1_1);
        s = v_set1(x[64]); a2_0 = v_fma(s, w0, a2_0); a2_1 = v_fma(s, w1, a2_1);
        s = v_set1(x[96]); a3_0 = v_fma(s, w0, a3_0); a3_1 = v_fma(s, w1, a3_1);
        s = v_set1(x[128]); a4_0 = v_fma(s, w0, a4_0); a4_1 = v_fma(s, w1, a4_1);
        s = v_set1(x[160]); a5_0 = v_fma(s, w0, a5_0); a5_1 = v_fma(s, w1, a5_1);
        s = v_set1(x[192]); a6_0 = v_fma(s, w0, a6_0); a6_1 = v_fma(s, w1, a6_1);
        s = v_set1(x[224]); a7_0 = v_fma(s, w0, a7_0); a7_1 = v_fma(s, w1, a7_1);
        s = v_set1(x[256]); a8_0 = v_fma(s, w0, a8_0); a8_1 = v_fma(s, w1, a8_1);
        s = v_set1(x[288]); a9_0 = v_fma(s, w0, a9_0); a9_1 = v_fma(s, w1, a9_1);
        s = v_set1(x[320]); a10_0 = v_fma(s, w0, a10_0); a10_1 = v_fma(s, w1, a10_1);
        s = v_set1(x[352]); a11_0 = v_fma(s, w0, a11_0); a11_1 = v_fma(s, w1, a11_1);
        s = v_set1(x[384]); a12_0 = v_fma(s, w0, a12_0); a12_1 = v_fma(s, w1, a12_1);
        s = v_set1(x[416]); a13_0 = v_fma(s, w0, a13_0); a13_1 = v_fma(s, w1, a13_1);
        weight += 32;
    }
    v_store(out, a0_0);
    v_store(out + 16, a0_1);
    v_store(out + 64, a1_0);
    v_store(out + 80, a1_1);
    v_store(out + 128, a2_0);
    v_store(out + 144, a2_1);
    v_store(out + 192, a3_0);
    v_store(out + 208, a3_1);
    v_store(out + 256, a4_0);
    v_store(out + 272, a4_1);
    v_store(out + 320, a5_0);
    v_store(out + 336, a5_1);
    v_store(out + 384, a6_0);
    v_store(out + 400, a6_1);
    v_store(out + 448, a7_0);
    v_store(out + 464, a7_1);
    v_store(out + 512, a8_0);
    v_store(out + 528, a8_1);
    v_store(out + 576, a9_0);
    v_store(out + 592, a9_1);
    v_store(out + 640, a10_0);
    v_store(out + 656, a10_1);
    v_store(out + 704, a11_0);
    v_store(out + 720, a11_1);
    v_store(out + 768, a12_0);
    v_store(out + 784, a12_1);
    v_store(out + 832, a13_0);
    v_store(out + 848, a13_1);
}

static void conv2d_1x1s1_c32_o64_p56_t14x2v__avx512(const float *in, const float *weights, const float *bias,
    float *out, int thread, int threads)
{
    { /* channels 0 to 63: 2 blocks of 2 vectors */
        const int begin = first_unit(2, thread, threads), end = first_unit(2, thread + 1, threads);
        for (int block = begin; block < end; ++block) {
            const float *w = weights + (ptrdiff_t)block * 1024;
            const float *b = bias + block * 32;
            const float *x = in;
            float *y = out + block * 32;
            for (int t = 0; t < 4; ++t) {
                conv2d_1x1s1_c32_o64_p56_t14x2v__avx512_14x2(x + t * 448, w, b, y + t * 896);
            }
        }
    }
}
