/* What max and average pooling of floats and of bytes share. */
#ifndef TT_OPS_POOL_H
#define TT_OPS_POOL_H

#include "ops/rows.h"

/* The rows or columns [first, end) of a plane that a window covers. */
typedef struct {
    size_t first, end;
} tt_span;

static inline tt_span tt_covered(size_t index, size_t stride, size_t pad, size_t kernel, size_t size)
{
    size_t start = index * stride, end = tt_min(start + kernel, size + pad);
    start = tt_max(start, pad);
    return (tt_span){start - pad, tt_max(start, end) - pad};
}

static inline tt_span tt_covered_rows(const tt_pool2d_shape *shape, size_t i)
{
    return tt_covered(i, shape->stride_h, shape->pad_h, shape->kernel_h, shape->height);
}

/* Operations for one plane, down the rows and then along them. */
static inline double tt_pool2d_operations(const tt_pool2d_shape *shape)
{
    double window = (double)shape->kernel_h + (double)shape->kernel_w;
    return (double)shape->height * (double)shape->width + (double)shape->out_h * (double)shape->out_w * window;
}

#endif
