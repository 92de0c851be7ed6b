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

/* A fresh array with the image axes (N, C) of x and another height and width. */
static PyArrayObject *new_planes(PyArrayObject *x, size_t height, size_t width, int type)
{
    npy_intp dims[4] = {PyArray_DIM(x, 0), PyArray_DIM(x, 1), (npy_intp)height, (npy_intp)width};
    return tt_new_array(4, dims, type);
}

/* The next argument: where to write such float32 planes, or None. It shares no memory with x or other (or NULL). */
static PyArrayObject *next_planes(tt_args *args, PyArrayObject *x, PyArrayObject *other, size_t height, size_t width)
{
    PyArrayObject *given;
    npy_intp dims[4] = {PyArray_DIM(x, 0), PyArray_DIM(x, 1), (npy_intp)height, (npy_intp)width};
    if (tt_next_optional(args, "out", NPY_FLOAT32, 4, 4, &given) < 0) return NULL;
    PyArrayObject *out = tt_output_array(args, given, 4, dims);
    if (!out || !given) return out;
    if (tt_expect_apart(args, out, x) == 0 && (!other || tt_expect_apart(args, out, other) == 0)) return out;
    Py_DECREF(out);
    return NULL;
}

static PyObject *result_or_error(const tt_args *args, PyArrayObject *result, tt_status status)
{
    if (status == TT_OK) return (PyObject *)result;
    tt_raise(args->function, status);
    Py_DECREF(result);
    return NULL;
}

static PyObject *max_pool2d_int8(PyObject *const *values, Py_ssize_t count)
{
    tt_args args;
    PyArrayObject *x, *y;
    if (tt_args_begin(&args, "max_pool2d", values, count, 8) < 0 ||
        !(x = tt_next_array(&args, "x", PyArray_TYPE((PyArrayObject *)values[0]), 4, 4)))
        return NULL;
    tt_pool2d_shape shape = shape_of(x);
    if (next_window(&args, &shape) < 0) return NULL;
    if (values[7] != Py_None) {
        PyErr_SetString(PyExc_TypeError, "max_pool2d: out is for float32 only");
        return NULL;
    }
    if (!(y = new_planes(x, shape.out_h, shape.out_w, PyArray_TYPE(x)))) return NULL;
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

/* Everything before a float32 forward call. */
static int begin_forward(tt_args *args, const char *function, PyObject *const *values, Py_ssize_t count,
                         PyArrayObject **x, PyArrayObject **y, tt_pool2d_shape *shape)
{
    if (tt_args_begin(args, function, values, count, 8) < 0 ||
        !(*x = tt_next_array(args, "x", NPY_FLOAT32, 4, 4)))
        return -1;
    *shape = shape_of(*x);
    if (next_window(args, shape) < 0) return -1;
    *y = next_planes(args, *x, NULL, shape->out_h, shape->out_w);
    return *y ? 0 : -1;
}

static PyObject *max_pool2d(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    if (count == 8 && holds_bytes(values[0])) return max_pool2d_int8(values, count);
    tt_args args;
    PyArrayObject *x, *y;
    tt_pool2d_shape shape;
    if (begin_forward(&args, "max_pool2d", values, count, &x, &y, &shape) < 0) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_max_pool2d_f32(&shape, TT_F32(x), TT_F32(y), NULL);
    Py_END_ALLOW_THREADS
    return result_or_error(&args, y, status);
}

/* (y, places), and None for places that 16 bits cannot hold */
static PyObject *max_pool2d_with_places(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *y, *places = NULL;
    tt_pool2d_shape shape;
    if (begin_forward(&args, "max_pool2d", values, count, &x, &y, &shape) < 0) return NULL;
    if (tt_pool2d_has_places(&shape) && !(places = new_planes(x, shape.out_h, shape.out_w, NPY_UINT16))) {
        Py_DECREF(y);
        return NULL;
    }
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_max_pool2d_f32(&shape, TT_F32(x), TT_F32(y), places ? PyArray_DATA(places) : NULL);
    Py_END_ALLOW_THREADS
    if (!result_or_error(&args, y, status)) {
        Py_XDECREF(places);
        return NULL;
    }
    return places ? Py_BuildValue("(NN)", y, places) : Py_BuildValue("(NO)", y, Py_None);
}

static PyObject *avg_pool2d(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *y;
    tt_pool2d_shape shape;
    if (begin_forward(&args, "avg_pool2d", values, count, &x, &y, &shape) < 0) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_avg_pool2d_f32(&shape, TT_F32(x), TT_F32(y));
    Py_END_ALLOW_THREADS
    return result_or_error(&args, y, status);
}

static PyObject *max_pool2d_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *dy, *x, *places, *dx;
    if (tt_args_begin(&args, "max_pool2d_backward", values, count, 10) < 0 ||
        !(dy = tt_next_array(&args, "dy", NPY_FLOAT32, 4, 4)) ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 4, 4)) ||
        tt_next_optional(&args, "places", NPY_UINT16, 4, 4, &places) < 0)
        return NULL;
    tt_pool2d_shape shape = shape_of(x);
    if (next_window(&args, &shape) < 0) return NULL;
    size_t dims[4] = {TT_DIM(x, 0), TT_DIM(x, 1), shape.out_h, shape.out_w};
    if (tt_expect_shape(&args, "dy", dy, 4, dims) < 0 ||
        (places && tt_expect_shape(&args, "places", places, 4, dims) < 0) ||
        !(dx = next_planes(&args, x, dy, shape.height, shape.width)))
        return NULL;
    if (places && tt_expect_apart(&args, dx, places) < 0) {
        Py_DECREF(dx);
        return NULL;
    }
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_max_pool2d_backward_f32(&shape, TT_F32(dy), TT_F32(x), places ? PyArray_DATA(places) : NULL,
                                        TT_F32(dx));
    Py_END_ALLOW_THREADS
    if (status == TT_BAD_VALUE && places) {
        PyErr_SetString(PyExc_ValueError, "max_pool2d_backward: places holds some that lie outside their windows; pass "
                                          "what max_pool2d_with_places returned for this x, kernel_size, stride and "
                                          "padding");
        Py_DECREF(dx);
        return NULL;
    }
    return result_or_error(&args, dx, status);
}

