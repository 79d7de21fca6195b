/* Bilinear interpolation, 2x3 pixels for one: 5x6x12 -> 10x18x12. */
static void bilinear_2x3_c12_p180__avx2(const float *in, float *out, int thread, int threads)
{
    /* of each output of a pixel: its lower neighbour, and the shares of the upper and the lower one */
    static const int lower_0[2] = { -1, 0 };
    static const float share_0[2] = { 0.75f, 0.25f };
    static const float rest_0[2] = { 0.25f, 0.75f };
    static const int lower_1[3] = { -1, 0, 0 };
    static const float share_1[3] = { 0.6666667f, 0.0f, 0.33333334f };
    static const float rest_1[3] = { 0.33333334f, 1.0f, 0.6666667f };
    const int begin = first_unit(10, thread, threads), end = first_unit(10, thread + 1, threads);
    for (int h = begin; h < end; ++h) {
        const int y0 = h / 2 + lower_0[h % 2];
        const int y0_low = y0 < 0 ? 0 : y0;
        const int y0_high = share_0[h % 2] > 0.0f && y0 < 4 ? y0 + 1 : y0_low;
        const v_t y0_share = v_set1(share_0[h % 2]), y0_rest = v_set1(rest_0[h % 2]);
        const float *above = in + (ptrdiff_t)y0_low * 72;
        const float *below = in + (ptrdiff_t)y0_high * 72;
        for (int w = 0; w < 18; ++w) {
            const int x0 = w / 3 + lower_1[w % 3];
            const int x0_low = x0 < 0 ? 0 : x0;
            const int x0_high = share_1[w % 3] > 0.0f && x0 < 5 ? x0 + 1 : x0_low;
            const v_t x0_share = v_set1(share_1[w % 3]), x0_rest = v_set1(rest_1[w % 3]);
            const ptrdiff_t l = (ptrdiff_t)x0_low * 12, r = (ptrdiff_t)x0_high * 12;
            float *y = out + (ptrdiff_t)h * 216 + (ptrdiff_t)w * 12;
            {
                const v_t left = v_fma(y0_share, v_load(below + l), v_mul(y0_rest, v_load(above + l)));
                const v_t right = v_fma(y0_share, v_load(below + r), v_mul(y0_rest, v_load(above + r)));
                v_store(y, v_fma(x0_share, right, v_mul(x0_rest, left)));
            }
            {
                const v_t left = v_fma(y0_share, v_load_n(below + l + 8, 4),
                    v_mul(y0_rest, v_load_n(above + l + 8, 4)));
                const v_t right = v_fma(y0_share, v_load_n(below + r + 8, 4),
                    v_mul(y0_rest, v_load_n(above + r + 8, 4)));
                v_store_n(y + 8, v_fma(x0_share, right, v_mul(x0_rest, left)), 4);
            }
        }
    }
}
