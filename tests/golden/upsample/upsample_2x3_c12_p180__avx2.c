/* Every pixel as a block of 2x3 equal ones: 5x6x12 -> 10x18x12. */
static void upsample_2x3_c12_p180__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = first_unit(10, thread, threads), end = first_unit(10, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        const float *row_in = in + (ptrdiff_t)(h / 2) * 72;
        float *row_out = out + (ptrdiff_t)h * 216;
        for (int w = 0; w < 6; ++w) {
            const float *x = row_in + (ptrdiff_t)w * 12;
            float *y = row_out + (ptrdiff_t)w * 36;
            {
                const v_t a = v_load(x);
                for (int i = 0; i < 3; ++i) {
                    v_store(y + i * 12, a);
                }
            }
            {
                const v_t a = v_load_n(x + 8, 4);
                for (int i = 0; i < 3; ++i) {
                    v_store_n(y + 8 + i * 12, a, 4);
                }
            }
        }
    }
}
