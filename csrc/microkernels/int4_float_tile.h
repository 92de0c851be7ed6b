/* The INT4 tile for x in float32, a part of int4_tile.h: weights are opened to floats, which takes more
 * instructions than multiplying by them, and nothing but products and sums is rounded. */

/* sum += the products of eight steps of depth. Few rows make few sums: `chains` copies of them, each for its
 * share of the steps, hide the latency of vf_fma. */
TT_INLINE void multiply_floats(const size_t m, const size_t chains, const float *x, size_t x_stride,
                               const uint8_t *w, vf sum[4][TT_INT4_FLOAT_ROWS][NV])
{
    vi words[NV];
    TT_UNROLL for (size_t v = 0; v < NV; v++) words[v] = vi_load_bytes(w + v * 4 * VF_N);
    TT_UNROLL for (size_t t = 0; t < 8; t++) {
        const int nibble = t < 4 ? 2 * (int)t : 2 * (int)t - 7;
        TT_UNROLL for (size_t v = 0; v < NV; v++) {
            vf weight = vf_from_nibble(words[v], nibble);
            TT_UNROLL for (size_t i = 0; i < m; i++)
                sum[t % chains][i][v] = vf_fma(weight, vf_set(x[i * x_stride + t]), sum[t % chains][i][v]);
        }
    }
}

/* sum[0] = the products of one group of `count` steps of depth. */
TT_INLINE void multiply_float_group(const size_t m, const size_t chains, const float *x, size_t x_stride,
                                    size_t count, const uint8_t *w, size_t width,
                                    vf sum[4][TT_INT4_FLOAT_ROWS][NV])
{
    TT_UNROLL for (size_t c = 0; c < chains; c++)
        TT_UNROLL for (size_t i = 0; i < m; i++)
            TT_UNROLL for (size_t v = 0; v < NV; v++) sum[c][i][v] = vf_set(0.0f);
    for (; count >= 8; count -= 8, x += 8, w += 4 * width) multiply_floats(m, chains, x, x_stride, w, sum);
    if (count > 0) { /* x ends here, the weights go on with zeros */
        float last[TT_INT4_FLOAT_ROWS * 8] = {0};
        for (size_t i = 0; i < m; i++) memcpy(last + i * 8, x + i * x_stride, count * sizeof *x);
        multiply_floats(m, chains, last, 8, w, sum);
    }
    TT_UNROLL for (size_t c = 1; c < chains; c++)
        TT_UNROLL for (size_t i = 0; i < m; i++)
            TT_UNROLL for (size_t v = 0; v < NV; v++) sum[0][i][v] = vf_add(sum[0][i][v], sum[c][i][v]);
}

/* `m` and `chains` are constants wherever this is called, so that every sum stays in a register. */
TT_INLINE void float_tile_of(const size_t m, const size_t chains, const float *x, size_t k, size_t group_size,
                             const uint8_t *w, size_t width, float *y)
{
    vf result[TT_INT4_FLOAT_ROWS][NV];
    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t v = 0; v < NV; v++) result[i][v] = vf_set(0.0f);

    for (size_t first = 0; first < k; first += group_size) {
        size_t count = k - first < group_size ? k - first : group_size;
        vf sum[4][TT_INT4_FLOAT_ROWS][NV];
        multiply_float_group(m, chains, x + first, k, count, w + 2 * width, width, sum);
        TT_UNROLL for (size_t v = 0; v < NV; v++) {
            vf scale = vf_from_half(w + 2 * v * VF_N);
            TT_UNROLL for (size_t i = 0; i < m; i++) result[i][v] = vf_fma(sum[0][i][v], scale, result[i][v]);
        }
        w += (2 + group_size / 2) * width;
    }

    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t v = 0; v < NV; v++) vf_store(y + i * COLUMNS + v * VF_N, result[i][v]);
}

static void float_tile(size_t m, const float *x, size_t k, size_t group_size, const uint8_t *panel,
                       size_t width, float *y)
{
    switch (m) {
    case 1: float_tile_of(1, 4, x, k, group_size, panel, width, y); break;
    case 2: float_tile_of(2, 2, x, k, group_size, panel, width, y); break;
    case 3: float_tile_of(3, 1, x, k, group_size, panel, width, y); break;
    case 4: float_tile_of(4, 1, x, k, group_size, panel, width, y); break;
    }
}
