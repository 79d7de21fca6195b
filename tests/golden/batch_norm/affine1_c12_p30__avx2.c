/* Element by element: scale and shift of each channel, 1x5x6x12. */
static void affine1_c12_p30__avx2(const float *in0, const float *scale, const float *shift, float *out, int thread, int threads)
{
    const int begin = (int)((int64_t)5 * thread / threads);
    const int end = (int)((int64_t)5 * (thread + 1) / threads);
    for (int row = begin; row < end; ++row) {
        const ptrdiff_t n = row / 5, h = row % 5;
        for (int w = 0; w < 6; ++w) {
            const float *x0 = in0 + n * 360 + h * 72 + (ptrdiff_t)w * 12;
            float *y = out + n * 360 + h * 72 + (ptrdiff_t)w * 12;
            int c = 0;
            for (; c < 8; c += 8) {
                v_t a = v_load(x0 + c);
                a = v_fma(a, v_load(scale + c), v_load(shift + c));
                v_store(y + c, a);
            }
            {
                v_t a = v_load_n(x0 + c, 4);
                a = v_fma(a, v_load(scale + c), v_load(shift + c));
                v_store_n(y + c, a, 4);
            }
        }
    }
}
