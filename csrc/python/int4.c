#include "python/quantized.h"

static int next_group_size(tt_args *args, size_t *group_size)
{
    if (tt_next_size(args, "group_size", 32, group_size) < 0) return -1;
    if (*group_size % 32 == 0) return 0;
    PyErr_Format(PyExc_ValueError, "%s: group_size is %zu, must be a multiple of 32", args->function,
                 *group_size);
    return -1;
}

static PyObject *pack_int4(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *w;
    size_t group_size;
    if (tt_args_begin(&args, "pack_int4", values, count, 2) < 0 ||
        !(w = tt_next_array(&args, "w", NPY_FLOAT32, 2, 2)) || next_group_size(&args, &group_size) < 0)
        return NULL;
    size_t k = TT_DIM(w, 0), n = TT_DIM(w, 1);
    PyArrayObject *packed = tt_new_packed(tt_packed_bytes_int4(k, n, group_size));
    if (!packed) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_pack_int4(k, n, group_size, TT_F32(w), PyArray_DATA(packed));
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return (PyObject *)packed;
    PyErr_SetString(
        PyExc_ValueError,
        "pack_int4: w holds NaN, an infinity, or values whose scale max|w| / 7 is beyond float16 (65504)");
    Py_DECREF(packed);
    return NULL;
}

/* The next four arguments: packed, k, n, group_size. */
static PyArrayObject *next_packed(tt_args *args, size_t *k, size_t *n, size_t *group_size)
{
    PyArrayObject *packed = tt_next_array(args, "packed", NPY_UINT8, 1, 1);
    if (!packed || tt_next_size(args, "k", 0, k) < 0 || tt_next_size(args, "n", 0, n) < 0 ||
        next_group_size(args, group_size) < 0)
        return NULL;
    /* Two elements take a byte, so larger ones cannot fit; and their product does not overflow. */
    size_t found = (size_t)PyArray_SIZE(packed);
    int possible = *n == 0 || *k == 0 || *k / 2 <= found / *n;
    size_t expected = possible ? tt_packed_bytes_int4(*k, *n, *group_size) : SIZE_MAX;
    return tt_expect_size(args, "packed", "bytes", found, expected) < 0 ? NULL : packed;
}

static PyObject *unpack_int4(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    size_t k, n, group_size;
    PyArrayObject *packed;
    if (tt_args_begin(&args, "unpack_int4", values, count, 4) < 0 ||
        !(packed = next_packed(&args, &k, &n, &group_size)))
        return NULL;
    npy_intp dims[2] = {(npy_intp)k, (npy_intp)n};
    PyArrayObject *w = tt_new_array(2, dims, NPY_FLOAT32);
    if (!w) return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_unpack_int4(k, n, group_size, PyArray_DATA(packed), TT_F32(w));
    Py_END_ALLOW_THREADS
    return (PyObject *)w;
}

static PyObject *linear_int4(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *packed, *bias;
    size_t k, n, group_size, m = 1;
    int quantize_x;
    if (tt_args_begin(&args, "linear_int4", values, count, 7) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 1, -1)) ||
        !(packed = next_packed(&args, &k, &n, &group_size)) ||
        tt_next_optional(&args, "bias", NPY_FLOAT32, 1, 1, &bias) < 0 ||
        tt_next_bool(&args, "quantize_x", &quantize_x) < 0)
        return NULL;
    int last = PyArray_NDIM(x) - 1;
    if (tt_expect_size(&args, "x", "features on its last axis", TT_DIM(x, last), k) < 0 ||
        (bias && tt_expect_size(&args, "bias", "elements", TT_DIM(bias, 0), n) < 0))
        return NULL;
    npy_intp dims[NPY_MAXDIMS];
    for (int i = 0; i < last; i++) m *= (size_t)(dims[i] = PyArray_DIM(x, i));
    dims[last] = (npy_intp)n;
    PyArrayObject *y = tt_new_array(last + 1, dims, NPY_FLOAT32);
    if (!y) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_linear_int4(m, n, k, group_size, TT_F32(x), quantize_x, PyArray_DATA(packed),
                            TT_F32_OR_NULL(bias), TT_F32(y));
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return (PyObject *)y;
    tt_raise("linear_int4", status);
    Py_DECREF(y);
    return NULL;
}

static PyMethodDef methods[] = {
    TT_FASTCALL(pack_int4),
    TT_FASTCALL(unpack_int4),
    TT_FASTCALL(linear_int4),
    {NULL, NULL, 0, NULL},
};

int tt_register_int4(PyObject *module) { return PyModule_AddFunctions(module, methods); }