static PyObject *avg_pool2d_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *dy, *dx;
    tt_pool2d_shape shape;
    if (tt_args_begin(&args, "avg_pool2d_backward", values, count, 10) < 0 ||
        !(dy = tt_next_array(&args, "dy", NPY_FLOAT32, 4, 4)))
        return NULL;
    shape = shape_of(dy);
    if (tt_next_size(&args, "h", 0, &shape.height) < 0 || tt_next_size(&args, "w", 0, &shape.width) < 0 ||
        next_window(&args, &shape) < 0)
        return NULL;
    size_t dims[4] = {TT_DIM(dy, 0), TT_DIM(dy, 1), shape.out_h, shape.out_w};
    if (tt_expect_shape(&args, "dy", dy, 4, dims) < 0 ||
        !(dx = next_planes(&args, dy, NULL, shape.height, shape.width)))
        return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_avg_pool2d_backward_f32(&shape, TT_F32(dy), TT_F32(dx));
    Py_END_ALLOW_THREADS
    return result_or_error(&args, dx, status);
}

static PyMethodDef methods[] = {
    TT_FASTCALL(max_pool2d), TT_FASTCALL(max_pool2d_with_places), TT_FASTCALL(max_pool2d_backward),
    TT_FASTCALL(avg_pool2d), TT_FASTCALL(avg_pool2d_backward),    {NULL, NULL, 0, NULL},
};

int tt_register_pool(PyObject *module) { return PyModule_AddFunctions(module, methods); }
