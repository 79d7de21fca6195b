/* Element by element, 1x5x1x72: leaky_relu. */
static void map1_c72_p5_leaky_relu__avx2(const float *in0, float *out, int thread, int threads)
{
    const int begin = first_unit(5, thread, threads), end = first_unit(5, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        const float *x0 = in0 + (ptrdiff_t)h * 72;
        float *y = out + (ptrdiff_t)h * 72;
        for (int c = 0; c < 72; c += 8) {
            v_t a = v_load(x0 + c);
            v_store(y + c, act_leaky_relu(a, v_set1(0.1f)));
        }
    }
}
