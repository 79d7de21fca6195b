/* Depthwise convolution: 3x3 taps, 12 channels, 5 rows of 5 pixels. */

/* 2 rows of 5 pixels x 8 channels */
static inline void dwconv2d_3x3s2_c12_p25_t2x5__avx2_2x5(const float *in, const float *weight, const float *bias,
    float *out)
{
    v_t a0_0 = v_load(bias), a0_1 = a0_0, a0_2 = a0_0, a0_3 = a0_0, a0_4 = a0_0, a1_0 = a0_0, a1_1 = a0_0, a1_2 = a0_0,
        a1_3 = a0_0, a1_4 = a0_0;
    v_t x;
    { /* kernel row 0 */
        const float *row = in;
        const v_t w0_0 = v_load(weight), w0_1 = v_load(weight + 8), w0_2 = v_load(weight + 16);
        x = v_load(row); a0_0 = v_fma(x, w0_0, a0_0);
        x = v_load(row + 12); a0_0 = v_fma(x, w0_1, a0_0);
        x = v_load(row + 24); a0_0 = v_fma(x, w0_2, a0_0); a0_1 = v_fma(x, w0_0, a0_1);
        x = v_load(row + 36); a0_1 = v_fma(x, w0_1, a0_1);
        x = v_load(row + 48); a0_1 = v_fma(x, w0_2, a0_1); a0_2 = v_fma(x, w0_0, a0_2);
        x = v_load(row + 60); a0_2 = v_fma(x, w0_1, a0_2);
        x = v_load(row + 72); a0_2 = v_fma(x, w0_2, a0_2); a0_3 = v_fma(x, w0_0, a0_3);
        x = v_load(row + 84); a0_3 = v_fma(x, w0_1, a0_3);
        x = v_load(row + 96); a0_3 = v_fma(x, w0_2, a0_3); a0_4 = v_fma(x, w0_0, a0_4);
        x = v_load(row + 108); a0_4 = v_fma(x, w0_1, a0_4);
        x = v_load(row + 120); a0_4 = v_fma(x, w0_2, a0_4);
    }
    { /* kernel row 1 */
        const float *row = in + 132;
        const v_t w1_0 = v_load(weight + 24), w1_1 = v_load(weight + 32), w1_2 = v_load(weight + 40);
        x = v_load(row); a0_0 = v_fma(x, w1_0, a0_0);
        x = v_load(row + 12); a0_0 = v_fma(x, w1_1, a0_0);
        x = v_load(row + 24); a0_0 = v_fma(x, w1_2, a0_0); a0_1 = v_fma(x, w1_0, a0_1);
        x = v_load(row + 36); a0_1 = v_fma(x, w1_1, a0_1);
        x = v_load(row + 48); a0_1 = v_fma(x, w1_2, a0_1); a0_2 = v_fma(x, w1_0, a0_2);
        x = v_load(row + 60); a0_2 = v_fma(x, w1_1, a0_2);
        x = v_load(row + 72); a0_2 = v_fma(x, w1_2, a0_2); a0_3 = v_fma(x, w1_0, a0_3);
        x = v_load(row + 84); a0_3 = v_fma(x, w1_1, a0_3);
        x = v_load(row + 96); a0_3 = v_fma(x, w1_2, a0_3); a0_4 = v_fma(x, w1_0, a0_4);
        x = v_load(row + 108); a0_4 = v_fma(x, w1_1, a0_4);
        x = v_load(row + 120); a0_4 = v_fma(x, w1_2, a0_4);
    }
    { /* kernel rows 2, 0 */
        const float *row = in + 264;
        const v_t w2_0 = v_load(weight + 48), w2_1 = v_load(weight + 56), w2_2 = v_load(weight + 64),
            w0_0 = v_load(weight), w0_1 = v_load(weight + 8), w0_2 = v_load(weight + 16);
        x = v_load(row); a0_0 = v_fma(x, w2_0, a0_0); a1_0 = v_fma(x, w0_0, a1_0);
        x = v_load(row + 12); a0_0 = v_fma(x, w2_1, a0_0); a1_0 = v_fma(x, w0_1, a1_0);
        x = v_load(row + 24); a0_0 = v_fma(x, w2_2, a0_0); a0_1 = v_fma(x, w2_0, a0_1); a1_0 = v_fma(x, w0_2, a1_0);
        a1_1 = v_fma(x, w0_0, a1_1);
        x = v_load(row + 36); a0_1 = v_fma(x, w2_1, a0_1); a1_1 = v_fma(x, w0_1, a1_1);
        x = v_load(row + 48); a0_1 = v_fma(x, w2_2, a0_1); a0_2 = v_fma(x, w2_0, a0_2); a1_1 = v_fma(x, w0_2, a1_1);
        a1_2 = v_fma(x, w0_0, a1_2);
        x = v_load(row + 60); a0_2 = v_fma(x, w2_1, a0_2); a1_2 = v_fma(x, w0_1, a1_2);
        x = v_load(row + 72); a0_2 = v_fma(x, w2_2, a0_2); a0_3 = v_fma(x, w2_0, a0_3); a1_2 = v_fma(x, w0_2, a1_2);
        a1_3 = v_fma(x, w0_0, a1_3);
        x = v_load(row + 84); a0_3 = v_fma(x, w2_1, a0_3); a1_3 = v_fma(x, w0_1, a1_3);
        x = v_load(row + 96); a0_3 = v_fma(x, w2_2, a0_3); a0_4 = v_fma(x, w2_0, a0_4); a1_3 = v_fma(x, w0_2, a1_3);
        a1_4 = v_fma(x, w0_0, a1_4);
        x = v_load(row + 108); a0_4 = v_fma(x, w2_1, a0_4); a1_4 = v_fma(x, w0_1, a1_4);
        x = v_load(row + 120); a0_4 = v_fma(x, w2_2, a0_4); a1_4 = v_fma(x, w0_2, a1_4);
    }
    { /* kernel row 1 */
        const float *row = in + 396;
        const v_t w1_0 = v_load(weight + 24), w1_1 = v_load(weight + 32), w1_2 = v_load(weight + 40);
        x = v_load(row); a1_0 = v_fma(x, w1_0, a1_0);
        x = v_load(row + 12); a1_0 = v_fma(x, w1_1, a1_0);
        x = v_load(row + 24); a1_0 = v_fma(x, w1_2, a1_0); a1_1 = v_fma(x, w1_0, a1_1);
        x = v_load(row + 36); a1_1 = v_fma(x, w1_1, a1_1);
        x = v_load(row + 48); a1_1 = v_fma(x, w1_2, a1_1); a1_2 = v_fma(x, w1_0, a1_2);
        x = v_load(row + 60); a1_2 = v_fma(x, w1_1, a1_2);
        x = v_load(row + 72); a1_2 = v_fma(x, w1_2, a1_2); a1_3 = v_fma(x, w1_0, a1_3);
        x = v_load(row + 84); a1_3 = v_fma(x, w1_1, a1_3);
        x = v_load(row + 96); a1_3 = v_fma(x, w1_2, a1_3); a1_4 = v_fma(x, w1_0, a1_4);
        x = v_load(row + 108); a1_4 = v_fma(x, w1_1, a1_4);
        x = v_load(row + 120); a1_4 = v_fma(x, w1_2, a1_4);
    }
    { /* kernel row 2 */
        const float *row = in + 528;
        const v_t w2_0 = v_load(weight + 48), w2_1 = v_load(weight + 56), w2_2 = v_load(weight + 64);
        x = v_load(row); a1_0 = v_fma(x, w2_0, a1_0);
        x = v_load(row + 12); a1_0 = v_fma(x, w2_1, a1_0);
        x = v_load(row + 24); a1_0 = v_fma(x, w2_2, a1_0); a1_1 = v_fma(x, w2_0, a1_1);
        x = v_load(row + 36); a1_1 = v_fma(x, w2_1, a1_1);
        x = v_load(row + 48); a1_1 = v_fma(x, w2_2, a1_1); a1_2 = v_fma(x, w2_0, a1_2);
        x = v_load(row + 60); a1_2 = v_fma(x, w2_1, a1_2);
        x = v_load(row + 72); a1_2 = v_fma(x, w2_2, a1_2); a1_3 = v_fma(x, w2_0, a1_3);
        x = v_load(row + 84); a1_3 = v_fma(x, w2_1, a1_3);
        x = v_load(row + 96); a1_3 = v_fma(x, w2_2, a1_3); a1_4 = v_fma(x, w2_0, a1_4);
        x = v_load(row + 108); a1_4 = v_fma(x, w2_1, a1_4);
        x = v_load(row + 120); a1_4 = v_fma(x, w2_2, a1_4);
    }
    v_store(out, a0_0);
    v_store(out + 12, a0_1);
    v_store(out + 24, a0_2);
    v_store(out + 36, a0_3);
    v_store(out + 48, a0_4);
    v_store(out + 60, a1_0);
    v_store(out + 72, a1_1);
    v_store(out + 84, a1_2);
    v_store(out + 96, a1_3);
    v_store(out + 108, a1_4);
}

