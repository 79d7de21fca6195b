/* Convolution with few output channels: vectors run along the width, 25 taps written as
   offsets into the input, 3 filters, rows of 20 pixels. */
static void conv2d_5x5s1_planar_o3_p160_t2vx3_relu__avx512(const float *in, const float *weights, const float *bias,
    float *out, int thread, int threads)
{
    static const int taps[25] = { 0, 1, 2, 3, 4, 24, 25, 26, 27, 28, 48, 49, 50, 51, 52, 72, 73, 74, 75, 76, 96, 97, 98,
        99, 100 };
    const int begin = first_unit(8, thread, threads), end = first_unit(8, thread + 1, threads);
    for (int row = begin; row < end; ++row) {
        const float *x = in + (ptrdiff_t)row * 24;
        float *y = out + (ptrdiff_t)row * 60;
        { /* pixels 0 to 19 */
            float plane[3][32];
            { /* filters 0 to 2 */
                const float *w = weights;
                v_t a0_0 = v_set1(bias[0]), a0_1 = a0_0;
                v_t a1_0 = v_set1(bias[1]), a1_1 = a1_0;
                v_t a2_0 = v_set1(bias[2]), a2_1 = a2_0;
                for (int tap = 0; tap < 25; ++tap, w += 3) {
                    const float *p = x + taps[tap];
                    const v_t x0 = v_load(p), x1 = v_load_n(p + 16, 4);
                    v_t s;
                    s = v_set1(w[0]); a0_0 = v_fma(s, x0, a0_0); a0_1 = v_fma(s, x1, a0_1);
                    s = v_set1(w[1]); a1_0 = v_fma(s, x0, a1_0); a1_1 = v_fma(s, x1, a1_1);
                    s = v_set1(w[2]); a2_0 = v_fma(s, x0, a2_0); a2_1 = v_fma(s, x1, a2_1);
                }
                v_store(plane[0], a0_0);
                v_store(plane[0] + 16, a0_1);
                v_store(plane[1], a1_0);
                v_store(plane[1] + 16, a1_1);
                v_store(plane[2], a2_0);
                v_store(plane[2] + 16, a2_1);
            }
            for (int f = 0; f < 3; ++f)
                for (int i = 0; i < 32; i += 16) {
                    const v_t a = v_load(plane[f] + i);
                    v_store(plane[f] + i, act_relu(a));
                }
            for (int i = 0; i < 20; ++i)
                for (int f = 0; f < 3; ++f) y[i * 3 + f] = plane[f][i];
        }
    }
}
