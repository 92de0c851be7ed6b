/* The convolution tile: MR pixels by NR outputs, where the pixels lie anywhere in the image.
 *
 * An output is a lane and a pixel is a broadcast, so pixels need no order in memory: neither stride nor dilation
 * nor the end of a row costs anything, and nothing but the weights is ever packed. */
#include "microkernels/vec.h"
#include "microkernels/vector.h"

/* As for the matmul tile, MR x NV accumulators fill the registers. */
#if defined(TT_LEVEL_AVX512)
enum { MR = 12, NV = 2 };
#elif defined(TT_LEVEL_AVX2)
enum { MR = 6, NV = 2 };
#elif defined(TT_LEVEL_NEON)
enum { MR = 8, NV = 3 };
#else
enum { MR = 4, NV = 4 };
#endif

enum { NR = NV * VF_N, W_FLOATS = 4 << 10 /* of w at a time: half of L1, for all pixels to meet */ };

/* sum += the pixels one step down, times one row of w */
TT_INLINE void add_products(const size_t m, const size_t vectors, const float *const corner[MR], size_t step,
                            const float *w, vf sum[MR][NV])
{
    vf row[NV];
    TT_UNROLL for (size_t v = 0; v < vectors; v++) row[v] = vf_load(w + v * VF_N);
    TT_UNROLL for (size_t i = 0; i < m; i++) {
        vf pixel = vf_set(corner[i][step]);
        TT_UNROLL for (size_t v = 0; v < vectors; v++) sum[i][v] = vf_fma(pixel, row[v], sum[i][v]);
    }
}

/* `m` and `vectors` are constants wherever this is called, so that every loop over them unrolls. */
TT_INLINE void tile_of(const size_t m, const size_t vectors, size_t depth, const float *image,
                       const size_t *down, const size_t *across, const float *w, const float *start, float *c)
{
    const float *corner[MR];
    vf sum[MR][NV];
    TT_UNROLL for (size_t i = 0; i < m; i++) {
        corner[i] = image + across[i];
        TT_UNROLL for (size_t v = 0; v < vectors; v++)
            sum[i][v] = vf_load((start ? start : c + i * NR) + v * VF_N);
    }
    size_t d = 0;
    for (; d + 2 <= depth; d += 2, w += 2 * NR) {
        add_products(m, vectors, corner, down[d], w, sum);
        add_products(m, vectors, corner, down[d + 1], w + NR, sum);
    }
    if (d < depth) add_products(m, vectors, corner, down[d], w, sum);
    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t v = 0; v < vectors; v++) vf_store(c + i * NR + v * VF_N, sum[i][v]);
}

TT_INLINE void pixels_of(const size_t vectors, size_t count, size_t depth, const float *image,
                         const size_t *down, const size_t *across, const float *w, const float *start, float *c)
{
    for (; count >= MR; count -= MR, across += MR, c += MR * NR)
        tile_of(MR, vectors, depth, image, down, across, w, start, c);
    for (; count >= 2; count -= 2, across += 2, c += 2 * NR)
        tile_of(2, vectors, depth, image, down, across, w, start, c);
    if (count) tile_of(1, vectors, depth, image, down, across, w, start, c);
}

static void multiply(size_t count, size_t n, size_t depth, const float *image, const size_t *down,
                     const size_t *across, const float *w, const float *start, float *c)
{
    if (n <= VF_N) pixels_of(1, count, depth, image, down, across, w, start, c);
    else pixels_of(NV, count, depth, image, down, across, w, start, c);
}

const tt_conv_tile TT_FOR_LEVEL(tt_conv_tile) = {multiply, NR, W_FLOATS / NR};
