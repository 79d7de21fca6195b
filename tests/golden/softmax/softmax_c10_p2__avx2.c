/* Softmax over 10 channels of 2 pixels. */
static void softmax_c10_p2__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = first_unit(2, thread, threads), end = first_unit(2, thread + 1, threads);
    for (int n = begin; n < end; ++n) {
        const float *x = in + (ptrdiff_t)n * 10;
        float *y = out + (ptrdiff_t)n * 10;
        float largest = x[0];
        for (int c = 1; c < 10; ++c) largest = x[c] > largest ? x[c] : largest;
        const v_t shift = v_set1(largest);
        v_store(y, v_exp(v_sub(v_load(x), shift)));
        v_store_n(y + 8, v_exp(v_sub(v_load_n(x + 8, 2), shift)), 2);
        float sums[10] = {0};
        for (int c = 0; c < 10; ++c) sums[c] += y[c];
        float total = sums[0];
        for (int i = 1; i < 10; ++i) total += sums[i];
        for (int c = 0; c < 10; ++c) y[c] /= total;
    }
}
