/* Resized 5x6 -> 3x8 pixels of 12 channels, each of 1x1 pixels. */
static void resize_1x1_5x6_to_3x8_c12_n1__avx2(const float *in, float *out, int thread, int threads)
{
    /* of each output: the row it is made of; then the same of columns */
    static const int rows[3] = {
        0, 2, 4,
    };
    static const int columns[8] = {
        0, 1, 1, 2, 3, 4, 4, 5,
    };
    const int begin = first_unit(3, thread, threads), end = first_unit(3, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        const float *image = in;
        for (int w = 0; w < 8; ++w) {
            float *y = out + (ptrdiff_t)h * 96 + (ptrdiff_t)w * 12;
            {
                v_t a = v_load(image + (ptrdiff_t)rows[h] * 72 + (ptrdiff_t)columns[w] * 12);
                v_store(y, a);
            }
            {
                v_t a = v_load_n(image + (ptrdiff_t)rows[h] * 72 + (ptrdiff_t)columns[w] * 12 + 8, 4);
                v_store_n(y + 8, a, 4);
            }
        }
    }
}
