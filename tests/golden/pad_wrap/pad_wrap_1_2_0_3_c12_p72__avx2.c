/* Padding (wrap), 1x5x6x12 -> 1x8x9x12. */
static void pad_wrap_1_2_0_3_c12_p72__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = first_unit(8, thread, threads), end = first_unit(8, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        const int iy = (h + 4) % 5;
        for (int w = 0; w < 9; ++w) {
            const int ix = w % 6;
            const float *x = in + (ptrdiff_t)iy * 72 + (ptrdiff_t)ix * 12;
            float *y = out + (ptrdiff_t)h * 108 + (ptrdiff_t)w * 12;
            v_store(y, v_load(x));
            v_store_n(y + 8, v_load_n(x + 8, 4), 4);
        }
    }
}
