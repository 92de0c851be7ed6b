/* Step 1: the loops turned inside out. One weight is multiplied with all that it meets: a plane of x, shifted.
 *
 * The inner loop runs along rows of x and y. Which part of a row the shifted image covers is known before the
 * loop begins, so nothing is asked inside. The price: y is loaded and stored once for each weight. */
#include "lessons/lessons.h"
#include "runtime/runtime.h"

#include <string.h>

/* Where along one axis of y the element `tap` of each window lies inside the image: first ... last - 1. */
static void inside(size_t size, size_t pad, size_t stride, size_t out, size_t tap, size_t *first, size_t *last)
{
    *first = pad > tap ? tt_min(out, tt_div_up(pad - tap, stride)) : 0;
    *last = size + pad > tap ? tt_min(out, tt_div_up(size + pad - tap, stride)) : 0;
}

/* y (out_h, out_w) += weight * plane, shifted by row r and column q of the window. */
static void add_plane(const tt_conv2d_shape *s, const float *plane, float weight, size_t r, size_t q, float *y)
{
    size_t top, bottom, left, right;
    inside(s->height, s->pad_h, s->stride_h, s->out_h, r, &top, &bottom);
    inside(s->width, s->pad_w, s->stride_w, s->out_w, q, &left, &right);
    for (size_t i = top; i < bottom; i++) {
        const float *row = plane + (i * s->stride_h + r - s->pad_h) * s->width;
        for (size_t j = left; j < right; j++) y[i * s->out_w + j] += weight * row[j * s->stride_w + q - s->pad_w];
    }
}

tt_status tt_conv2d_reordered(const tt_conv2d_shape *s, const float *x, const float *w, float *y)
{
    size_t plane = s->height * s->width, out_plane = s->out_h * s->out_w;
    memset(y, 0, s->batch * s->outputs * out_plane * sizeof *y);
    for (size_t b = 0; b < s->batch; b++)
        for (size_t o = 0; o < s->outputs; o++)
            for (size_t c = 0; c < s->channels; c++)
                for (size_t r = 0; r < s->kernel_h; r++)
                    for (size_t q = 0; q < s->kernel_w; q++) {
                        float weight = w[((o * s->channels + c) * s->kernel_h + r) * s->kernel_w + q];
                        add_plane(s, x + (b * s->channels + c) * plane, weight, r, q,
                                  y + (b * s->outputs + o) * out_plane);
                    }
    return TT_OK;
}
