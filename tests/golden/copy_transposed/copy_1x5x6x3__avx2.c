/* Copy of 1x5x6x3 between two layouts. */
static void copy_1x5x6x3__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = (int)((int64_t)5 * thread / threads);
    const int end = (int)((int64_t)5 * (thread + 1) / threads);
    for (int row = begin; row < end; ++row) {
        const ptrdiff_t n = row / 5, h = row % 5;
        const float *x = in + n * 90 + h * 6;
        float *y = out + n * 90 + h * 18;
        for (ptrdiff_t w = 0; w < 6; ++w)
            for (ptrdiff_t c = 0; c < 3; ++c)
                y[w * 3 + c * 1] = x[w * 1 + c * 30];
    }
}
