/* INT4 with AVX-512 VNNI: 64 nibbles, opened to bytes, multiplied and added in one instruction. */
#define TT_LEVEL_AVX512 1 /* the floats are those of the level below */
#include "microkernels/vec_bytes.h"

#define MR 8

typedef __m512i vw, vx;

/* Not __m512i: see int8.c. */
#if defined(_MSC_VER)
typedef __m512i vd;
#else
typedef int vd __attribute__((vector_size(64)));
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
TT_INLINE vd vd_dot(vd d, vw w, vx x) { return (vd)_mm512_dpbusd_epi32((__m512i)d, w, x); }
TT_INLINE vi vd_sum(vd d) { return (vi)d; }

#include "microkernels/int4_tile.h"

const tt_int4_kernels tt_int4_vnni = {tile, MR, float_tile};
