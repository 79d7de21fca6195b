/* Resized 5x6 -> 4x3 pixels of 8 channels, each of 4x4 pixels. */
static void resize_4x4_5x6_to_4x3_c8_n1__avx2(const float *in, float *out, int thread, int threads)
{
    /* of each output: the rows it is made of, and what they weigh; then the same of columns */
    static const int rows[16] = {
        0, 0, 0, 0, 0, 1, 2, 3, 1, 2, 3, 4, 4, 4, 4, 4,
    };
    static const float row_weights[16] = {
        0.5f, 0.25f, 0.125f, 0.125f, -0.11111111f, 0.7962963f, 0.37037036f, -0.055555556f,
        -0.055555556f, 0.37037036f, 0.7962963f, -0.11111111f, 0.5f, 0.25f, 0.125f, 0.125f,
    };
    static const int columns[12] = {
        0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4,
    };
    static const float column_weights[12] = {
        0.5f, 0.25f, 0.125f, 0.125f, 0.5f, 0.25f, 0.125f, 0.125f,
        -0.09375f, 0.59375f, 0.59375f, -0.09375f,
    };
    const int begin = first_unit(4, thread, threads), end = first_unit(4, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        const float *image = in;
        for (int w = 0; w < 3; ++w) {
            float *y = out + (ptrdiff_t)h * 24 + (ptrdiff_t)w * 8;
            const int inside = 1 && w >= 1 && w < 3;
            v_t a = v_zero();
            for (int j = 0; j < 4; ++j) {
                const float *x = image + (ptrdiff_t)columns[w * 4 + j] * 8;
                v_t b = v_mul(v_set1(row_weights[h * 4]), v_load(x + (ptrdiff_t)rows[h * 4] * 48));
                for (int i = 1; i < 4; ++i)
                    b = v_fma(v_set1(row_weights[h * 4 + i]), v_load(x + (ptrdiff_t)rows[h * 4 + i] * 48), b);
                a = v_fma(v_set1(column_weights[w * 4 + j]), b, a);
            }
            a = inside ? a : v_set1(1.0f);
            v_store(y, a);
        }
    }
}
