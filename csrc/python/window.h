/* The arguments that every convolution takes, and what they say about shapes. */
#ifndef TT_PYTHON_WINDOW_H
#define TT_PYTHON_WINDOW_H

#include "python/args.h"

/* The next seven arguments: sh, sw, ph, pw, dh, dw, groups. */
int tt_next_window(tt_args *args, tt_conv2d_shape *shape);

/* Whether the output channels divide into the groups. */
int tt_check_groups(const tt_args *args, size_t outputs, size_t groups);

/* Completes a shape that knows its window and its image, with w (o, i, kh, kw). */
int tt_complete_window(const tt_args *args, tt_conv2d_shape *shape, size_t o, size_t i, size_t kh, size_t kw);

/* The same, with the image that x (N, C, H, W) holds. */
int tt_complete_shape(const tt_args *args, tt_conv2d_shape *shape, PyArrayObject *x, size_t o, size_t i,
                      size_t kh, size_t kw);

#endif
