/* Padding (constant), 1x5x6x8 -> 1x8x9x8. */
static void pad_constant_1_2_0_3_c8_p72__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = first_unit(8, thread, threads), end = first_unit(8, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        const int iy = h - 1;
        for (int w = 0; w < 9; ++w) {
            const int ix = w;
            const int inside = iy >= 0 && iy < 5 && ix >= 0 && ix < 6;
            const float *x = inside ? in + (ptrdiff_t)iy * 48 + (ptrdiff_t)ix * 8 : in;
            float *y = out + (ptrdiff_t)h * 72 + (ptrdiff_t)w * 8;
            v_store(y, inside ? v_load(x) : v_set1(-0.5f));
        }
    }
}
