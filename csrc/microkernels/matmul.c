/* The float32 matmul tile, written once; each level fills its own registers with accumulators. */
#include "microkernels/matmul.h"
#include "microkernels/vec.h"

/* MR x NV vectors of accumulators, NV vectors of b and one broadcast of a are live in the inner loop. A panel
 * of a (MR x KC) takes most of L1 and meets every panel of b; the longer KC, the more rarely c is read and
 * written again. MC is what a worker takes at a time: it stays in L2. KC x NC of b stays in L3.
 * Packing b pays once more than FEW_ROWS use it, unless b is SMALL_B at most and stays in L2 as it is; so few as
 * STREAMED_ROWS are multiplied as b streams past (matmul_few_rows.c). Found by racing the ways on a Zen 4 core
 * (AVX-512) and a Zen 3 core (AVX2); near the bounds they are equally fast. */
#if defined(TT_LEVEL_AVX512) /* 32 registers: 12 x 2 + 2 + 1 */
enum { MR = 12, NV = 2, MC = 120, KC = 512, NC = 4096, SMALL_B = 512 * 512, FEW_ROWS = 64, STREAMED_ROWS = 1 };
#elif defined(TT_LEVEL_AVX2) /* 16 registers: 6 x 2 + 2 + 1 */
enum { MR = 6, NV = 2, MC = 120, KC = 512, NC = 4096, SMALL_B = 256 * 256, FEW_ROWS = 4, STREAMED_ROWS = 4 };
#elif defined(TT_LEVEL_NEON) /* 32 registers: 8 x 3 + 3 + 1 */
enum { MR = 8, NV = 3, MC = 128, KC = 512, NC = 3072, SMALL_B = 512 * 512, FEW_ROWS = 64, STREAMED_ROWS = 1 };
#else /* 16 SSE registers at best; the compiler makes vectors of the four columns where it can */
enum { MR = 4, NV = 4, MC = 128, KC = 512, NC = 2048, SMALL_B = 512 * 512, FEW_ROWS = 64, STREAMED_ROWS = 1 };
#endif

enum { NR = NV * VF_N };

/* `m` is a constant wherever this is called, so that every loop over rows unrolls into registers. */
TT_INLINE void tile_of(const size_t m, size_t kc, const float *a, const float *b, float *c, size_t c_row_stride,
                       size_t n, int accumulate)
{
    vf sum[MR][NV];
    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t v = 0; v < NV; v++) sum[i][v] = vf_set(0.0f);

    for (size_t k = 0; k < kc; k++, a += MR, b += NR) {
        vf row[NV];
        TT_UNROLL for (size_t v = 0; v < NV; v++) row[v] = vf_load(b + v * VF_N);
        TT_UNROLL for (size_t i = 0; i < m; i++) {
            vf element = vf_set(a[i]);
            TT_UNROLL for (size_t v = 0; v < NV; v++) sum[i][v] = vf_fma(element, row[v], sum[i][v]);
        }
    }

    TT_UNROLL for (size_t i = 0; i < m; i++) {
        float *out = c + i * c_row_stride;
        TT_UNROLL for (size_t v = 0; v < NV; v++) {
            size_t left = n > v * VF_N ? n - v * VF_N : 0;
            float *p = out + v * VF_N;
            if (left >= VF_N)
                vf_store(p, accumulate ? vf_add(vf_load(p), sum[i][v]) : sum[i][v]);
            else if (left)
                vf_store_n(p, accumulate ? vf_add(vf_load_n(p, left), sum[i][v]) : sum[i][v], left);
        }
    }
}

static void tile(size_t kc, const float *a, const float *b, float *c, size_t c_row_stride, size_t m, size_t n,
                 int accumulate)
{
#define ROWS(count) \
    case count: tile_of(count, kc, a, b, c, c_row_stride, n, accumulate); break
    switch (m) {
        ROWS(1); ROWS(2); ROWS(3); ROWS(4);
#if defined(TT_LEVEL_AVX512) || defined(TT_LEVEL_AVX2) || defined(TT_LEVEL_NEON)
        ROWS(5); ROWS(6);
#endif
#if defined(TT_LEVEL_AVX512) || defined(TT_LEVEL_NEON)
        ROWS(7); ROWS(8);
#endif
#if defined(TT_LEVEL_AVX512)
        ROWS(9); ROWS(10); ROWS(11); ROWS(12);
#endif
    }
#undef ROWS
}

/* Row after row, so that each is read as one stretch, and fetched a few rows ahead: the CPU's own prefetching would
 * begin anew at each. */
static void pack_rows(size_t kc, size_t n, const float *b, size_t b_row_stride, float *packed)
{
    enum { AHEAD = 8 };
    for (size_t k = 0; k < kc; k++, b += b_row_stride, packed += NR)
        for (size_t j = 0; j < n; j += NR) {
            float *panel = packed + j * kc;
            TT_PREFETCH(b + AHEAD * b_row_stride + j);
            if (n - j >= NR)
                TT_UNROLL for (size_t v = 0; v < NR; v += VF_N) vf_store(panel + v, vf_load(b + j + v));
            else
                for (size_t v = 0; v < NR; v++) panel[v] = j + v < n ? b[j + v] : 0.0f;
        }
}

const tt_matmul_kernels TT_FOR_LEVEL(tt_matmul) = {
    tile, pack_rows, &TT_FOR_LEVEL(tt_matmul_direct), TT_FOR_LEVEL(tt_transpose),
    MR, NR, MC, KC, NC, SMALL_B, FEW_ROWS, STREAMED_ROWS};
