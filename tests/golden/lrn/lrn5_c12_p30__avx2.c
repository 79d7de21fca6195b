/* Local response normalisation over 5 channels, 1x5x6x12. */
static void lrn5_c12_p30__avx2(const float *in, float *out, int thread, int threads)
{
    float squares[24] = {0}; /* of one pixel, with zeros around */
    const int begin = (int)((int64_t)5 * thread / threads);
    const int end = (int)((int64_t)5 * (thread + 1) / threads);
    for (int row = begin; row < end; ++row) {
        const ptrdiff_t n = row / 5, h = row % 5;
        for (int w = 0; w < 6; ++w) {
            const float *x = in + n * 360 + h * 72 + (ptrdiff_t)w * 12;
            float *y = out + n * 360 + h * 72 + (ptrdiff_t)w * 12;
            for (int c = 0; c < 12; ++c) squares[2 + c] = x[c] * x[c];
            int c = 0;
            for (; c < 8; c += 8) {
                v_t sum = v_load(squares + c);
                for (int j = 1; j < 5; ++j) sum = v_add(sum, v_load(squares + c + j));
                const v_t base = v_fma(v_set1(2e-05f), sum, v_set1(1.0f));
                v_store(y + c, v_div(v_load(x + c), v_mul(v_sqrt(base), v_sqrt(v_sqrt(base)))));
            }
            {
                v_t sum = v_load(squares + c);
                for (int j = 1; j < 5; ++j) sum = v_add(sum, v_load(squares + c + j));
                const v_t base = v_fma(v_set1(2e-05f), sum, v_set1(1.0f));
                v_store_n(y + c, v_div(v_load_n(x + c, 4), v_mul(v_sqrt(base), v_sqrt(v_sqrt(base)))), 4);
            }
        }
    }
}