/* 2 rows of 5 pixels x 4 channels */
static inline void dwconv2d_3x3s2_c12_p25_t2x5__avx2_2x5t4(const float *in, const float *weight, const float *bias,
    float *out)
{
    v_t a0_0 = v_load(bias), a0_1 = a0_0, a0_2 = a0_0, a0_3 = a0_0, a0_4 = a0_0, a1_0 = a0_0, a1_1 = a0_0, a1_2 = a0_0,
        a1_3 = a0_0, a1_4 = a0_0;
    v_t x;
    { /* kernel row 0 */
        const float *row = in;
        const v_t w0_0 = v_load(weight), w0_1 = v_load(weight + 8), w0_2 = v_load(weight + 16);
        x = v_load_n(row, 4); a0_0 = v_fma(x, w0_0, a0_0);
        x = v_load_n(row + 12, 4); a0_0 = v_fma(x, w0_1, a0_0);
        x = v_load_n(row + 24, 4); a0_0 = v_fma(x, w0_2, a0_0); a0_1 = v_fma(x, w0_0, a0_1);
        x = v_load_n(row + 36, 4); a0_1 = v_fma(x, w0_1, a0_1);
        x = v_load_n(row + 48, 4); a0_1 = v_fma(x, w0_2, a0_1); a0_2 = v_fma(x, w0_0, a0_2);
        x = v_load_n(row + 60, 4); a0_2 = v_fma(x, w0_1, a0_2);
        x = v_load_n(row + 72, 4); a0_2 = v_fma(x, w0_2, a0_2); a0_3 = v_fma(x, w0_0, a0_3);
        x = v_load_n(row + 84, 4); a0_3 = v_fma(x, w0_1, a0_3);
        x = v_load_n(row + 96, 4); a0_3 = v_fma(x, w0_2, a0_3); a0_4 = v_fma(x, w0_0, a0_4);
        x = v_load_n(row + 108, 4); a0_4 = v_fma(x, w0_1, a0_4);
        x = v_load_n(row + 120, 4); a0_4 = v_fma(x, w0_2, a0_4);
    }
    { /* kernel row 1 */
        const float *row = in + 132;
        const v_t w1_0 = v_load(weight + 24), w1_1 = v_load(weight + 32), w1_2 = v_load(weight + 40);
        x = v_load_n(row, 4); a0_0 = v_fma(x, w1_0, a0_0);
        x = v_load_n(row + 12, 4); a0_0 = v_fma(x, w1_1, a0_0);
        x = v_load_n(row + 24, 4); a0_0 = v_fma(x, w1_2, a0_0); a0_1 = v_fma(x, w1_0, a0_1);
        x = v_load_n(row + 36, 4); a0_1 = v_fma(x, w1_1, a0_1);
        x = v_load_n(row + 48, 4); a0_1 = v_fma(x, w1_2, a0_1); a0_2 = v_fma(x, w1_0, a0_2);
        x = v_load_n(row + 60, 4); a0_2 = v_fma(x, w1_1, a0_2);
        x = v_load_n(row + 72, 4); a0_2 = v_fma(x, w1_2, a0_2); a0_3 = v_fma(x, w1_0, a0_3);
        x = v_load_n(row + 84, 4); a0_3 = v_fma(x, w1_1, a0_3);
        x = v_load_n(row + 96, 4); a0_3 = v_fma(x, w1_2, a0_3); a0_4 = v_fma(x, w1_0, a0_4);
        x = v_load_n(row + 108, 4); a0_4 = v_fma(x, w1_1, a0_4);
        x = v_load_n(row + 120, 4); a0_4 = v_fma(x, w1_2, a0_4);
    }
    { /* kernel rows 2, 0 */
        const float *row = in + 264;
        const v_t w2_0 = v_load(weight + 48), w2_1 = v_load(weight + 56), w2_2 = v_load(weight + 64),
            w0_0 = v_load(weight), w0_1 = v_load(weight + 8), w0_2 = v_load(weight + 16);
        x = v_load_n(row, 4); a0_0 = v_fma(x, w2_0, a0_0); a1_0 = v_fma(x, w0_0, a1_0);
        x = v_load_n(row + 12, 4); a0_0 = v_fma(x, w2_1, a0_0); a1_0 = v_fma(x, w0_1, a1_0);
        x = v_load_n(row + 24, 4); a0_0 = v_fma(x, w2_2, a0_0); a0_1 = v_fma(x, w2_0, a0_1);
        a1_0 = v_fma(x, w0_2, a1_0); a1_1 = v_fma(x, w0_0, a1_1);
        x = v_load_n(row + 36, 4); a0_1 = v_fma(x, w2_1, a0_1); a1_1 = v_fma(x, w0_1, a1_1);
        x = v_load_n(row + 48, 4); a0_1 = v_fma(x, w2_2, a0_1); a0_2 = v_fma(x, w2_0, a0_2);
        a1_1 = v_fma(x, w0_2, a1_1); a1_2 = v_fma(x, w0_0, a1_2);
        x = v_load_n(row + 60, 4); a0_2 = v_fma(x, w2_1, a0_2); a1_2 = v_fma(x, w0_1, a1_2);
        x = v_load_n(row + 72, 4); a0_2 = v_fma(x, w2_2, a0_2); a0_3 = v_fma(x, w2_0, a0_3);
        a1_2 = v_fma(x, w0_2, a1_2); a1_3 = v_fma(x, w0_0, a1_3);
        x = v_load_n(row + 84, 4); a0_3 = v_fma(x, w2_1, a0_3); a1_3 = v_fma(x, w0_1, a1_3);
        x = v_load_n(row + 96, 4); a0_3 = v_fma(x, w2_2, a0_3); a0_4 = v_fma(x, w2_0, a0_4);
        a1_3 = v_fma(x, w0_2, a1_3); a1_4 = v_fma(x, w0_0, a1_4);
        x = v_load_n(row + 108, 4); a0_4 = v_fma(x, w2_1, a0_4); a1_4 = v_fma(x, w0_1, a1_4);
        x = v_load_n(row + 120, 4); a0_4 = v_fma(x, w2_2, a0_4); a1_4 = v_fma(x, w0_2, a1_4);
    }
    { /* kernel row 1 */
        const float *row = in + 396;
        const v_t w1_0 = v_load(weight + 24), w1_1 = v_load(weight + 32), w1_2 = v_load(weight + 40);
        x = v_load_n(row, 4); a1_0 = v_fma(x, w1_0, a1_0);
        x = v_load_n(row + 12, 4); a1_0 = v_fma(x, w1_1, a1_0);
        x = v_load_n(row + 24, 4); a1_0 = v_fma(x, w1_2, a1_0); a1_1 = v_fma(x, w1_0, a1_1);
        x = v_load_n(row + 36, 4); a1_1 = v_fma(x, w1_1, a1_1);
        x = v_load_n(row + 48, 4); a1_1 = v_fma(x, w1_2, a1_1); a1_2 = v_fma(x, w1_0, a1_2);
        x = v_load_n(row + 60, 4); a1_2 = v_fma(x, w1_1, a1_2);
        x = v_load_n(row + 72, 4); a1_2 = v_fma(x, w1_2, a1_2); a1_3 = v_fma(x, w1_0, a1_3);
        x = v_load_n(row + 84, 4); a1_3 = v_fma(x, w1_1, a1_3);
        x = v_load_n(row + 96, 4); a1_3 = v_fma(x, w1_2, a1_3); a1_4 = v_fma(x, w1_0, a1_4);
        x = v_load_n(row + 108, 4); a1_4 = v_fma(x, w1_1, a1_4);
        x = v_load_n(row + 120, 4); a1_4 = v_fma(x, w1_2, a1_4);
    }
    { /* kernel row 2 */
        const float *row = in + 528;
        const v_t w2_0 = v_load(weight + 48), w2_1 = v_load(weight + 56), w2_2 = v_load(weight + 64);
        x = v_load_n(row, 4); a1_0 = v_fma(x, w2_0, a1_0);
        x = v_load_n(row + 12, 4); a1_0 = v_fma(x, w2_1, a1_0);
        x = v_load_n(row + 24, 4); a1_0 = v_fma(x, w2_2, a1_0); a1_1 = v_fma(x, w2_0, a1_1);
        x = v_load_n(row + 36, 4); a1_1 = v_fma(x, w2_1, a1_1);
        x = v_load_n(row + 48, 4); a1_1 = v_fma(x, w2_2, a1_1); a1_2 = v_fma(x, w2_0, a1_2);
        x = v_load_n(row + 60, 4); a1_2 = v_fma(x, w2_1, a1_2);
        x = v_load_n(row + 72, 4); a1_2 = v_fma(x, w2_2, a1_2); a1_3 = v_fma(x, w2_0, a1_3);
        x = v_load_n(row + 84, 4); a1_3 = v_fma(x, w2_1, a1_3);
        x = v_load_n(row + 96, 4); a1_3 = v_fma(x, w2_2, a1_3); a1_4 = v_fma(x, w2_0, a1_4);
        x = v_load_n(row + 108, 4); a1_4 = v_fma(x, w2_1, a1_4);
        x = v_load_n(row + 120, 4); a1_4 = v_fma(x, w2_2, a1_4);
    }
    v_store_n(out, a0_0, 4);
    v_store_n(out + 12, a0_1, 4);
    v_store_n(out + 24, a0_2, 4);
    v_store_n(out + 36, a0_3, 4);
    v_store_n(out + 48, a0_4, 4);
    v_store_n(out + 60, a1_0, 4);
    v_store_n(out + 72, a1_1, 4);
    v_store_n(out + 84, a1_2, 4);
    v_store_n(out + 96, a1_3, 4);
    v_store_n(out + 108, a1_4, 4);
}

