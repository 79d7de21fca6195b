/* Average pooling: 3x3 windows, stride 2x2, 9x9x12 -> 5x5x12. */
static void avg_pool_3x3s2_c12_p25__avx2_clip(int position, int size, int kernel, int dilation, int *first, int *last)
{
    *first = position < 0 ? (-position + dilation - 1) / dilation : 0;
    *last = position + (kernel - 1) * dilation >= size ? (size - 1 - position) / dilation + 1 : kernel;
}

static void avg_pool_3x3s2_c12_p25__avx2(const float *in, float *out, int thread, int threads)
{
    const int begin = first_unit(5, thread, threads), end = first_unit(5, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        const int y0 = h * 2 - 1;
        int top, bottom;
        avg_pool_3x3s2_c12_p25__avx2_clip(y0, 9, 3, 1, &top, &bottom);
        for (int w = 0; w < 5; ++w) {
            const int x0 = w * 2 - 1;
            int left, right;
            avg_pool_3x3s2_c12_p25__avx2_clip(x0, 9, 3, 1, &left, &right);
            const int count = (bottom - top) * (right - left);
            const float *x = in + (ptrdiff_t)y0 * 108 + (ptrdiff_t)x0 * 12;
            float *y = out + (ptrdiff_t)h * 60 + (ptrdiff_t)w * 12;
            {
                v_t a = v_zero();
                for (int i = top; i < bottom; ++i)
                    for (int j = left; j < right; ++j)
                        a = v_add(a, v_load(x + (ptrdiff_t)i * 108 + (ptrdiff_t)j * 12));
                a = v_div(a, v_set1((float)count));
                v_store(y, a);
            }
            {
                v_t a = v_zero();
                for (int i = top; i < bottom; ++i)
                    for (int j = left; j < right; ++j)
                        a = v_add(a, v_load_n(x + 8 + (ptrdiff_t)i * 108 + (ptrdiff_t)j * 12, 4));
                a = v_div(a, v_set1((float)count));
                v_store_n(y + 8, a, 4);
            }
        }
    }
}
