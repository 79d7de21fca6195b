/* Element by element: sum of 2 tensors, 1x5x6x12. */
static void sum2_c12_p30_relu__avx2(const float *in0, const float *in1, float *out, int thread, int threads)
{
    const int begin = first_unit(5, thread, threads), end = first_unit(5, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        for (int w = 0; w < 6; ++w) {
            const float *x0 = in0 + (ptrdiff_t)h * 72 + (ptrdiff_t)w * 12;
            const float *x1 = in1 + (ptrdiff_t)h * 72 + (ptrdiff_t)w * 12;
            float *y = out + (ptrdiff_t)h * 72 + (ptrdiff_t)w * 12;
            {
                v_t a = v_load(x0);
                a = v_add(a, v_load(x1));
                v_store(y, act_relu(a));
            }
            {
                v_t a = v_load_n(x0 + 8, 4);
                a = v_add(a, v_load_n(x1 + 8, 4));
                v_store_n(y + 8, act_relu(a), 4);
            }
        }
    }
}
