/* The INT8 matmul micro-kernel. Every level yields the same integers.
 *
 * acc (m, nr), its rows acc_stride apart, = start (nr) + a @ b in int32, for one tile with m <= mr. Depth
 * comes in groups of four, and a row of a is `segments` runs of `groups` groups: run s of row i starts at
 * rows[i] + offsets[s] bytes. A plain matrix is one run; in a convolution a row is the patch under one output
 * pixel, and its runs are read from the image where they lie (Dukhan, "The Indirect Convolution Algorithm",
 * 2019).
 *
 * b is a panel of `width` <= nr columns, group after group, each group four rows of b interleaved by
 * `interleave`:
 *      4: b00 b10 b20 b30  b01 b11 b21 b31 ..     (one 32-bit lane holds four steps of depth)
 *      2: b00 b10  b01 b11 ..  b20 b30  b21 b31 ..
 *      1: b00 b01 ..  b10 b11 ..  b20 b21 ..  b30 b31 ..
 * A narrow panel is stored without padding: the tile reads up to TT_INT8_SLACK bytes beyond it, and what it
 * leaves in acc beyond `width` has no meaning.
 *
 * The elements of a are of the type that the level multiplies. An int8 where the level takes uint8 is stored
 * with 128 added (and the other way round), which changes acc by 128 times the column sums of b. */
#ifndef TT_INT8_KERNELS_H
#define TT_INT8_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { TT_INT8_SLACK = 64, TT_INT8_MOST_ROWS = 10, TT_INT8_MOST_COLUMNS = 32 };

typedef enum { TT_A_UINT8, TT_A_INT8, TT_A_INT16 } tt_int8_operand;

typedef void tt_int8_tile(size_t m, const char *const *rows, const size_t *offsets, size_t segments,
                          size_t groups, const int8_t *b, size_t width, const int32_t *start, int32_t *acc,
                          size_t acc_stride);

/* The panel of w[0..k)[0..width), rows w_stride apart; zeros fill up its last group. */
typedef void tt_int8_pack(size_t k, size_t width, const int8_t *w, size_t w_stride, int8_t *panel);

typedef struct {
    tt_int8_tile *tile;
    tt_int8_pack *pack;
    size_t mr, nr;
    tt_int8_operand a_type;
    size_t interleave;
} tt_int8_kernels;

extern const tt_int8_kernels tt_int8_scalar, tt_int8_avx2, tt_int8_avx512, tt_int8_vnni, tt_int8_neon,
    tt_int8_neondot;

#endif
