/* INT4 in plain C. */
#include "microkernels/vec_bytes.h"

#define MR 1

typedef struct {
    int8_t element[4];
} vw, vx;
typedef int32_t vd;

TT_INLINE vw vw_load(const uint8_t *p)
{
    vw w;
    memcpy(&w, p, sizeof w);
    return w;
}
TT_INLINE vw vw_low(vw w)
{
    for (int t = 0; t < 4; t++) w.element[t] &= 15;
    return w;
}
TT_INLINE vw vw_high(vw w)
{
    for (int t = 0; t < 4; t++) w.element[t] = (int8_t)((uint8_t)w.element[t] >> 4);
    return w;
}
TT_INLINE vx vx_load(const int8_t *p) { return vw_load((const uint8_t *)p); }
TT_INLINE vd vd_zero(void) { return 0; }
TT_INLINE vd vd_dot(vd d, vw w, vx x)
{
    for (int t = 0; t < 4; t++) d += w.element[t] * x.element[t];
    return d;
}
TT_INLINE vi vd_sum(vd d) { return d; }

#include "microkernels/int4_tile.h"

const tt_int4_kernels tt_int4_scalar = {tile, MR, float_tile};
