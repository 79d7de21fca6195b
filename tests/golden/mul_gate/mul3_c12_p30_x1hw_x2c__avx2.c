/* Element by element, 1x5x6x12: x0 * x1 * x2; x1 is the same along h and w; x2 is the same along c. */
static void mul3_c12_p30_x1hw_x2c__avx2(const float *in0, const float *in1, const float *in2, float *out, int thread,
    int threads)
{
    const int begin = first_unit(5, thread, threads), end = first_unit(5, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        const float *x1 = in1;
        const v_t b1_0 = v_load(x1), b1_1 = v_load_n(x1 + 8, 4);
        for (int w = 0; w < 6; ++w) {
            const float *x0 = in0 + (ptrdiff_t)h * 72 + (ptrdiff_t)w * 12;
            const v_t b2 = v_set1(*(in2 + (ptrdiff_t)h * 6 + (ptrdiff_t)w * 1));
            float *y = out + (ptrdiff_t)h * 72 + (ptrdiff_t)w * 12;
            {
                v_t a = v_load(x0);
                a = v_mul(a, b1_0);
                a = v_mul(a, b2);
                v_store(y, a);
            }
            {
                v_t a = v_load_n(x0 + 8, 4);
                a = v_mul(a, b1_1);
                a = v_mul(a, b2);
                v_store_n(y + 8, a, 4);
            }
        }
    }
}
