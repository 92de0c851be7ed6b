/* The INT4 tile, written once over vec.h. A level's int4.c says how its registers multiply bytes, then
 * includes this file:
 *
 *   MR                      rows
 *   vw, vw_load             4 * VF_N bytes of nibbles; vw_low and vw_high give the nibbles as bytes
 *   vx, vx_load             four int8 of x, in every lane
 *   vd, vd_zero             VF_N lanes of sums; a lane holds 32 steps of depth without overflow
 *   vd_dot(d, w, x)         d plus, in each lane, the four products of that lane's bytes
 *   vd_sum(d)               as int32
 *   AHEAD                   if defined: how many bytes ahead weights are asked for */
#include "microkernels/int4.h"
#include "microkernels/vec_bytes.h"

enum { COLUMNS = TT_INT4_COLUMNS, NV = COLUMNS / VF_N };

#include "microkernels/int4_float_tile.h"

/* total += the products of up to 32 steps of depth: `pairs` times eight. */
TT_INLINE void multiply_block(const size_t m, const int8_t *q, size_t depth, size_t pairs, const uint8_t *w,
                              size_t width, vi total[MR][NV])
{
    vd sum[MR][NV];
    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t v = 0; v < NV; v++) sum[i][v] = vd_zero();
    for (size_t t = 0; t < pairs; t++, w += 4 * width, q += 8) {
#if defined(AHEAD)
        TT_PREFETCH(w + AHEAD);
#endif
        TT_UNROLL for (size_t v = 0; v < NV; v++) {
            vw both = vw_load(w + v * 4 * VF_N), low = vw_low(both), high = vw_high(both);
            TT_UNROLL for (size_t i = 0; i < m; i++) {
                sum[i][v] = vd_dot(sum[i][v], low, vx_load(q + i * depth));
                sum[i][v] = vd_dot(sum[i][v], high, vx_load(q + i * depth + 4));
            }
        }
    }
    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t v = 0; v < NV; v++) total[i][v] = vi_add(total[i][v], vd_sum(sum[i][v]));
}

/* `m` is a constant wherever this is called, so that every sum stays in a register. */
TT_INLINE void tile_of(const size_t m, tt_int4_rows x, size_t group_size, const uint8_t *w, size_t width,
                       float *y)
{
    vf result[MR][NV];
    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t v = 0; v < NV; v++) result[i][v] = vf_set(0.0f);

    for (size_t group = 0, k = 0; group < x.groups; group++) {
        vf scale[NV];
        vi total[MR][NV];
        TT_UNROLL for (size_t v = 0; v < NV; v++) scale[v] = vf_from_half(w + 2 * v * VF_N);
        TT_UNROLL for (size_t i = 0; i < m; i++)
            TT_UNROLL for (size_t v = 0; v < NV; v++) total[i][v] = vi_set(x.start[i * x.groups + group]);
        w += 2 * width;

        size_t end = x.depth - k < group_size ? x.depth : k + group_size;
        while (k < end) {
            size_t pairs = end - k < 32 ? (end - k) / 8 : 4;
            multiply_block(m, x.q + k, x.depth, pairs, w, width, total);
            k += 8 * pairs;
            w += 4 * width * pairs;
        }

        TT_UNROLL for (size_t i = 0; i < m; i++) {
            vf x_scale = vf_set(x.scale[i * x.groups + group]);
            TT_UNROLL for (size_t v = 0; v < NV; v++)
                result[i][v] = vf_fma(vi_to_float(total[i][v]), vf_mul(scale[v], x_scale), result[i][v]);
        }
    }

    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t v = 0; v < NV; v++) vf_store(y + i * COLUMNS + v * VF_N, result[i][v]);
}

static void tile(size_t m, tt_int4_rows x, size_t group_size, const uint8_t *panel, size_t width, float *y)
{
#define ROWS(m) \
    case m: tile_of(m, x, group_size, panel, width, y); break
    switch (m) {
        ROWS(1);
#if MR >= 2
        ROWS(2);
#endif
#if MR >= 4
        ROWS(3); ROWS(4);
#endif
#if MR >= 8
        ROWS(5); ROWS(6); ROWS(7); ROWS(8);
#endif
    }
#undef ROWS
}