/* 1 row of 5 pixels x 8 channels */
static inline void dwconv2d_3x3s2_c12_p25_t2x5__avx2_1x5(const float *in, const float *weight, const float *bias,
    float *out)
{
    v_t a0_0 = v_load(bias), a0_1 = a0_0, a0_2 = a0_0, a0_3 = a0_0, a0_4 = a0_0;
    v_t x;
    for (int ky = 0; ky < 3; ++ky) {
        const float *row = in + ky * 132;
        const v_t w0 = v_load(weight), w1 = v_load(weight + 8), w2 = v_load(weight + 16);
        x = v_load(row); a0_0 = v_fma(x, w0, a0_0);
        x = v_load(row + 12); a0_0 = v_fma(x, w1, a0_0);
        x = v_load(row + 24); a0_0 = v_fma(x, w2, a0_0); a0_1 = v_fma(x, w0, a0_1);
        x = v_load(row + 36); a0_1 = v_fma(x, w1, a0_1);
        x = v_load(row + 48); a0_1 = v_fma(x, w2, a0_1); a0_2 = v_fma(x, w0, a0_2);
        x = v_load(row + 60); a0_2 = v_fma(x, w1, a0_2);
        x = v_load(row + 72); a0_2 = v_fma(x, w2, a0_2); a0_3 = v_fma(x, w0, a0_3);
        x = v_load(row + 84); a0_3 = v_fma(x, w1, a0_3);
        x = v_load(row + 96); a0_3 = v_fma(x, w2, a0_3); a0_4 = v_fma(x, w0, a0_4);
        x = v_load(row + 108); a0_4 = v_fma(x, w1, a0_4);
        x = v_load(row + 120); a0_4 = v_fma(x, w2, a0_4);
        weight += 24;
    }
    v_store(out, a0_0);
    v_store(out + 12, a0_1);
    v_store(out + 24, a0_2);
    v_store(out + 36, a0_3);
    v_store(out + 48, a0_4);
}

