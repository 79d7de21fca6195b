/* Element by element, 1x5x6x140: x0 * x1 * x2; x1 is the same along h and w; x2 is the same along c. */
static void mul3_c140_p30_x1hw_x2c__avx2(const float *in0, const float *in1, const float *in2, float *out, int thread,
    int threads)
{
    const int begin = first_unit(5, thread, threads), end = first_unit(5, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        const float *x1 = in1;
        for (int w = 0; w < 6; ++w) {
            const float *x0 = in0 + (ptrdiff_t)h * 840 + (ptrdiff_t)w * 140;
            const v_t b2 = v_set1(*(in2 + (ptrdiff_t)h * 6 + (ptrdiff_t)w * 1));
            float *y = out + (ptrdiff_t)h * 840 + (ptrdiff_t)w * 140;
            for (int c = 0; c < 136; c += 8) {
                v_t a = v_load(x0 + c);
                a = v_mul(a, v_load(x1 + c));
                a = v_mul(a, b2);
                v_store(y + c, a);
            }
            {
                v_t a = v_load_n(x0 + 136, 4);
                a = v_mul(a, v_load_n(x1 + 136, 4));
                a = v_mul(a, b2);
                v_store_n(y + 136, a, 4);
            }
        }
    }
}
