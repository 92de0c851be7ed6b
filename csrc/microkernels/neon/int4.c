/* INT4 with NEON: products of bytes in int16, added in pairs. */
#include "microkernels/vec_bytes.h"

#define MR 2

typedef int8x16_t vw, vx;
typedef int32x4_t vd;

TT_INLINE vw vw_load(const uint8_t *p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }
TT_INLINE vw vw_low(vw w) { return vandq_s8(w, vdupq_n_s8(15)); }
TT_INLINE vw vw_high(vw w) { return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(w), 4)); }
TT_INLINE vx vx_load(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
TT_INLINE vd vd_zero(void) { return vdupq_n_s32(0); }
TT_INLINE vd vd_dot(vd d, vw w, vx x)
{
    int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    return vaddq_s32(d, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}
TT_INLINE vi vd_sum(vd d) { return d; }

#include "microkernels/int4_tile.h"

const tt_int4_kernels tt_int4_neon = {tile, MR, float_tile};
