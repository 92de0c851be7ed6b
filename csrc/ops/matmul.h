/* The matmul driver, as the other drivers use it: operands may be matrices, panels packed in advance, or
 * anything that can fill a panel (a convolution's image patches). */
#ifndef TT_OPS_MATMUL_H
#define TT_OPS_MATMUL_H

#include "runtime/runtime.h"

/* Fills the panels of the `count` rows of a (or columns of b) from `first` on, `width` rows each, for depth steps
 * [k, k + kc): element t of depth step d goes to panel[d * width + t]. Rows beyond count, in the last panel, are
 * zero. */
typedef void tt_fill_panels(const void *source, size_t k, size_t kc, size_t first, size_t count, size_t width,
                            float *panels);

typedef struct {
    const float *packed; /* the whole operand in panels, or NULL */
    tt_fill_panels *fill; /* fills panels where there is no packed */
    const void *source;
} tt_operand;

/* What becomes of the product: c is overwritten, or added to, then bias and activation follow. */
typedef struct {
    float *c;
    size_t row_stride;
    int accumulate;
    const float *row_bias, *column_bias; /* (m) and (n), or NULL */
    tt_activation activation;
} tt_output;

/* c (m, n) = a (m, k) @ b (k, n) for matrices in memory, packed or read in place, whichever is faster. */
tt_status tt_matmul_matrices(size_t m, size_t n, size_t k, tt_matrix a, tt_matrix b, tt_output out);

/* The same, read in place (matmul_direct.c), and whether that is the faster way. */
int tt_matmul_is_direct(size_t m, size_t n, size_t k, tt_matrix a, tt_matrix b);
tt_status tt_matmul_direct(size_t m, size_t n, size_t k, tt_matrix a, tt_matrix b, tt_output out);

/* The same for few rows of a and a b from beyond L2, whose rows are contiguous. */
void tt_matmul_streamed(size_t m, size_t n, size_t k, tt_matrix a, tt_matrix b, tt_output out);

/* The same for any operands, packed block by block. */
tt_status tt_matmul_driver(size_t m, size_t n, size_t k, tt_operand a, tt_operand b, tt_output out);

tt_operand tt_rows_of(const tt_matrix *a);    /* a matrix as the left operand */
tt_operand tt_columns_of(const tt_matrix *b); /* a matrix as the right operand */

/* Packs a whole operand: `extent` rows of a (width mr) or columns of b (width nr). */
size_t tt_packed_floats(size_t k, size_t extent, size_t width);
void tt_pack_operand(size_t k, size_t extent, size_t width, tt_operand operand, float *packed);

#endif
