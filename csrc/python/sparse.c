#include "python/args.h"

/* ---- the matrix ---- */

static int check_row_pointers(const tt_args *args, const tt_sparse_matrix *w, size_t blocks, size_t block_rows)
{
    int ascending = w->row_pointers[0] == 0 && (size_t)w->row_pointers[block_rows] == blocks;
    for (size_t i = 0; i < block_rows; i++) ascending &= w->row_pointers[i] <= w->row_pointers[i + 1];
    if (ascending) return 0;
    PyErr_Format(PyExc_ValueError, "%s: row_pointers must ascend from 0 to the number of blocks, %zu",
                 args->function, blocks);
    return -1;
}

/* The indices are the caller's promise. */
int tt_next_sparse_blocks(tt_args *args, tt_sparse_matrix *w)
{
    int r;
    PyArrayObject *values, *indices, *row_pointers;
    *w = (tt_sparse_matrix){0};
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
    return check_row_pointers(args, w, blocks, block_rows);
}

/* slices, m, k. What the slices hold is the caller's promise, but for its length. */
static int next_slices(tt_args *args, tt_sparse_matrix *w)
{
    PyArrayObject *slices = tt_next_array(args, "slices", NPY_UINT64, 1, 1);
    if (!slices || tt_next_size(args, "m", 0, &w->m) < 0 || tt_next_size(args, "k", 0, &w->k) < 0) return -1;
    w->r = 1;
    w->slices = PyArray_DATA(slices);
    if (tt_are_sparse_slices(w->slices, (size_t)PyArray_NBYTES(slices), w->m, w->k)) return 0;
    PyErr_Format(PyExc_ValueError, "%s: these are not the slices of a matrix (%zu, %zu)", args->function, w->m, w->k);
    return -1;
}

int tt_next_sparse(tt_args *args, tt_sparse_matrix *w)
{
    *w = (tt_sparse_matrix){0};
    PyObject *first = PyTuple_Check(args->values[args->next]) ? args->values[args->next++] : NULL;
    if (!first) {
        PyErr_Format(PyExc_TypeError, "%s: w must be a tuple of a SparseMatrix's parts", args->function);
        return -1;
    }
    tt_args parts = {args->function, &PyTuple_GET_ITEM(first, 0), PyTuple_GET_SIZE(first), 0};
    if (parts.count == 3) return next_slices(&parts, w);
    if (parts.count == 6) return tt_next_sparse_blocks(&parts, w);
    PyErr_Format(PyExc_TypeError, "%s: w has %zd parts, expected 3 or 6", args->function, parts.count);
    return -1;
}

static PyObject *slice_sparse(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_sparse_matrix w = {0};
    if (tt_args_begin(&args, "slice_sparse", values, count, 6) < 0 || tt_next_sparse_blocks(&args, &w) < 0) return NULL;
    if (w.r != 1) return PyErr_Format(PyExc_ValueError, "slice_sparse: r is %zu, must be 1", w.r);
    size_t bytes;
    tt_status status = tt_sparse_slices_size(&w, &bytes);
    PyArrayObject *slices = NULL;
    npy_intp words = (npy_intp)(bytes / sizeof(uint64_t));
    if (status == TT_OK && !(slices = tt_new_array(1, &words, NPY_UINT64))) return NULL;
    if (status == TT_OK) status = tt_slice_sparse(&w, PyArray_DATA(slices));
    if (status == TT_OK) return (PyObject *)slices;
    tt_raise("slice_sparse", status);
    Py_XDECREF(slices);
    return NULL;
}

static PyObject *unslice_sparse(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_sparse_matrix w = {0};
    if (tt_args_begin(&args, "unslice_sparse", values, count, 3) < 0 || next_slices(&args, &w) < 0) return NULL;
    npy_intp elements = (npy_intp)tt_sparse_slices_elements(w.slices), rows = (npy_intp)w.m + 1;
    PyArrayObject *elements_of = tt_new_array(2, (npy_intp[]){elements, 1}, NPY_FLOAT32);
    PyArrayObject *indices = tt_new_array(1, &elements, NPY_INT32);
    PyArrayObject *row_pointers = tt_new_array(1, &rows, NPY_INT32);
    PyObject *result = NULL;
    if (elements_of && indices && row_pointers) {
        tt_unslice_sparse(w.slices, TT_F32(elements_of), PyArray_DATA(indices), PyArray_DATA(row_pointers));
        result = PyTuple_Pack(3, elements_of, indices, row_pointers);
    }
    Py_XDECREF(elements_of);
    Py_XDECREF(indices);
    Py_XDECREF(row_pointers);
    return result;
}

/* ---- its products ---- */

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
    if (tt_args_begin(&args, "sparse_matmul", values, count, 3) < 0 || tt_next_sparse(&args, &w) < 0 ||
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
    if (tt_args_begin(&args, "sparse_linear", values, count, 5) < 0 || tt_next_sparse(&args, &w) < 0 ||
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
    TT_FASTCALL(slice_sparse),
    TT_FASTCALL(unslice_sparse),
    TT_FASTCALL(sparse_matmul),
    TT_FASTCALL(sparse_linear),
    {NULL, NULL, 0, NULL},
};

int tt_register_sparse(PyObject *module) { return PyModule_AddFunctions(module, methods); }
