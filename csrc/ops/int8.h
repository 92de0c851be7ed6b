/* What the INT8 layers share: weights in panels, and what is done with the sums. */
#ifndef TT_OPS_INT8_H
#define TT_OPS_INT8_H

#include "runtime/runtime.h"

/* ---- panels: w (k, n), the columns in panels of nr, each as microkernels/int8.h draws it ---- */

static inline size_t tt_depth_int8(size_t k) { return tt_round_up(k, 4); }
void tt_pack_panels_int8(size_t k, size_t n, const int8_t *w, int8_t *panels);
void tt_unpack_panels_int8(size_t k, size_t n, const int8_t *panels, int8_t *w);

/* Weights packed for a layer: `groups` times the panels of (depth, n), then the sum of every column, then
 * TT_INT8_SLACK bytes that a tile may read. */
size_t tt_layer_bytes_int8(size_t depth, size_t n, size_t groups);
/* Stores the sums of the columns of one group's weights (k, n). */
void tt_store_sums_int8(size_t depth, size_t k, size_t n, size_t groups, size_t group, const int8_t *w,
                        uint8_t *packed);
/* Packs the weights (k, n) of one group, and their sums. */
void tt_pack_layer_int8(size_t k, size_t n, size_t groups, size_t group, const int8_t *w, uint8_t *packed);

/* ---- results ---- */

/* Two tiles, one below the other, before their sums become results: enough of them to be worth a call, few
 * enough to stay in L1. */
enum { TT_INT8_TILES = 2, TT_INT8_MOST_SUMS = TT_INT8_TILES * TT_INT8_MOST_ROWS * TT_INT8_MOST_COLUMNS };

/* The rows of a tile when m rows are shared out evenly: 7 and 6 rather than 10 and 3. */
static inline size_t tt_even_rows(size_t m, size_t most) { return tt_div_up(m, tt_div_up(m, most)); }

/* From sums to results, with what the tile starts from. The arrays hold `stride` columns for each group, so
 * that a group's can be read in whole vectors. */
typedef struct {
    tt_result_type type;
    tt_requantization how;
    size_t stride;
    const int32_t *start;
    void *scratch; /* holds the arrays; to be released */
} tt_finish_int8;

/* x_zero_point: what stands for 0 among the elements that are multiplied (see tt_shift_int8). */
tt_status tt_begin_finish_int8(size_t depth, size_t n, size_t groups, float x_scale, int x_zero_point,
                               const uint8_t *packed, const float *w_scale, const float *bias,
                               const tt_result *result, tt_finish_int8 *finish);

/* The parameters of the columns from `first` on. */
tt_requantization tt_columns_from(const tt_requantization *how, size_t first);

/* Results (m, n) from element `at` of y on, each row from the largest of `pooled` rows of sums. */
void tt_finish_sums(const tt_finish_int8 *finish, const tt_requantization *how, size_t m, size_t n,
                    size_t pooled, const int32_t *sums, size_t sum_stride, void *y, size_t at,
                    size_t y_stride);

/* How the elements of x become those of another type: 128 more, 128 less, or as they are. */
int tt_shift_int8(tt_int8_operand type, int is_signed);

#endif
