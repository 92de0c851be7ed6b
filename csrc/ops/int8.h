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
/* Packs the weights (k, n) of one group. */
void tt_pack_layer_int8(size_t k, size_t n, size_t groups, size_t group, const int8_t *w, uint8_t *packed);

/* ---- results ---- */

/* From sums to results, with what the tile starts from. The arrays hold `stride` columns for each group, so
 * that a group's can be read in whole vectors. */
typedef struct {
    tt_result_type type;
    tt_requantization how;
    size_t stride;
    const int32_t *start;
    void *scratch; /* holds the arrays; to be released */
} tt_finish_int8;

tt_status tt_begin_finish_int8(size_t depth, size_t n, size_t groups, tt_quantized x, const uint8_t *packed,
                               const float *w_scale, const float *bias, const tt_result *result,
                               tt_finish_int8 *finish);

/* The parameters of the columns from `first` on. */
tt_requantization tt_columns_from(const tt_requantization *how, size_t first);

/* Results (m, n) from element `at` of y on, each row from the largest of `pooled` rows of sums. */
void tt_finish_sums(const tt_finish_int8 *finish, const tt_requantization *how, size_t m, size_t n,
                    size_t pooled, const int32_t *sums, size_t sum_stride, void *y, size_t at, size_t y_stride);

/* How the elements of x become those that the tile takes: 128 more, 128 less, or as they are. */
int tt_shift_int8(const tt_int8_kernels *kernels, int is_signed);

#endif
