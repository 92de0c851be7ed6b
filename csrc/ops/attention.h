/* What attention and its gradient share: tiles of scores, and the packing of what they are made of.
 *
 * The scores of nr queries and up to `keys` keys make one tile, (keys, nr), small enough for L1; the T x S
 * scores never exist. Every product is the matmul micro-kernel: b holds queries as columns, a holds keys (or
 * features) as rows, so that a tile of scores, once exponentiated, is already packed as the b of the next
 * product. */
#ifndef TT_OPS_ATTENTION_H
#define TT_OPS_ATTENTION_H

#include "runtime/runtime.h"

typedef struct {
    const tt_matmul_kernels *matmul;
    const tt_attention_kernels *kernels;
    const tt_attention *attention;
    size_t mr, nr, keys; /* keys is a multiple of both */
} tt_attention_tiles;

tt_attention_tiles tt_attention_tiles_of(const tt_attention *attention);

/* x (rows, depth) as panels of mr rows for products over depth: panel[d][i] = x[i][d]. */
void tt_pack_rows(const tt_attention_tiles *tiles, size_t rows, size_t depth, const float *x, float *panels);

/* x (rows, columns) in blocks of `block` rows, each as panels of mr columns for products over the rows:
 * panel[i][c] = x[i][c]. Takes round_up(columns, mr) floats for each row of its whole blocks. */
void tt_pack_columns(const tt_attention_tiles *tiles, size_t rows, size_t columns, size_t block, const float *x,
                     float *panels);

/* c (m, nr) = a @ b, or += when `accumulate`: a is m rows in panels, `panel_step` floats apart; b (depth, nr). */
void tt_multiply_panels(const tt_attention_tiles *tiles, size_t m, size_t depth, const float *a,
                        size_t panel_step, const float *b, float *c, int accumulate);

/* scale q^T as the b of the scores: (d, nr) of the n queries from the t0th on. */
void tt_pack_queries(const tt_attention_tiles *tiles, const float *q, size_t n, float scale, float *panel);

/* Where the keys end that the n queries from t0 on may see. */
size_t tt_visible_keys(const tt_attention *attention, size_t t0, size_t n);

/* One tile of masked scores for head h of sequence b. `bias` is scratch of 2 keys nr floats. */
void tt_score_tile(const tt_attention_tiles *tiles, size_t b, size_t h, size_t t0, size_t n, size_t s0,
                   size_t keys, const float *k_panels, const float *q_panel, float *bias, float *scores);

#endif
