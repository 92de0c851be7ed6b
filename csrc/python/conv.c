#include "python/window.h"

static PyArrayObject *new_output(const tt_conv2d_shape *shape)
{
    npy_intp dims[4] = {(npy_intp)shape->batch, (npy_intp)shape->outputs, (npy_intp)shape->out_h,
                        (npy_intp)shape->out_w};
    return tt_new_array(4, dims, NPY_FLOAT32);
}

static PyObject *finish(const tt_args *args, PyArrayObject *y, tt_status status)
{
    if (status == TT_OK) return (PyObject *)y;
    tt_raise(args->function, status);
    Py_DECREF(y);
    return NULL;
}

static PyObject *apply_conv2d(const tt_args *args, const tt_conv2d_shape *shape, PyArrayObject *x, const float *w,
                              const float *packed, PyArrayObject *bias, int activation)
{
    if (bias && tt_expect_size(args, "bias", "elements", TT_DIM(bias, 0), shape->outputs) < 0) return NULL;
    PyArrayObject *y = new_output(shape);
    if (!y) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_conv2d_f32(shape, TT_F32(x), w, packed, TT_F32_OR_NULL(bias), (tt_activation)activation,
                           TT_F32(y));
    Py_END_ALLOW_THREADS
    return finish(args, y, status);
}

static PyObject *conv2d(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *w, *bias;
    tt_conv2d_shape shape;
    int activation;
    if (tt_args_begin(&args, "conv2d", values, count, 11) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 4, 4)) ||
        !(w = tt_next_array(&args, "w", NPY_FLOAT32, 4, 4)) ||
        tt_next_optional(&args, "bias", NPY_FLOAT32, 1, 1, &bias) < 0 || tt_next_window(&args, &shape) < 0 ||
        tt_next_int(&args, "activation", TT_NONE, TT_GELU, &activation) < 0 ||
        tt_complete_shape(&args, &shape, x, TT_DIM(w, 0), TT_DIM(w, 1), TT_DIM(w, 2), TT_DIM(w, 3)) < 0)
        return NULL;
    return apply_conv2d(&args, &shape, x, TT_F32(w), NULL, bias, activation);
}

/* A new array like x, or nothing when it is not needed; -1 on error. */
static int gradient_like(PyArrayObject *x, int needed, PyArrayObject **gradient)
{
    *gradient = needed ? tt_new_like(x) : NULL;
    return needed && !*gradient ? -1 : 0;
}

static PyObject *or_none(PyArrayObject *x) { return x ? (PyObject *)x : Py_NewRef(Py_None); }

static PyObject *conv2d_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *dy, *x, *w, *dx = NULL, *dw = NULL, *db = NULL;
    tt_conv2d_shape shape;
    int need_dx, need_dw, need_db;
    if (tt_args_begin(&args, "conv2d_backward", values, count, 13) < 0 ||
        !(dy = tt_next_array(&args, "dy", NPY_FLOAT32, 4, 4)) ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 4, 4)) ||
        !(w = tt_next_array(&args, "w", NPY_FLOAT32, 4, 4)) || tt_next_window(&args, &shape) < 0 ||
        tt_next_bool(&args, "need_dx", &need_dx) < 0 || tt_next_bool(&args, "need_dw", &need_dw) < 0 ||
        tt_next_bool(&args, "need_db", &need_db) < 0 ||
        tt_complete_shape(&args, &shape, x, TT_DIM(w, 0), TT_DIM(w, 1), TT_DIM(w, 2), TT_DIM(w, 3)) < 0)
        return NULL;
    size_t dims[4] = {shape.batch, shape.outputs, shape.out_h, shape.out_w};
    npy_intp outputs = (npy_intp)shape.outputs;
    if (tt_expect_shape(&args, "dy", dy, 4, dims) < 0) return NULL;

    tt_status status = TT_OUT_OF_MEMORY;
    if (gradient_like(x, need_dx, &dx) == 0 && gradient_like(w, need_dw, &dw) == 0 &&
        (!need_db || (db = tt_new_array(1, &outputs, NPY_FLOAT32)))) {
        Py_BEGIN_ALLOW_THREADS
        status = tt_conv2d_backward_f32(&shape, TT_F32(dy), TT_F32(x), TT_F32(w), TT_F32_OR_NULL(dx),
                                        TT_F32_OR_NULL(dw), TT_F32_OR_NULL(db));
        Py_END_ALLOW_THREADS
    }
    if (status == TT_OK) return Py_BuildValue("NNN", or_none(dx), or_none(dw), or_none(db));
    Py_XDECREF(dx);
    Py_XDECREF(dw);
    Py_XDECREF(db);
    if (!PyErr_Occurred()) tt_raise("conv2d_backward", status);
    return NULL;
}

static PyObject *pack_conv2d(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *w;
    size_t groups;
    if (tt_args_begin(&args, "pack_conv2d", values, count, 2) < 0 ||
        !(w = tt_next_array(&args, "w", NPY_FLOAT32, 4, 4)) || tt_next_size(&args, "groups", 1, &groups) < 0 ||
        tt_check_groups(&args, TT_DIM(w, 0), groups) < 0)
        return NULL;
    size_t outputs = TT_DIM(w, 0), taps = TT_DIM(w, 1) * TT_DIM(w, 2) * TT_DIM(w, 3);
    npy_intp bytes = (npy_intp)(tt_conv2d_packed_size_f32(outputs, taps, groups) * sizeof(float));
    PyArrayObject *packed = tt_new_array(1, &bytes, NPY_UINT8);
    if (!packed) return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_conv2d_pack_f32(outputs, taps, groups, TT_F32(w), TT_F32(packed));
    Py_END_ALLOW_THREADS
    return (PyObject *)packed;
}

