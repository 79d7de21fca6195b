/* Element by element, 1x5x6x12. */
static void map1_c12_p30_leaky_relu__avx2(const float *in0, float *out, int thread, int threads)
{
    const int begin = first_unit(5, thread, threads), end = first_unit(5, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        for (int w = 0; w < 6; ++w) {
            const float *x0 = in0 + (ptrdiff_t)h * 72 + (ptrdiff_t)w * 12;
            float *y = out + (ptrdiff_t)h * 72 + (ptrdiff_t)w * 12;
            {
                v_t a = v_load(x0);
                v_store(y, act_leaky_relu(a, v_set1(0.1f)));
            }
            {
                v_t a = v_load_n(x0 + 8, 4);
                v_store_n(y + 8, act_leaky_relu(a, v_set1(0.1f)), 4);
            }
        }
    }
}
