/* Element by element, 1x5x6x12: a slope for each channel below zero. */
static void prelu1_c12_p30__avx2(const float *in0, const float *alpha, float *out, int thread, int threads)
{
    const int begin = first_unit(5, thread, threads), end = first_unit(5, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        for (int w = 0; w < 6; ++w) {
            const float *x0 = in0 + (ptrdiff_t)h * 72 + (ptrdiff_t)w * 12;
            float *y = out + (ptrdiff_t)h * 72 + (ptrdiff_t)w * 12;
            {
                v_t a = v_load(x0);
                a = act_leaky_relu(a, v_load(alpha));
                v_store(y, a);
            }
            {
                v_t a = v_load_n(x0 + 8, 4);
                a = act_leaky_relu(a, v_load(alpha + 8));
                v_store_n(y + 8, a, 4);
            }
        }
    }
}
