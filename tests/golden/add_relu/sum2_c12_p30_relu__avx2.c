/* Element by element: sum of 2 tensors, 1x5x6x12. */
static void sum2_c12_p30_relu__avx2(const float *in0, const float *in1, float *out, int thread, int threads)
{
    const int begin = (int)((int64_t)5 * thread / threads);
    const int end = (int)((int64_t)5 * (thread + 1) / threads);
    for (int row = begin; row < end; ++row) {
        const ptrdiff_t n = row / 5, h = row % 5;
        for (int w = 0; w < 6; ++w) {
            const float *x0 = in0 + n * 360 + h * 72 + (ptrdiff_t)w * 12;
            const float *x1 = in1 + n * 360 + h * 72 + (ptrdiff_t)w * 12;
            float *y = out + n * 360 + h * 72 + (ptrdiff_t)w * 12;
            int c = 0;
            for (; c < 8; c += 8) {
                v_t a = v_load(x0 + c);
                a = v_add(a, v_load(x1 + c));
                v_store(y + c, act_relu(a));
            }
            {
                v_t a = v_load_n(x0 + c, 4);
                a = v_add(a, v_load_n(x1 + c, 4));
                v_store_n(y + c, act_relu(a), 4);
            }
        }
    }
}
