/* Copy of 1x5x6x3 between two layouts. */
static void copy_1x5x6x3__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = first_unit(5, thread, threads), end = first_unit(5, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        const float *x = in + (ptrdiff_t)h * 6;
        float *y = out + (ptrdiff_t)h * 18;
        for (int w = 0; w < 6; ++w) {
            for (int c = 0; c < 3; ++c) {
                y[(ptrdiff_t)w * 3 + c] = x[w + (ptrdiff_t)c * 30];
            }
        }
    }
}
