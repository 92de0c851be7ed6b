/* INT8 with AVX-512 VNNI: one instruction multiplies 64 bytes and adds each four products to an int32. */
#include <immintrin.h>

#include "microkernels/int8.h"
#include "microkernels/vec.h"

/* 10 x 2 sums, 2 of b, 1 of a. There are registers for 12 rows, but not for their addresses. 128 bytes of b
 * last for 20 cycles, so b may come from L2. */
#define MR 10
enum { NV = 2, VN = 16, STEPS = 1, A_BYTES = 1 };

/* A vector of int32, not __m512i: for sums of that type GCC 12 copies registers and writes the stack around
 * every instruction, at half the speed. */
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
TT_INLINE vb vb_load(const int8_t *p) { return _mm512_loadu_si512(p); }
TT_INLINE va va_load(const char *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}
TT_INLINE vi vi_dot(vi c, va a, vb b) { return (vi)_mm512_dpbusd_epi32((__m512i)c, a, b); }

#include "microkernels/int8_tile.h"

const tt_int8_kernels tt_int8_vnni = {tile, pack_panel, MR, NR, TT_A_UINT8, INTERLEAVE};
