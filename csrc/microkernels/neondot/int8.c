/* INT8 with the dot-product instructions of Armv8.2: four products of signed bytes added to each int32. */
#include <arm_neon.h>

#include "microkernels/int8.h"
#include "microkernels/vec.h"

/* 32 registers: 6 x 4 sums, 4 of b, 1 of a. */
#define MR 6
enum { NV = 4, VN = 4, STEPS = 1, A_BYTES = 1 };

typedef int32x4_t vi;
typedef int8x16_t va, vb;

TT_INLINE vi vi_zero(void) { return vdupq_n_s32(0); }
TT_INLINE vi vi_add(vi a, vi b) { return vaddq_s32(a, b); }
TT_INLINE vi vi_load(const int32_t *p) { return vld1q_s32(p); }
TT_INLINE void vi_store(int32_t *p, vi a) { vst1q_s32(p, a); }
TT_INLINE vb vb_load(const int8_t *p) { return vld1q_s8(p); }
TT_INLINE va va_load(const char *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
TT_INLINE vi vi_dot(vi c, va a, vb b) { return vdotq_s32(c, a, b); }

#include "microkernels/int8_tile.h"

const tt_int8_kernels tt_int8_neondot = {tile, pack_panel, MR, NR, TT_A_INT8, INTERLEAVE};
