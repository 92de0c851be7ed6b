/* Products with a sparse matrix, panel by panel of anything that can be loaded (sparse.c), and the slices of
 * single elements that they read (sparse_slices.c). */
#ifndef TT_OPS_SPARSE_H
#define TT_OPS_SPARSE_H

#include "runtime/runtime.h"

enum {
    TT_SPARSE_PANEL = 64, /* columns at a time: four AVX-512 vectors, and a depth of 128 fills an L1 of 32 KiB */
    TT_WINDOW = 256,      /* rows that are sorted together: enough that the four of a slice are equally long */
    TT_MOST_DEPTH = 1024,
};

/* Tile (d, i) holds the columns d * depth ... of w within the rows i * TT_WINDOW ... */
typedef struct {
    size_t depth, depth_blocks, windows;
    const int32_t *tiles; /* (depth_blocks * windows + 1): each tile's first slice */
    const tt_slice *slices;
    const uint64_t *columns; /* relative to the tile; `depth` stands for a row of zeros */
    const float *values;
} tt_sliced;

tt_sliced tt_sliced_of(const void *slices);

static inline tt_slices tt_tile_of(const tt_sliced *w, size_t depth_block, size_t window)
{
    const int32_t *tile = w->tiles + depth_block * w->windows + window;
    return (tt_slices){w->columns, w->values, w->slices + tile[0], (size_t)(tile[1] - tile[0])};
}

/* w @ x, a panel of at most TT_SPARSE_PANEL columns at a time. */
typedef struct {
    const tt_sparse_kernels *kernels;
    const tt_sparse_matrix *w;
    tt_sliced sliced; /* when r = 1 */
    /* Loads rows k ... k + kc-1 of n columns of x, from `column` on, as rows of `stride`; the rest of a row is 0. */
    void (*load)(const void *x, size_t k, size_t kc, size_t column, size_t n, size_t stride, float *panel);
    const void *x;
    size_t stride; /* a multiple of 16, the longest vector */
} tt_sparse_product;

tt_sparse_product tt_sparse_product_of(const tt_sparse_matrix *w);
/* The memory that multiplying a panel takes, for x. */
size_t tt_sparse_panel_floats(const tt_sparse_product *product);
/* c (rows, n) = rows `row` ... of w times n columns of x. `row` is a multiple of r, or of TT_WINDOW when r = 1; sums
 * (rows, stride) is used when r = 1, and may be c. */
void tt_sparse_multiply_panel(const tt_sparse_product *product, size_t row, size_t rows, size_t column, size_t n,
                              float *panel, float *sums, float *c, size_t c_row_stride);
/* Elements that are multiplied, zeros within blocks included. */
double tt_sparse_elements(const tt_sparse_matrix *w);

#endif
