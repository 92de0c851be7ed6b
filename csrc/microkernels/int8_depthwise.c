/* Depthwise INT8 convolution: every channel by itself, so channels are lanes and nothing is summed across. */
#include "microkernels/quantize.h"
#include "microkernels/vec_bytes.h"

/* One vector of channels, from `channel` on, of `pixels` patches: weights, once widened, serve them all. */
TT_INLINE void multiply(const size_t pixels, const uint8_t *const *patches, size_t channel,
                        const size_t *offsets, size_t taps, const int8_t *w, size_t w_stride, vi start,
                        int32_t *acc, size_t acc_stride)
{
    vi sum[4];
    TT_UNROLL for (size_t i = 0; i < pixels; i++) sum[i] = start;
    for (size_t t = 0; t < taps; t++) {
        vi weight = vi_from_int8((const uint8_t *)w + t * w_stride + channel);
        size_t at = offsets[t] + channel;
        TT_UNROLL for (size_t i = 0; i < pixels; i++)
            sum[i] = vi_add(sum[i], vi_mul_byte(vi_from_uint8(patches[i] + at), weight));
    }
    TT_UNROLL for (size_t i = 0; i < pixels; i++) vi_store(acc + i * acc_stride, sum[i]);
}

void TT_FOR_LEVEL(tt_depthwise_int8)(size_t m, size_t first, size_t n, const uint8_t *const *patches,
                                     const size_t *offsets, size_t taps, const int8_t *w, size_t w_stride,
                                     const int32_t *start, int32_t *acc, size_t acc_stride)
{
    for (size_t j = 0; j < n; j += VF_N, acc += VF_N) {
        vi begin = vi_load(start + j);
        size_t i = 0, channel = first + j;
        for (; i + 4 <= m; i += 4)
            multiply(4, patches + i, channel, offsets, taps, w, w_stride, begin, acc + i * acc_stride,
                     acc_stride);
        for (; i < m; i++)
            multiply(1, patches + i, channel, offsets, taps, w, w_stride, begin, acc + i * acc_stride,
                     acc_stride);
    }
}
