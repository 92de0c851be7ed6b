/* The INT8 tile, written once. A level's int8.c says what its registers do, then includes this file:
 *
 *   MR, NV, VN        rows, vectors of a row, int32 lanes in a vector
 *   STEPS             how many steps make up one group of four (4 / interleave)
 *   A_BYTES           the size of one element of a
 *   vi                a vector of VN int32; vi_zero, vi_add, vi_load, vi_store
 *   vb, vb_load       VN * 4 / STEPS bytes of b, ready to be multiplied
 *   va, va_load       the 4 / STEPS elements of a of one step, in every lane
 *   vi_dot(c, a, b)   c plus, in each lane, the products of that lane's elements */
#include "microkernels/int8.h"
#include "microkernels/vec.h"

enum { NR = NV * VN, INTERLEAVE = 4 / STEPS, STEP_B = VN * 4 / STEPS, STEP_A = A_BYTES * 4 / STEPS };

#include "microkernels/int8_pack.h"

/* sum += one step of a @ one step of b; the step of a starts `at` bytes into each row. */
TT_INLINE void multiply_step(const size_t m, const size_t nv, const char *const *rows, size_t at,
                             const int8_t *b, vi sum[MR][NV])
{
    vb row[NV];
    TT_UNROLL for (size_t v = 0; v < nv; v++) row[v] = vb_load(b + v * STEP_B);
    TT_UNROLL for (size_t i = 0; i < m; i++) {
        va element = va_load(rows[i] + at);
        TT_UNROLL for (size_t v = 0; v < nv; v++) sum[i][v] = vi_dot(sum[i][v], element, row[v]);
    }
}

TT_INLINE void clear(const size_t m, const size_t nv, vi sum[MR][NV])
{
    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t v = 0; v < nv; v++) sum[i][v] = vi_zero();
}

/* `m`, `nv` and `chains` are constants wherever this is called, so that every sum stays in a register. Few
 * rows make few sums: `chains` copies of them, each for its share of the steps, hide vi_dot's latency. */
TT_INLINE void tile_of(const size_t m, const size_t nv, const size_t chains, const char *const *rows,
                       const size_t *offsets, size_t segments, size_t groups, const int8_t *b, size_t width,
                       const int32_t *start, int32_t *acc, size_t acc_stride)
{
    vi sum[4][MR][NV];
    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t v = 0; v < nv; v++) sum[0][i][v] = vi_load(start + v * VN);
    if (chains >= 2) clear(m, nv, sum[1]);
    if (chains == 4) clear(m, nv, sum[2]), clear(m, nv, sum[3]);

    const size_t row = width * (4 / STEPS), steps = groups * STEPS;
    for (size_t s = 0; s < segments; s++) {
        size_t at = offsets[s], t = 0;
        for (; t + chains <= steps; t += chains, at += chains * STEP_A, b += chains * row) {
            multiply_step(m, nv, rows, at, b, sum[0]);
            if (chains >= 2) multiply_step(m, nv, rows, at + STEP_A, b + row, sum[1]);
            if (chains == 4) {
                multiply_step(m, nv, rows, at + 2 * STEP_A, b + 2 * row, sum[2]);
                multiply_step(m, nv, rows, at + 3 * STEP_A, b + 3 * row, sum[3]);
            }
        }
        if (chains > 1)
            for (; t < steps; t++, at += STEP_A, b += row) multiply_step(m, nv, rows, at, b, sum[0]);
    }

    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t v = 0; v < nv; v++) {
            vi total = sum[0][i][v];
            if (chains >= 2) total = vi_add(total, sum[1][i][v]);
            if (chains == 4) total = vi_add(total, vi_add(sum[2][i][v], sum[3][i][v]));
            vi_store(acc + i * acc_stride + v * VN, total);
        }
}

static void tile(size_t m, const char *const *rows, const size_t *offsets, size_t segments, size_t groups,
                 const int8_t *b, size_t width, const int32_t *start, int32_t *acc, size_t acc_stride)
{
#define CHAINS(sums) ((sums) >= 8 ? 1 : (sums) >= 4 ? 2 : 4)
#define COLUMNS(m, nv) \
    tile_of(m, nv, CHAINS((m) * (nv)), rows, offsets, segments, groups, b, width, start, acc, acc_stride)
#define ROWS(m) \
    case m: if (width > VN) COLUMNS(m, NV); else COLUMNS(m, 1); break
    switch (m) {
        ROWS(1); ROWS(2); ROWS(3); ROWS(4); ROWS(5); ROWS(6);
#if MR >= 8
        ROWS(7); ROWS(8);
#endif
#if MR >= 10
        ROWS(9); ROWS(10);
#endif
    }
#undef ROWS
#undef COLUMNS
#undef CHAINS
}
