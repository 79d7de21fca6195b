/* Every pixel as a block of 2x3 equal ones: 5x6x12 -> 10x18x12. */
static void upsample_2x3_c12_p180__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = (int)((int64_t)10 * thread / threads);
    const int end = (int)((int64_t)10 * (thread + 1) / threads);
    for (int row = begin; row < end; ++row) {
        const ptrdiff_t n = row / 10, h = row % 10;
        const float *x = in + n * 360 + h / 2 * 72;
        float *y = out + n * 2160 + h * 216;
        for (int w = 0; w < 6; ++w, x += 12, y += 36) {
            int c = 0;
            for (; c < 8; c += 8) {
                const v_t a = v_load(x + c);
                for (int i = 0; i < 3; ++i) v_store(y + c + i * 12, a);
            }
            {
                const v_t a = v_load_n(x + c, 4);
                for (int i = 0; i < 3; ++i) v_store_n(y + c + i * 12, a, 4);
            }
        }
    }
}
