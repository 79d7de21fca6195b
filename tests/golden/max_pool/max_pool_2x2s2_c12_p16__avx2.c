/* Maximum pooling: 2x2 windows, stride 2x2, 8x8x12 -> 4x4x12. */
static void max_pool_2x2s2_c12_p16__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = (int)((int64_t)4 * thread / threads);
    const int end = (int)((int64_t)4 * (thread + 1) / threads);
    for (int row = begin; row < end; ++row) {
        const int n = row / 4, oy = row % 4;
        const int iy = oy * 2;
        for (int ox = 0; ox < 4; ++ox) {
            const int ix = ox * 2;
            const float *x = in + (ptrdiff_t)n * 768 + (ptrdiff_t)iy * 96 + (ptrdiff_t)ix * 12;
            float *y = out + (ptrdiff_t)n * 192 + (ptrdiff_t)oy * 48 + (ptrdiff_t)ox * 12;
            for (int c = 0; c < 1; ++c, x += 8, y += 8) {
                v_t a = v_load(x);
                a = v_max_nan(a, v_load(x + 12));
                a = v_max_nan(a, v_load(x + 96));
                a = v_max_nan(a, v_load(x + 108));
                v_store(y, a);
            }
            {
                v_t a = v_load_n(x, 4);
                a = v_max_nan(a, v_load_n(x + 12, 4));
                a = v_max_nan(a, v_load_n(x + 96, 4));
                a = v_max_nan(a, v_load_n(x + 108, 4));
                v_store_n(y, a, 4);
            }
        }
    }
}
