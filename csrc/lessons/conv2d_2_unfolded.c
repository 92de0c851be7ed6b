/* Step 2: a convolution is a matrix product. The window under each pixel of y becomes a column of a matrix:
 *
 *     y (outputs, pixels) = w (outputs, taps) @ patches (taps, pixels)     taps: channels * kernel_h * kernel_w
 *
 * "Unfolding", or im2col: a 3 x 3 kernel copies every element of x nine times, and a matrix product, which
 * keeps its sums in registers, does the rest. (Chellapilla, Puri and Simard, 2006.) */
#include "lessons/lessons.h"
#include "runtime/runtime.h"

static void unfold(const tt_conv2d_shape *s, const float *image, float *patches)
{
    for (size_t c = 0; c < s->channels; c++)
        for (size_t r = 0; r < s->kernel_h; r++)
            for (size_t q = 0; q < s->kernel_w; q++)
                for (size_t oi = 0; oi < s->out_h; oi++)
                    for (size_t oj = 0; oj < s->out_w; oj++) {
                        size_t i = oi * s->stride_h + r - s->pad_h, j = oj * s->stride_w + q - s->pad_w;
                        int is_inside = i < s->height && j < s->width; /* beyond the top or left both wrap around */
                        *patches++ = is_inside ? image[(c * s->height + i) * s->width + j] : 0.0f;
                    }
}

tt_status tt_conv2d_by_matmul(const tt_conv2d_shape *s, const float *x, const float *w, float *y,
                              tt_matmul_lesson *multiply)
{
    size_t taps = s->channels * s->kernel_h * s->kernel_w, pixels = s->out_h * s->out_w;
    float *patches = tt_scratch_acquire(taps * pixels * sizeof *patches);
    tt_status status = patches ? TT_OK : TT_OUT_OF_MEMORY;
    for (size_t b = 0; b < s->batch && status == TT_OK; b++) {
        unfold(s, x + b * s->channels * s->height * s->width, patches);
        status = multiply(s->outputs, pixels, taps, w, patches, y + b * s->outputs * pixels);
    }
    tt_scratch_release(patches);
    return status;
}

tt_status tt_conv2d_unfolded(const tt_conv2d_shape *shape, const float *x, const float *w, float *y)
{
    return tt_conv2d_by_matmul(shape, x, w, y, tt_matmul_tiled);
}