/* packed, o, i, kh, kw */
static PyArrayObject *next_packed(tt_args *args, size_t *dims)
{
    static const char *const names[4] = {"o", "i", "kh", "kw"};
    const size_t most = (size_t)PY_SSIZE_T_MAX / 64; /* leaves room for what packing adds */
    PyArrayObject *packed = tt_next_array(args, "packed", NPY_UINT8, 1, 1);
    size_t floats = 1;
    for (int i = 0; packed && i < 4; i++) {
        if (tt_next_size(args, names[i], 0, &dims[i]) < 0) return NULL;
        if (dims[i] && floats > most / dims[i]) {
            PyErr_Format(PyExc_ValueError, "%s: o * i * kh * kw is too large", args->function);
            return NULL;
        }
        if (dims[i]) floats *= dims[i];
    }
    return packed;
}

static int check_packed(const tt_args *args, PyArrayObject *packed, const size_t *dims, size_t groups)
{
    if (tt_check_groups(args, dims[0], groups) < 0) return -1;
    size_t bytes = tt_conv2d_packed_size_f32(dims[0], dims[1] * dims[2] * dims[3], groups) * sizeof(float);
    return tt_expect_size(args, "packed", "bytes", (size_t)PyArray_SIZE(packed), bytes);
}

static PyObject *unpack_conv2d(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *packed;
    size_t dims[4], groups;
    if (tt_args_begin(&args, "unpack_conv2d", values, count, 6) < 0 || !(packed = next_packed(&args, dims)) ||
        tt_next_size(&args, "groups", 1, &groups) < 0 || check_packed(&args, packed, dims, groups) < 0)
        return NULL;
    npy_intp shape[4] = {(npy_intp)dims[0], (npy_intp)dims[1], (npy_intp)dims[2], (npy_intp)dims[3]};
    PyArrayObject *w = tt_new_array(4, shape, NPY_FLOAT32);
    if (!w) return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_conv2d_unpack_f32(dims[0], dims[1] * dims[2] * dims[3], groups, TT_F32(packed), TT_F32(w));
    Py_END_ALLOW_THREADS
    return (PyObject *)w;
}

static PyObject *conv2d_packed(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *packed, *bias;
    tt_conv2d_shape shape;
    size_t dims[4];
    int activation;
    if (tt_args_begin(&args, "conv2d_packed", values, count, 15) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 4, 4)) || !(packed = next_packed(&args, dims)) ||
        tt_next_optional(&args, "bias", NPY_FLOAT32, 1, 1, &bias) < 0 || tt_next_window(&args, &shape) < 0 ||
        tt_next_int(&args, "activation", TT_NONE, TT_GELU, &activation) < 0 ||
        tt_complete_shape(&args, &shape, x, dims[0], dims[1], dims[2], dims[3]) < 0 ||
        check_packed(&args, packed, dims, shape.groups) < 0)
        return NULL;
    return apply_conv2d(&args, &shape, x, NULL, TT_F32(packed), bias, activation);
}

static PyObject *sparse_conv2d(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_sparse_matrix w;
    tt_conv2d_shape shape = {0};
    size_t kh, kw;
    int activation;
    PyArrayObject *x, *bias;
    if (tt_args_begin(&args, "sparse_conv2d", values, count, 13) < 0 || tt_next_sparse(&args, &w) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 4, 4)) || tt_next_size(&args, "kernel_h", 1, &kh) < 0 ||
        tt_next_size(&args, "kernel_w", 1, &kw) < 0 ||
        tt_next_optional(&args, "bias", NPY_FLOAT32, 1, 1, &bias) < 0 || tt_next_window(&args, &shape) < 0 ||
        tt_next_int(&args, "activation", TT_NONE, TT_GELU, &activation) < 0 ||
        tt_complete_shape(&args, &shape, x, w.m, TT_DIM(x, 1), kh, kw) < 0)
        return NULL;
    if (shape.groups != 1 || w.k / kh / kw != shape.channels || w.k != shape.channels * kh * kw) {
        PyErr_Format(PyExc_ValueError, "%s: w reads %zu values for each output, but x has %zu channels and the kernel "
                     "is %zu by %zu", args.function, w.k, shape.channels, kh, kw);
        return NULL;
    }
    if (bias && tt_expect_size(&args, "bias", "elements", TT_DIM(bias, 0), shape.outputs) < 0) return NULL;
    PyArrayObject *y = new_output(&shape);
    if (!y) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_sparse_conv2d_f32(&w, &shape, TT_F32(x), TT_F32_OR_NULL(bias), (tt_activation)activation, TT_F32(y));
    Py_END_ALLOW_THREADS
    return finish(&args, y, status);
}

static PyMethodDef methods[] = {
    TT_FASTCALL(conv2d),        TT_FASTCALL(conv2d_backward), TT_FASTCALL(pack_conv2d),
    TT_FASTCALL(unpack_conv2d), TT_FASTCALL(conv2d_packed),   TT_FASTCALL(sparse_conv2d),
    {NULL, NULL, 0, NULL},
};

int tt_register_conv(PyObject *module) { return PyModule_AddFunctions(module, methods); }