/* 1 row of 5 pixels x 4 channels */
static inline void dwconv2d_3x3s2_c12_p25_t2x5__avx2_1x5t4(const float *in, const float *weight, const float *bias,
    float *out)
{
    v_t a0_0 = v_load(bias), a0_1 = a0_0, a0_2 = a0_0, a0_3 = a0_0, a0_4 = a0_0;
    v_t x;
    for (int ky = 0; ky < 3; ++ky) {
        const float *row = in + ky * 132;
        const v_t w0 = v_load(weight), w1 = v_load(weight + 8), w2 = v_load(weight + 16);
        x = v_load_n(row, 4); a0_0 = v_fma(x, w0, a0_0);
        x = v_load_n(row + 12, 4); a0_0 = v_fma(x, w1, a0_0);
        x = v_load_n(row + 24, 4); a0_0 = v_fma(x, w2, a0_0); a0_1 = v_fma(x, w0, a0_1);
        x = v_load_n(row + 36, 4); a0_1 = v_fma(x, w1, a0_1);
        x = v_load_n(row + 48, 4); a0_1 = v_fma(x, w2, a0_1); a0_2 = v_fma(x, w0, a0_2);
        x = v_load_n(row + 60, 4); a0_2 = v_fma(x, w1, a0_2);
        x = v_load_n(row + 72, 4); a0_2 = v_fma(x, w2, a0_2); a0_3 = v_fma(x, w0, a0_3);
        x = v_load_n(row + 84, 4); a0_3 = v_fma(x, w1, a0_3);
        x = v_load_n(row + 96, 4); a0_3 = v_fma(x, w2, a0_3); a0_4 = v_fma(x, w0, a0_4);
        x = v_load_n(row + 108, 4); a0_4 = v_fma(x, w1, a0_4);
        x = v_load_n(row + 120, 4); a0_4 = v_fma(x, w2, a0_4);
        weight += 24;
    }
    v_store_n(out, a0_0, 4);
    v_store_n(out + 12, a0_1, 4);
    v_store_n(out + 24, a0_2, 4);
    v_store_n(out + 36, a0_3, 4);
    v_store_n(out + 48, a0_4, 4);
}

static void dwconv2d_3x3s2_c12_p25_t2x5__avx2(const float *in, const float *weights, const float *bias, float *out,
    int thread, int threads)
{
    const int begin = first_unit(3, thread, threads), end = first_unit(3, thread + 1, threads);
    for (int rows = begin; rows < end; ++rows) {
        const float *x = in + (ptrdiff_t)rows * 528;
        float *y = out + (ptrdiff_t)rows * 120;
        if (rows < 2) {
            dwconv2d_3x3s2_c12_p25_t2x5__avx2_2x5(x, weights, bias, y);
            dwconv2d_3x3s2_c12_p25_t2x5__avx2_2x5t4(x + 8, weights + 72, bias + 8, y + 8);
        } else {
            dwconv2d_3x3s2_c12_p25_t2x5__avx2_1x5(x, weights, bias, y);
            dwconv2d_3x3s2_c12_p25_t2x5__avx2_1x5t4(x + 8, weights + 72, bias + 8, y + 8);
        }
    }
}
