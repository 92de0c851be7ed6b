/* INT4 with AVX-512 BW. Unlike whole bytes, nibbles suit vpmaddubsw: 32 steps of depth add 16 pairs of at
 * most 2 * 15 * 127 to two int16 each, which cannot saturate. */
#include "microkernels/vec_bytes.h"

#define MR 8

typedef __m512i vw, vx;

/* Not __m512i: see vnni/int8.c. */
#if defined(_MSC_VER)
typedef __m512i vd;
#else
typedef short vd __attribute__((vector_size(64)));
#endif

TT_INLINE vw vw_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
TT_INLINE vw vw_low(vw w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
TT_INLINE vw vw_high(vw w) { return vw_low(_mm512_srli_epi16(w, 4)); }
TT_INLINE vx vx_load(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}
TT_INLINE vd vd_zero(void) { return (vd)_mm512_setzero_si512(); }
TT_INLINE vd vd_dot(vd d, vw w, vx x)
{
    return (vd)_mm512_add_epi16((__m512i)d, _mm512_maddubs_epi16(w, x));
}
TT_INLINE vi vd_sum(vd d) { return (vi)_mm512_madd_epi16((__m512i)d, _mm512_set1_epi16(1)); }

#include "microkernels/int4_tile.h"

const tt_int4_kernels tt_int4_avx512 = {tile, MR, float_tile};
