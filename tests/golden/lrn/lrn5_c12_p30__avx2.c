/* Local response normalisation over 5 channels, 1x5x6x12. */
static void lrn5_c12_p30__avx2(const float *in, float *out, int thread, int threads)
{
    float squares[24] = {0}; /* of one pixel, with zeros around */
    const int begin = first_unit(5, thread, threads), end = first_unit(5, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        for (int w = 0; w < 6; ++w) {
            const float *x = in + (ptrdiff_t)h * 72 + (ptrdiff_t)w * 12;
            float *y = out + (ptrdiff_t)h * 72 + (ptrdiff_t)w * 12;
            for (int c = 0; c < 12; ++c) squares[2 + c] = x[c] * x[c];
            {
                v_t sum = v_load(squares);
                for (int j = 1; j < 5; ++j) sum = v_add(sum, v_load(squares + j));
                const v_t base = v_fma(v_set1(2e-05f), sum, v_set1(1.0f));
                v_store(y, v_div(v_load(x), v_mul(v_sqrt(base), v_sqrt(v_sqrt(base)))));
            }
            {
                v_t sum = v_load(squares + 8);
                for (int j = 1; j < 5; ++j) sum = v_add(sum, v_load(squares + 8 + j));
                const v_t base = v_fma(v_set1(2e-05f), sum, v_set1(1.0f));
                v_store_n(y + 8, v_div(v_load_n(x + 8, 4), v_mul(v_sqrt(base), v_sqrt(v_sqrt(base)))), 4);
            }
        }
    }
}
