/* Step 0: the definition. Each pixel of y is the sum of a window of x times the weights, in every channel.
 *
 * A window at the border reaches beyond the image; what lies there counts as 0, so every product begins with
 * the question whether it is still inside. */
#include "lessons/lessons.h"

/* The element of a plane at a row and column counted from the corner of its border. */
static float element(const tt_conv2d_shape *s, const float *plane, size_t row, size_t column)
{
    size_t i = row - s->pad_h, j = column - s->pad_w; /* wraps around to a large number in the border */
    return i < s->height && j < s->width ? plane[i * s->width + j] : 0.0f;
}

static float window_sum(const tt_conv2d_shape *s, const float *image, const float *weights, size_t i, size_t j)
{
    float sum = 0.0f;
    for (size_t c = 0; c < s->channels; c++)
        for (size_t r = 0; r < s->kernel_h; r++)
            for (size_t q = 0; q < s->kernel_w; q++)
                sum += weights[(c * s->kernel_h + r) * s->kernel_w + q] *
                       element(s, image + c * s->height * s->width, i * s->stride_h + r, j * s->stride_w + q);
    return sum;
}

tt_status tt_conv2d_plain(const tt_conv2d_shape *s, const float *x, const float *w, float *y)
{
    size_t image = s->channels * s->height * s->width, taps = s->channels * s->kernel_h * s->kernel_w;
    for (size_t b = 0; b < s->batch; b++)
        for (size_t o = 0; o < s->outputs; o++)
            for (size_t i = 0; i < s->out_h; i++)
                for (size_t j = 0; j < s->out_w; j++)
                    *y++ = window_sum(s, x + b * image, w + o * taps, i, j);
    return TT_OK;
}
