/* Packing b for the INT8 tile, written once: a level's file defines NR and INTERLEAVE, then includes this. */
#ifndef TT_INT8_PACK_H
#define TT_INT8_PACK_H

#include "microkernels/vec.h"

/* One group of four rows. `width` is a constant for full panels, so that the compiler shuffles vectors. */
TT_INLINE void pack_group(const size_t width, const int8_t *const rows[4], int8_t *restrict out)
{
    for (size_t first = 0; first < 4; first += INTERLEAVE)
        for (size_t j = 0; j < width; j++)
            for (size_t t = 0; t < INTERLEAVE; t++) *out++ = rows[first + t][j];
}

/* The panel of the columns w[0..k)[0..width), rows w_stride apart; zeros fill up the last group. */
static void pack_panel(size_t k, size_t width, const int8_t *w, size_t w_stride, int8_t *out)
{
    static const int8_t zeros[NR];
    for (size_t d = 0; d < k; d += 4, out += 4 * width) {
        const int8_t *rows[4];
        for (size_t t = 0; t < 4; t++) rows[t] = d + t < k ? w + (d + t) * w_stride : zeros;
        if (width == NR)
            pack_group(NR, rows, out);
        else
            pack_group(width, rows, out);
    }
}

#endif
