#include "python/args.h"

typedef void forward_function(size_t rows, size_t n, const float *x, float *y);
typedef void backward_function(size_t rows, size_t n, const float *dy, const float *y, float *dx);

static PyObject *forward(const char *function, forward_function *softmax, PyObject *const *values, Py_ssize_t count)
{
    tt_args args;
    PyArrayObject *x, *y;
    if (tt_args_begin(&args, function, values, count, 2) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 1, -1)) || !(y = tt_next_output_like(&args, x, NULL)))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    softmax(tt_rows_of_array(x), TT_DIM(x, PyArray_NDIM(x) - 1), TT_F32(x), TT_F32(y));
    Py_END_ALLOW_THREADS
    return (PyObject *)y;
}

static PyObject *backward(const char *function, backward_function *softmax, PyObject *const *values, Py_ssize_t count)
{
    tt_args args;
    PyArrayObject *dy, *y, *dx;
    if (tt_args_begin(&args, function, values, count, 3) < 0 ||
        !(dy = tt_next_array(&args, "dy", NPY_FLOAT32, 1, -1)) ||
        !(y = tt_next_array(&args, "y", NPY_FLOAT32, 1, -1)) || tt_expect_like(&args, "dy", dy, y) < 0 ||
        !(dx = tt_next_output_like(&args, y, dy)))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    softmax(tt_rows_of_array(y), TT_DIM(y, PyArray_NDIM(y) - 1), TT_F32(dy), TT_F32(y), TT_F32(dx));
    Py_END_ALLOW_THREADS
    return (PyObject *)dx;
}

static PyObject *softmax(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    return forward("softmax", tt_softmax_f32, values, count);
}

static PyObject *softmax_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    return backward("softmax_backward", tt_softmax_backward_f32, values, count);
}

static PyObject *log_softmax(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    return forward("log_softmax", tt_log_softmax_f32, values, count);
}

static PyObject *log_softmax_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    return backward("log_softmax_backward", tt_log_softmax_backward_f32, values, count);
}

static PyMethodDef methods[] = {
    TT_FASTCALL(softmax),
    TT_FASTCALL(softmax_backward),
    TT_FASTCALL(log_softmax),
    TT_FASTCALL(log_softmax_backward),
    {NULL, NULL, 0, NULL},
};

int tt_register_softmax(PyObject *module) { return PyModule_AddFunctions(module, methods); }
