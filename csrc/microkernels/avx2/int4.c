/* INT4 with AVX2. Unlike whole bytes, nibbles suit vpmaddubsw: 32 steps of depth add 16 pairs of at most
 * 2 * 15 * 127 to two int16 each, which cannot saturate. */
#include "microkernels/vec_bytes.h"

#define MR 2
/* A group takes so many instructions that the CPU does not see far ahead: without this, weights came from
 * memory at 70 % of what a plain loop reads, with it at 92 % (measured: AMD Zen 3; 1 and 4 KB are a little
 * slower). */
#define AHEAD 2048

typedef __m256i vw, vx;

/* Not __m256i: see int8.c. */
#if defined(_MSC_VER)
typedef __m256i vd;
#else
typedef short vd __attribute__((vector_size(32)));
#endif

TT_INLINE vw vw_load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
TT_INLINE vw vw_low(vw w) { return _mm256_and_si256(w, _mm256_set1_epi8(15)); }
TT_INLINE vw vw_high(vw w) { return vw_low(_mm256_srli_epi16(w, 4)); }
TT_INLINE vx vx_load(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
}
TT_INLINE vd vd_zero(void) { return (vd)_mm256_setzero_si256(); }
TT_INLINE vd vd_dot(vd d, vw w, vx x)
{
    return (vd)_mm256_add_epi16((__m256i)d, _mm256_maddubs_epi16(w, x));
}
TT_INLINE vi vd_sum(vd d) { return (vi)_mm256_madd_epi16((__m256i)d, _mm256_set1_epi16(1)); }

#include "microkernels/int4_tile.h"

const tt_int4_kernels tt_int4_avx2 = {tile, MR, float_tile};
