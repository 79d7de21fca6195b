/* Softmax over 10 channels of 2 pixels. */
static void softmax_c10_p2__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = (int)((int64_t)2 * thread / threads);
    const int end = (int)((int64_t)2 * (thread + 1) / threads);
    for (int row = begin; row < end; ++row) {
        const ptrdiff_t n = row / 1, h = row % 1;
        for (int w = 0; w < 1; ++w) {
            const float *x = in + n * 10 + h * 10 + (ptrdiff_t)w * 10;
            float *y = out + n * 10 + h * 10 + (ptrdiff_t)w * 10;
            float largest = x[0];
            for (int c = 1; c < 10; ++c) largest = x[c] > largest ? x[c] : largest;
            const v_t shift = v_set1(largest);
            for (int c = 0; c < 8; c += 8) v_store(y + c, v_exp(v_sub(v_load(x + c), shift)));
            v_store_n(y + 8, v_exp(v_sub(v_load_n(x + 8, 2), shift)), 2);
            float sums[16] = {0};
            for (int c = 0; c < 10; ++c) sums[c % 16] += y[c];
            float total = sums[0];
            for (int i = 1; i < 10; ++i) total += sums[i];
            for (int c = 0; c < 10; ++c) y[c] /= total;
        }
    }
}
