#include "python/args.h"

/* The size of the output along one axis. */
static int output_size(const tt_args *args, const char *axis, size_t size, size_t kernel, size_t stride,
                       size_t pad, size_t *out)
{
    if (pad > kernel / 2) {
        PyErr_Format(PyExc_ValueError, "%s: padding of %s is %zu, more than half of the kernel's %zu",
                     args->function, axis, pad, kernel);
        return -1;
    }
    if (kernel - pad > size + pad) {
        PyErr_Format(PyExc_ValueError, "%s: kernel of %s %zu does not fit into x with its padding: %zu + 2 * %zu",
                     args->function, axis, kernel, size, pad);
        return -1;
    }
    *out = (size + 2 * pad - kernel) / stride + 1;
    return 0;
}

/* kh, kw, sh, sw, ph, pw; the planes (N, C) and their size must be known already */
static int next_window(tt_args *args, tt_pool2d_shape *shape)
{
    if (tt_next_size(args, "kernel_h", 1, &shape->kernel_h) < 0 ||
        tt_next_size(args, "kernel_w", 1, &shape->kernel_w) < 0 ||
        tt_next_size(args, "stride_h", 1, &shape->stride_h) < 0 ||
        tt_next_size(args, "stride_w", 1, &shape->stride_w) < 0 ||
        tt_next_size(args, "padding_h", 0, &shape->pad_h) < 0 ||
        tt_next_size(args, "padding_w", 0, &shape->pad_w) < 0)
        return -1;
    if (output_size(args, "height", shape->height, shape->kernel_h, shape->stride_h, shape->pad_h,
                    &shape->out_h) < 0)
        return -1;
    return output_size(args, "width", shape->width, shape->kernel_w, shape->stride_w, shape->pad_w,
                       &shape->out_w);
}

static tt_pool2d_shape shape_of(PyArrayObject *x)
{
    return (tt_pool2d_shape){.planes = TT_DIM(x, 0) * TT_DIM(x, 1), .height = TT_DIM(x, 2), .width = TT_DIM(x, 3)};
}

/* The image axes (N, C) of x with another height and width. */
static PyArrayObject *new_planes(PyArrayObject *x, size_t height, size_t width)
{
    npy_intp dims[4] = {PyArray_DIM(x, 0), PyArray_DIM(x, 1), (npy_intp)height, (npy_intp)width};
    return tt_new_array(4, dims, PyArray_TYPE(x));
}

static PyObject *result_or_error(const tt_args *args, PyArrayObject *result, tt_status status)
{
    if (status == TT_OK) return (PyObject *)result;
    tt_raise(args->function, status);
    Py_DECREF(result);
    return NULL;
}

typedef tt_status forward_function(const tt_pool2d_shape *shape, const float *x, float *y);

static PyObject *forward(const char *function, forward_function *pool, PyObject *const *values, Py_ssize_t count)
{
    tt_args args;
    PyArrayObject *x, *y;
    if (tt_args_begin(&args, function, values, count, 7) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 4, 4)))
        return NULL;
    tt_pool2d_shape shape = shape_of(x);
    if (next_window(&args, &shape) < 0 || !(y = new_planes(x, shape.out_h, shape.out_w))) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = pool(&shape, TT_F32(x), TT_F32(y));
    Py_END_ALLOW_THREADS
    return result_or_error(&args, y, status);
}

static PyObject *max_pool2d_int8(PyObject *const *values, Py_ssize_t count)
{
    tt_args args;
    PyArrayObject *x, *y;
    if (tt_args_begin(&args, "max_pool2d", values, count, 7) < 0 ||
        !(x = tt_next_array(&args, "x", PyArray_TYPE((PyArrayObject *)values[0]), 4, 4)))
        return NULL;
    tt_pool2d_shape shape = shape_of(x);
    if (next_window(&args, &shape) < 0 || !(y = new_planes(x, shape.out_h, shape.out_w))) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_max_pool2d_int8(&shape, PyArray_DATA(x), PyArray_TYPE(x) == NPY_INT8, PyArray_DATA(y));
    Py_END_ALLOW_THREADS
    return result_or_error(&args, y, status);
}

static int holds_bytes(PyObject *value)
{
    if (!PyArray_Check(value)) return 0;
    int type = PyArray_TYPE((PyArrayObject *)value);
    return type == NPY_INT8 || type == NPY_UINT8;
}

static PyObject *max_pool2d(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    if (count > 0 && holds_bytes(values[0])) return max_pool2d_int8(values, count);
    return forward("max_pool2d", tt_max_pool2d_f32, values, count);
}

static PyObject *avg_pool2d(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    return forward("avg_pool2d", tt_avg_pool2d_f32, values, count);
}

static PyObject *max_pool2d_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *dy, *x, *dx;
    if (tt_args_begin(&args, "max_pool2d_backward", values, count, 8) < 0 ||
        !(dy = tt_next_array(&args, "dy", NPY_FLOAT32, 4, 4)) ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 4, 4)))
        return NULL;
    tt_pool2d_shape shape = shape_of(x);
    if (next_window(&args, &shape) < 0) return NULL;
    size_t dims[4] = {TT_DIM(x, 0), TT_DIM(x, 1), shape.out_h, shape.out_w};
    if (tt_expect_shape(&args, "dy", dy, 4, dims) < 0 || !(dx = new_planes(x, shape.height, shape.width)))
        return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_max_pool2d_backward_f32(&shape, TT_F32(dy), TT_F32(x), TT_F32(dx));
    Py_END_ALLOW_THREADS
    return result_or_error(&args, dx, status);
}

static PyObject *avg_pool2d_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *dy, *dx;
    tt_pool2d_shape shape;
    if (tt_args_begin(&args, "avg_pool2d_backward", values, count, 9) < 0 ||
        !(dy = tt_next_array(&args, "dy", NPY_FLOAT32, 4, 4)))
        return NULL;
    shape = shape_of(dy);
    if (tt_next_size(&args, "h", 0, &shape.height) < 0 || tt_next_size(&args, "w", 0, &shape.width) < 0 ||
        next_window(&args, &shape) < 0)
        return NULL;
    size_t dims[4] = {TT_DIM(dy, 0), TT_DIM(dy, 1), shape.out_h, shape.out_w};
    if (tt_expect_shape(&args, "dy", dy, 4, dims) < 0 || !(dx = new_planes(dy, shape.height, shape.width)))
        return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_avg_pool2d_backward_f32(&shape, TT_F32(dy), TT_F32(dx));
    Py_END_ALLOW_THREADS
    return result_or_error(&args, dx, status);
}

static PyMethodDef methods[] = {
    TT_FASTCALL(max_pool2d),          TT_FASTCALL(max_pool2d_backward), TT_FASTCALL(avg_pool2d),
    TT_FASTCALL(avg_pool2d_backward), {NULL, NULL, 0, NULL},
};

int tt_register_pool(PyObject *module) { return PyModule_AddFunctions(module, methods); }
