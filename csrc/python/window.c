#include "python/window.h"

int tt_next_window(tt_args *args, tt_conv2d_shape *shape)
{
    return tt_next_size(args, "stride_h", 1, &shape->stride_h) < 0 ||
                   tt_next_size(args, "stride_w", 1, &shape->stride_w) < 0 ||
                   tt_next_size(args, "padding_h", 0, &shape->pad_h) < 0 ||
                   tt_next_size(args, "padding_w", 0, &shape->pad_w) < 0 ||
                   tt_next_size(args, "dilation_h", 1, &shape->dilation_h) < 0 ||
                   tt_next_size(args, "dilation_w", 1, &shape->dilation_w) < 0 ||
                   tt_next_size(args, "groups", 1, &shape->groups) < 0
               ? -1
               : 0;
}

int tt_check_groups(const tt_args *args, size_t outputs, size_t groups)
{
    if (groups > 0 && outputs % groups == 0) return 0;
    PyErr_Format(PyExc_ValueError, "%s: w has %zu output channels, which do not divide into groups = %zu",
                 args->function, outputs, groups);
    return -1;
}

/* The size of the output along one axis. */
static int output_size(const tt_args *args, const char *axis, size_t size, size_t pad, size_t kernel,
                       size_t dilation, size_t stride, size_t *out)
{
    const size_t most = (size_t)PY_SSIZE_T_MAX / 4;
    if (kernel < 1) {
        PyErr_Format(PyExc_ValueError, "%s: w has a kernel of %s 0, must be at least 1", args->function,
                     axis);
        return -1;
    }
    if (pad > most || (kernel > 1 && dilation > most / (kernel - 1))) {
        PyErr_Format(PyExc_ValueError, "%s: padding and dilation are too large for the %s", args->function,
                     axis);
        return -1;
    }
    size_t padded = size + 2 * pad, span = dilation * (kernel - 1) + 1;
    if (span > padded) {
        PyErr_Format(
            PyExc_ValueError,
            "%s: w spans %zu in %s (kernel %zu, dilation %zu), more than x with its padding: %zu + 2 * %zu",
            args->function, span, axis, kernel, dilation, size, pad);
        return -1;
    }
    *out = (padded - span) / stride + 1;
    return 0;
}

int tt_complete_window(const tt_args *args, tt_conv2d_shape *shape, size_t o, size_t i, size_t kh, size_t kw)
{
    shape->outputs = o;
    shape->kernel_h = kh;
    shape->kernel_w = kw;
    if (tt_check_groups(args, o, shape->groups) < 0) return -1;
    if (shape->channels % shape->groups || shape->channels / shape->groups != i) {
        PyErr_Format(PyExc_ValueError, "%s: x has %zu channels, but w reads %zu in each of %zu group(s)",
                     args->function, shape->channels, i, shape->groups);
        return -1;
    }
    if (output_size(args, "height", shape->height, shape->pad_h, kh, shape->dilation_h, shape->stride_h,
                    &shape->out_h) < 0)
        return -1;
    return output_size(args, "width", shape->width, shape->pad_w, kw, shape->dilation_w, shape->stride_w,
                       &shape->out_w);
}

int tt_complete_shape(const tt_args *args, tt_conv2d_shape *shape, PyArrayObject *x, size_t o, size_t i,
                      size_t kh, size_t kw)
{
    shape->batch = TT_DIM(x, 0);
    shape->channels = TT_DIM(x, 1);
    shape->height = TT_DIM(x, 2);
    shape->width = TT_DIM(x, 3);
    return tt_complete_window(args, shape, o, i, kh, kw);
}
