#include "python/args.h"

/* The indices are the caller's promise. */
int tt_next_sparse(tt_args *args, tt_sparse_matrix *w)
{
    int r;
    PyArrayObject *values, *indices, *row_pointers;
    if (!(values = tt_next_array(args, "values", NPY_FLOAT32, 2, 2))) return -1;
    PyObject *untyped = args->values[args->next];
    w->wide_indices = PyArray_Check(untyped) && PyArray_TYPE((PyArrayObject *)untyped) == NPY_INT32;
    if (!(indices = tt_next_array(args, "indices", w->wide_indices ? NPY_INT32 : NPY_UINT16, 1, 1)) ||
        !(row_pointers = tt_next_array(args, "row_pointers", NPY_INT32, 1, 1)) ||
        tt_next_size(args, "m", 0, &w->m) < 0 || tt_next_size(args, "k", 0, &w->k) < 0 ||
        tt_next_int(args, "r", 1, 16, &r) < 0)
        return -1;
    if (r & (r - 1)) {
        PyErr_Format(PyExc_ValueError, "%s: r is %d, blocks have 1, 2, 4, 8 or 16 rows", args->function, r);
        return -1;
    }
    w->r = (size_t)r;
    w->values = TT_F32(values);
    w->indices = PyArray_DATA(indices);
    w->row_pointers = PyArray_DATA(row_pointers);
    size_t blocks = TT_DIM(indices, 0), block_rows = w->m / w->r + (w->m % w->r != 0);
    if (tt_expect_shape(args, "values", values, 2, (size_t[]){blocks, w->r}) < 0 ||
        tt_expect_shape(args, "row_pointers", row_pointers, 1, (size_t[]){block_rows + 1}) < 0)
        return -1;
    int ascending = w->row_pointers[0] == 0 && (size_t)w->row_pointers[block_rows] == blocks;
    for (size_t i = 0; i < block_rows; i++) ascending &= w->row_pointers[i] <= w->row_pointers[i + 1];
    if (ascending) return 0;
    PyErr_Format(PyExc_ValueError, "%s: row_pointers must ascend from 0 to the number of blocks, %zu",
                 args->function, blocks);
    return -1;
}

/* A new reference to `out`, which must share no memory with x or bias (which may be NULL), or to a fresh array. */
static PyArrayObject *output_apart(const tt_args *args, PyArrayObject *out, PyArrayObject *x, PyArrayObject *bias,
                                   int ndim, const npy_intp *dims)
{
    PyArrayObject *y = tt_output_array(args, out, ndim, dims);
    if (!y || (tt_expect_apart(args, y, x) == 0 && (!bias || tt_expect_apart(args, y, bias) == 0))) return y;
    Py_DECREF(y);
    return NULL;
}

static PyObject *finish(const tt_args *args, PyArrayObject *result, tt_status status)
{
    if (status == TT_OK) return (PyObject *)result;
    tt_raise(args->function, status);
    Py_DECREF(result);
    return NULL;
}

static PyObject *sparse_matmul(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_sparse_matrix w;
    PyArrayObject *x, *out;
    if (tt_args_begin(&args, "sparse_matmul", values, count, 8) < 0 || tt_next_sparse(&args, &w) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 2, 2)) ||
        tt_expect_size(&args, "x", "rows", TT_DIM(x, 0), w.k) < 0 ||
        tt_next_optional(&args, "out", NPY_FLOAT32, 2, 2, &out) < 0)
        return NULL;
    npy_intp dims[2] = {(npy_intp)w.m, PyArray_DIM(x, 1)};
    PyArrayObject *c = output_apart(&args, out, x, NULL, 2, dims);
    if (!c) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_sparse_matmul_f32(&w, TT_DIM(x, 1), TT_F32(x), TT_F32(c));
    Py_END_ALLOW_THREADS
    return finish(&args, c, status);
}

static PyObject *sparse_linear(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_sparse_matrix w;
    PyArrayObject *x, *bias, *out;
    int activation;
    if (tt_args_begin(&args, "sparse_linear", values, count, 10) < 0 || tt_next_sparse(&args, &w) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 1, -1)) ||
        tt_next_optional(&args, "bias", NPY_FLOAT32, 1, 1, &bias) < 0 ||
        tt_next_int(&args, "activation", TT_NONE, TT_GELU, &activation) < 0 ||
        tt_next_optional(&args, "out", NPY_FLOAT32, 1, -1, &out) < 0)
        return NULL;
    int last = PyArray_NDIM(x) - 1;
    if (tt_expect_size(&args, "x", "features on its last axis", TT_DIM(x, last), w.k) < 0 ||
        (bias && tt_expect_size(&args, "bias", "elements", TT_DIM(bias, 0), w.m) < 0))
        return NULL;
    npy_intp dims[NPY_MAXDIMS];
    size_t batch = 1;
    for (int i = 0; i < last; i++) batch *= (size_t)(dims[i] = PyArray_DIM(x, i));
    dims[last] = (npy_intp)w.m;
    PyArrayObject *y = output_apart(&args, out, x, bias, last + 1, dims);
    if (!y) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_sparse_linear_f32(&w, batch, TT_F32(x), TT_F32_OR_NULL(bias), (tt_activation)activation,
                                  TT_F32(y));
    Py_END_ALLOW_THREADS
    return finish(&args, y, status);
}

static PyMethodDef methods[] = {
    TT_FASTCALL(sparse_matmul),
    TT_FASTCALL(sparse_linear),
    {NULL, NULL, 0, NULL},
};

int tt_register_sparse(PyObject *module) { return PyModule_AddFunctions(module, methods); }
