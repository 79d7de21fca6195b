/* Resized 5x6 -> 8x4 pixels of 12 channels, each of 2x2 pixels. */
static void resize_2x2_5x6_to_8x4_c12_n1__avx2(const float *in, float *out, int thread, int threads)
{
    /* of each output: the rows it is made of, and what they weigh; then the same of columns */
    static const int rows[16] = {
        0, 0, 0, 1, 1, 2, 1, 2, 2, 3, 2, 3, 3, 4, 4, 4,
    };
    static const float row_weights[16] = {
        0.5f, 0.5f, 0.5625f, 0.4375f, 0.9375f, 0.0625f, 0.3125f, 0.6875f,
        0.6875f, 0.3125f, 0.0625f, 0.9375f, 0.4375f, 0.5625f, 0.5f, 0.5f,
    };
    static const int columns[8] = {
        0, 1, 1, 2, 3, 4, 4, 5,
    };
    static const float column_weights[8] = {
        0.75f, 0.25f, 0.25f, 0.75f, 0.75f, 0.25f, 0.25f, 0.75f,
    };
    const int begin = first_unit(8, thread, threads), end = first_unit(8, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        const float *image = in;
        for (int w = 0; w < 4; ++w) {
            float *y = out + (ptrdiff_t)h * 48 + (ptrdiff_t)w * 12;
            {
                v_t a = v_zero();
                for (int j = 0; j < 2; ++j) {
                    const float *x = image + (ptrdiff_t)columns[w * 2 + j] * 12;
                    v_t b = v_mul(v_set1(row_weights[h * 2]), v_load(x + (ptrdiff_t)rows[h * 2] * 72));
                    for (int i = 1; i < 2; ++i)
                        b = v_fma(v_set1(row_weights[h * 2 + i]), v_load(x + (ptrdiff_t)rows[h * 2 + i] * 72), b);
                    a = v_fma(v_set1(column_weights[w * 2 + j]), b, a);
                }
                v_store(y, a);
            }
            {
                v_t a = v_zero();
                for (int j = 0; j < 2; ++j) {
                    const float *x = image + (ptrdiff_t)columns[w * 2 + j] * 12;
                    v_t b = v_mul(v_set1(row_weights[h * 2]), v_load_n(x + (ptrdiff_t)rows[h * 2] * 72 + 8, 4));
                    for (int i = 1; i < 2; ++i)
                        b = v_fma(v_set1(row_weights[h * 2 + i]), v_load_n(x + (ptrdiff_t)rows[h * 2 + i] * 72 + 8, 4),
                            b);
                    a = v_fma(v_set1(column_weights[w * 2 + j]), b, a);
                }
                v_store_n(y + 8, a, 4);
            }
        }
    }
}
