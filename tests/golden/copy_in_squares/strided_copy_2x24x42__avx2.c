/* Copy in loops of 2x24x42: steps 1008, 1, 24 are read, steps 1008, 42, 1 written. */
static void strided_copy_2x24x42__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = first_unit(4, thread, threads), end = first_unit(4, thread + 1, threads);
    for (int unit = begin; unit < end; ++unit) {
        const float *x = in + (ptrdiff_t)(unit / 2) * 1008;
        float *y = out + (ptrdiff_t)(unit / 2) * 1008;
        const int first = unit % 2 * 16;
        const int last = first + 16 < 24 ? first + 16 : 24;
        for (int j0 = 0; j0 < 42; j0 += 16) {
            const int j1 = j0 + 16 < 42 ? j0 + 16 : 42;
            for (int i = first; i < last; ++i)
                for (int j = j0; j < j1; ++j) y[(ptrdiff_t)i * 42 + j] = x[i + (ptrdiff_t)j * 24];
        }
    }
}
