/* INT4 with the dot-product instructions of Armv8.2. */
#define TT_LEVEL_NEON 1 /* the floats are those of the level below */
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
TT_INLINE vd vd_dot(vd d, vw w, vx x) { return vdotq_s32(d, w, x); }
TT_INLINE vi vd_sum(vd d) { return d; }

#include "microkernels/int4_tile.h"

const tt_int4_kernels tt_int4_neondot = {tile, MR, float_tile};
