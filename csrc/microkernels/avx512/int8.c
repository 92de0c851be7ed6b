/* INT8 with AVX-512 BW: both operands widened to int16, products added in pairs to int32. Exact for every
 * input, which the shorter way through vpmaddubsw (it saturates at 16 bits) is not. */
#include <immintrin.h>

#include "microkernels/int8.h"
#include "microkernels/vec.h"

/* 8 x 2 sums, 2 of b, 1 of a, and the products; there are no registers for the addresses of more rows. */
#define MR 8
enum { NV = 2, VN = 16, STEPS = 2, A_BYTES = 2 };

/* Not __m512i: see vnni/int8.c. */
#if defined(_MSC_VER)
typedef __m512i vi;
#else
typedef int vi __attribute__((vector_size(64)));
#endif
typedef __m512i va, vb;

TT_INLINE vi vi_zero(void) { return (vi)_mm512_setzero_si512(); }
TT_INLINE vi vi_add(vi a, vi b) { return (vi)_mm512_add_epi32((__m512i)a, (__m512i)b); }
TT_INLINE vi vi_load(const int32_t *p) { return (vi)_mm512_loadu_si512(p); }
TT_INLINE void vi_store(int32_t *p, vi a) { _mm512_storeu_si512(p, (__m512i)a); }
TT_INLINE vb vb_load(const int8_t *p) { return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p)); }
TT_INLINE va va_load(const char *p)
{
    int32_t two;
    memcpy(&two, p, sizeof two);
    return _mm512_set1_epi32(two);
}
TT_INLINE vi vi_dot(vi c, va a, vb b) { return vi_add(c, (vi)_mm512_madd_epi16(a, b)); }

#include "microkernels/int8_tile.h"

const tt_int8_kernels tt_int8_avx512 = {tile, pack_panel, MR, NR, TT_A_INT16, INTERLEAVE};
