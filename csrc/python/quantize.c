#include "python/quantized.h"

#include <float.h>
#include <math.h>

PyArrayObject *tt_next_bytes(tt_args *args, const char *name, int min_ndim, int max_ndim, int *is_signed)
{
    PyObject *value = args->values[args->next];
    int type = PyArray_Check(value) ? PyArray_TYPE((PyArrayObject *)value) : NPY_UINT8;
    *is_signed = type == NPY_INT8;
    if (type == NPY_INT8 || type == NPY_UINT8) return tt_next_array(args, name, type, min_ndim, max_ndim);
    PyErr_Format(PyExc_TypeError, "%s: %s must be an array of int8 or uint8, got %S", args->function, name,
                 (PyObject *)PyArray_DESCR((PyArrayObject *)value));
    return NULL;
}

static int check_scale(const tt_args *args, const char *name, float scale)
{
    if (scale > 0 && isfinite(scale)) return 0;
    PyObject *found = PyFloat_FromDouble(scale);
    if (found)
        PyErr_Format(PyExc_ValueError, "%s: %s is %S, must be finite and above 0 in float32", args->function,
                     name, found);
    Py_XDECREF(found);
    return -1;
}

int tt_next_scale(tt_args *args, const char *name, float *scale)
{
    double value;
    if (tt_next_double(args, name, &value) < 0) return -1;
    *scale = (float)value;
    return check_scale(args, name, *scale);
}

int tt_check_scales(const tt_args *args, const char *name, PyArrayObject *scales)
{
    const float *scale = TT_F32(scales);
    npy_intp count = PyArray_SIZE(scales);
    int wrong = 0;
    for (npy_intp i = 0; i < count; i++) wrong |= !(scale[i] > 0) | !(scale[i] <= FLT_MAX); /* no branch: vectors */
    for (npy_intp i = 0; wrong && i < count; i++)
        if (check_scale(args, name, scale[i]) < 0) return -1;
    return 0;
}

PyArrayObject *tt_new_packed(size_t bytes)
{
    enum { ALIGNMENT = 64 };
    npy_intp all = (npy_intp)bytes + ALIGNMENT, dims = (npy_intp)bytes;
    PyArrayObject *owner = tt_new_array(1, &all, NPY_UINT8);
    if (!owner) return NULL;
    uint8_t *data = PyArray_DATA(owner);
    data += (ALIGNMENT - (uintptr_t)data % ALIGNMENT) % ALIGNMENT;
    PyObject *view = PyArray_SimpleNewFromData(1, &dims, NPY_UINT8, data);
    if (!view) {
        Py_DECREF(owner);
        return NULL;
    }
    if (PyArray_SetBaseObject((PyArrayObject *)view, (PyObject *)owner) == 0) return (PyArrayObject *)view;
    Py_DECREF(view);
    return NULL;
}

/* x or q as (outer, axis, inner), with one scale and zero point for each index of the axis. */
typedef struct {
    size_t outer, axis, inner;
    const float *scale;
    const int32_t *zero_point;
} grid;

static int check_zero_points(const tt_args *args, PyArrayObject *zero_point, int is_signed)
{
    const int32_t *values = PyArray_DATA(zero_point);
    int low = is_signed ? -128 : 0;
    for (npy_intp i = 0; i < PyArray_SIZE(zero_point); i++)
        if (values[i] < low || values[i] > low + 255) {
            PyErr_Format(PyExc_ValueError, "%s: zero_point is %d, must be in [%d, %d]", args->function,
                         values[i], low, low + 255);
            return -1;
        }
    return 0;
}

static int read_grid(const tt_args *args, PyArrayObject *x, PyArrayObject *scale, PyArrayObject *zero_point,
                     int axis, int is_signed, grid *g)
{
    int ndim = PyArray_NDIM(x);
    if (axis >= ndim) {
        PyErr_Format(PyExc_ValueError, "%s: axis is %d, but the array has %d dimensions", args->function,
                     axis, ndim);
        return -1;
    }
    *g = (grid){1, 1, 1, TT_F32(scale), PyArray_DATA(zero_point)};
    for (int i = 0; i < ndim; i++) *(i < axis ? &g->outer : i == axis ? &g->axis : &g->inner) *= TT_DIM(x, i);
    if (tt_expect_size(args, "scale", "elements", TT_DIM(scale, 0), g->axis) < 0 ||
        tt_expect_size(args, "zero_point", "elements", TT_DIM(zero_point, 0), g->axis) < 0 ||
        tt_check_scales(args, "scale", scale) < 0)
        return -1;
    return check_zero_points(args, zero_point, is_signed);
}

static PyObject *quantize(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *scale, *zero_point;
    int axis, is_signed;
    grid g;
    if (tt_args_begin(&args, "quantize", values, count, 5) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 0, -1)) ||
        !(scale = tt_next_array(&args, "scale", NPY_FLOAT32, 1, 1)) ||
        !(zero_point = tt_next_array(&args, "zero_point", NPY_INT32, 1, 1)) ||
        tt_next_int(&args, "axis", -1, NPY_MAXDIMS, &axis) < 0 ||
        tt_next_bool(&args, "signed", &is_signed) < 0 ||
        read_grid(&args, x, scale, zero_point, axis, is_signed, &g) < 0)
        return NULL;
    PyArrayObject *q = tt_new_array(PyArray_NDIM(x), PyArray_DIMS(x), is_signed ? NPY_INT8 : NPY_UINT8);
    if (!q) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_quantize_f32(g.outer, g.axis, g.inner, TT_F32(x), g.scale, g.zero_point, is_signed,
                             PyArray_DATA(q));
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return (PyObject *)q;
    PyErr_SetString(PyExc_ValueError, "quantize: x holds NaN, which no integer stands for");
    Py_DECREF(q);
    return NULL;
}

static PyObject *dequantize(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *q, *scale, *zero_point;
    int axis, is_signed;
    grid g;
    if (tt_args_begin(&args, "dequantize", values, count, 4) < 0 ||
        !(q = tt_next_bytes(&args, "q", 0, -1, &is_signed)) ||
        !(scale = tt_next_array(&args, "scale", NPY_FLOAT32, 1, 1)) ||
        !(zero_point = tt_next_array(&args, "zero_point", NPY_INT32, 1, 1)) ||
        tt_next_int(&args, "axis", -1, NPY_MAXDIMS, &axis) < 0 ||
        read_grid(&args, q, scale, zero_point, axis, is_signed, &g) < 0)
        return NULL;
    PyArrayObject *x = tt_new_array(PyArray_NDIM(q), PyArray_DIMS(q), NPY_FLOAT32);
    if (!x) return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_dequantize_f32(g.outer, g.axis, g.inner, PyArray_DATA(q), is_signed, g.scale, g.zero_point, TT_F32(x));
    Py_END_ALLOW_THREADS
    return (PyObject *)x;
}

static PyMethodDef methods[] = {
    TT_FASTCALL(quantize),
    TT_FASTCALL(dequantize),
    {NULL, NULL, 0, NULL},
};

int tt_register_quantize(PyObject *module) { return PyModule_AddFunctions(module, methods); }
