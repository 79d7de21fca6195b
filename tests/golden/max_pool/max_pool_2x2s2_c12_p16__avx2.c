/* Maximum pooling: 2x2 windows, stride 2x2, 8x8x12 -> 4x4x12. */
static void max_pool_2x2s2_c12_p16__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = first_unit(4, thread, threads), end = first_unit(4, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        for (int w = 0; w < 4; ++w) {
            const float *x = in + (ptrdiff_t)h * 192 + (ptrdiff_t)w * 24;
            float *y = out + (ptrdiff_t)h * 48 + (ptrdiff_t)w * 12;
            {
                v_t a = v_load(x);
                a = v_max_nan(a, v_load(x + 12));
                a = v_max_nan(a, v_load(x + 96));
                a = v_max_nan(a, v_load(x + 108));
                v_store(y, a);
            }
            {
                v_t a = v_load_n(x + 8, 4);
                a = v_max_nan(a, v_load_n(x + 20, 4));
                a = v_max_nan(a, v_load_n(x + 104, 4));
                a = v_max_nan(a, v_load_n(x + 116, 4));
                v_store_n(y + 8, a, 4);
            }
        }
    }
}
