/* Zeros around 1x6x7x8: 1 above, 0 below, 0 left, 2 right. */
static void halo_1x6x7x8_1_0_0_2__avx2(float *out, int thread, int threads)
{
    const int begin = first_unit(7, thread, threads), end = first_unit(7, thread + 1, threads);
    for (int row = begin; row < end; ++row) {
        float *y = out + (ptrdiff_t)row * 72;
        if (row < 1) {
            memset(y, 0, 72 * sizeof *y);
            continue;
        }
        memset(y + 56, 0, 16 * sizeof *y);
    }
}
