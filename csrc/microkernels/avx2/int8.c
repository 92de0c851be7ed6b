/* INT8 with AVX2: both operands widened to int16, products added in pairs to int32. Exact for every input,
 * which the shorter way through vpmaddubsw (it saturates at 16 bits) is not. */
#include <immintrin.h>

#include "microkernels/int8.h"
#include "microkernels/vec.h"

/* 16 registers: 6 x 2 sums, 2 of b, 1 of a, 1 for the products. */
#define MR 6
enum { NV = 2, VN = 8, STEPS = 2, A_BYTES = 2 };

/* Not __m256i: GCC 12 then copies registers and writes the stack around every instruction. */
#if defined(_MSC_VER)
typedef __m256i vi;
#else
typedef int vi __attribute__((vector_size(32)));
#endif
typedef __m256i va, vb;

TT_INLINE vi vi_zero(void) { return (vi)_mm256_setzero_si256(); }
TT_INLINE vi vi_add(vi a, vi b) { return (vi)_mm256_add_epi32((__m256i)a, (__m256i)b); }
TT_INLINE vi vi_load(const int32_t *p) { return (vi)_mm256_loadu_si256((const __m256i *)p); }
TT_INLINE void vi_store(int32_t *p, vi a) { _mm256_storeu_si256((__m256i *)p, (__m256i)a); }
TT_INLINE vb vb_load(const int8_t *p) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p)); }
TT_INLINE va va_load(const char *p)
{
    int32_t two;
    memcpy(&two, p, sizeof two);
    return _mm256_set1_epi32(two);
}
TT_INLINE vi vi_dot(vi c, va a, vb b) { return vi_add(c, (vi)_mm256_madd_epi16(a, b)); }

#include "microkernels/int8_tile.h"

const tt_int8_kernels tt_int8_avx2 = {tile, pack_panel, MR, NR, TT_A_INT16, INTERLEAVE};
