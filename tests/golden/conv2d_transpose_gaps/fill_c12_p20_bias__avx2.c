/* Pixels that no element of the input reaches, 1x4x5x12: bias. */
static void fill_c12_p20_bias__avx2(const float *bias, float *out, int thread, int threads)
{
    const int begin = first_unit(4, thread, threads), end = first_unit(4, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        for (int w = 0; w < 5; ++w) {
            float *y = out + (ptrdiff_t)h * 120 + (ptrdiff_t)w * 24;
            {
                v_t a = v_load(bias);
                v_store(y, a);
            }
            {
                v_t a = v_load(bias + 8);
                v_store_n(y + 8, a, 4);
            }
        }
    }
}
