/* Copy in loops of 30x3: steps 1, 30 are read, steps 3, 1 written. */
static void strided_copy_30x3__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = first_unit(30, thread, threads), end = first_unit(30, thread + 1, threads);
    for (int unit = begin; unit < end; ++unit) {
        const float *x = in + unit;
        float *y = out + (ptrdiff_t)unit * 3;
        for (int j = 0; j < 3; ++j) y[j] = x[(ptrdiff_t)j * 30];
    }
}
