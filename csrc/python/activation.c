#include "python/args.h"

static PyObject *gelu(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *y;
    int form;
    if (tt_args_begin(&args, "gelu", values, count, 2) < 0 || !(x = tt_next_array(&args, "x", NPY_FLOAT32, 0, -1)) ||
        tt_next_int(&args, "approximate", TT_GELU_ERF, TT_GELU_SIGMOID, &form) < 0 || !(y = tt_new_like(x)))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_gelu_f32((size_t)PyArray_SIZE(x), TT_F32(x), (tt_gelu_form)form, TT_F32(y));
    Py_END_ALLOW_THREADS
    return (PyObject *)y;
}

static PyObject *gelu_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *dy, *x, *dx;
    int form;
    if (tt_args_begin(&args, "gelu_backward", values, count, 3) < 0 ||
        !(dy = tt_next_array(&args, "dy", NPY_FLOAT32, 0, -1)) ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 0, -1)) ||
        tt_next_int(&args, "approximate", TT_GELU_ERF, TT_GELU_SIGMOID, &form) < 0 ||
        tt_expect_like(&args, "dy", dy, x) < 0 || !(dx = tt_new_like(x)))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_gelu_backward_f32((size_t)PyArray_SIZE(x), TT_F32(dy), TT_F32(x), (tt_gelu_form)form, TT_F32(dx));
    Py_END_ALLOW_THREADS
    return (PyObject *)dx;
}

static PyMethodDef methods[] = {
    TT_FASTCALL(gelu),
    TT_FASTCALL(gelu_backward),
    {NULL, NULL, 0, NULL},
};

int tt_register_activation(PyObject *module) { return PyModule_AddFunctions(module, methods); }
