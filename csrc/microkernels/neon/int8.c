/* INT8 with NEON: both operands widened to int16, then multiply-add into int32. */
#include <arm_neon.h>

#include "microkernels/int8.h"
#include "microkernels/vec.h"

/* 32 registers: 6 x 2 pairs of sums, 2 of b, 1 of a. */
#define MR 6
enum { NV = 2, VN = 8, STEPS = 4, A_BYTES = 2 };

typedef int32x4x2_t vi;
typedef int16x8_t vb;
typedef int16x4_t va;

TT_INLINE vi vi_zero(void) { return (vi){{vdupq_n_s32(0), vdupq_n_s32(0)}}; }
TT_INLINE vi vi_add(vi a, vi b)
{
    return (vi){{vaddq_s32(a.val[0], b.val[0]), vaddq_s32(a.val[1], b.val[1])}};
}
TT_INLINE vi vi_load(const int32_t *p) { return (vi){{vld1q_s32(p), vld1q_s32(p + 4)}}; }
TT_INLINE void vi_store(int32_t *p, vi a)
{
    vst1q_s32(p, a.val[0]);
    vst1q_s32(p + 4, a.val[1]);
}
TT_INLINE vb vb_load(const int8_t *p) { return vmovl_s8(vld1_s8(p)); }
TT_INLINE va va_load(const char *p) { return vld1_dup_s16((const int16_t *)(const void *)p); }
TT_INLINE vi vi_dot(vi c, va a, vb b)
{
    return (vi){{vmlal_s16(c.val[0], vget_low_s16(b), a), vmlal_s16(c.val[1], vget_high_s16(b), a)}};
}

#include "microkernels/int8_tile.h"

const tt_int8_kernels tt_int8_neon = {tile, pack_panel, MR, NR, TT_A_INT16, INTERLEAVE};
