/* Element by element, 1x5x6x12. */
static void map1_c12_p30_leaky_relu__avx2(const float *in0, float *out, int thread, int threads)
{
    const int begin = (int)((int64_t)5 * thread / threads);
    const int end = (int)((int64_t)5 * (thread + 1) / threads);
    for (int row = begin; row < end; ++row) {
        const ptrdiff_t n = row / 5, h = row % 5;
        for (int w = 0; w < 6; ++w) {
            const float *x0 = in0 + n * 360 + h * 72 + (ptrdiff_t)w * 12;
            float *y = out + n * 360 + h * 72 + (ptrdiff_t)w * 12;
            int c = 0;
            for (; c < 8; c += 8) {
                v_t a = v_load(x0 + c);
                v_store(y + c, act_leaky_relu(a, v_set1(0.1f)));
            }
            {
                v_t a = v_load_n(x0 + c, 4);
                v_store_n(y + c, act_leaky_relu(a, v_set1(0.1f)), 4);
            }
        }
    }
}
