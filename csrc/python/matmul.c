#include "python/args.h"

/* One operand of matmul: (rows, columns) or (batch, rows, columns), as it is stored or transposed. */
typedef struct {
    size_t batch, rows, columns, step;
    tt_matrix matrix;
} operand;

static operand read_operand(PyArrayObject *x, int transposed)
{
    int last = PyArray_NDIM(x) - 1;
    size_t stored_rows = TT_DIM(x, last - 1), stored_columns = TT_DIM(x, last);
    operand result = {.batch = last == 2 ? TT_DIM(x, 0) : 1, .rows = stored_rows, .columns = stored_columns};
    result.step = result.batch == 1 ? 0 : stored_rows * stored_columns;
    result.matrix = (tt_matrix){TT_F32(x), stored_columns, 1};
    if (transposed) {
        result.rows = stored_columns;
        result.columns = stored_rows;
        result.matrix.row_stride = 1;
        result.matrix.column_stride = stored_columns;
    }
    return result;
}

static int raise_mismatch(PyArrayObject *a, PyArrayObject *b, int transpose_a, int transpose_b)
{
    PyObject *a_shape = PyArray_IntTupleFromIntp(PyArray_NDIM(a), PyArray_DIMS(a));
    PyObject *b_shape = PyArray_IntTupleFromIntp(PyArray_NDIM(b), PyArray_DIMS(b));
    if (a_shape && b_shape)
        PyErr_Format(PyExc_ValueError, "matmul: a%s %S and b%s %S do not fit: a's columns must equal b's rows, "
                     "and their batches must be equal or 1", transpose_a ? " (transposed)" : "", a_shape,
                     transpose_b ? " (transposed)" : "", b_shape);
    Py_XDECREF(a_shape);
    Py_XDECREF(b_shape);
    return -1;
}

static PyObject *matmul(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *a, *b, *out;
    int transpose_a, transpose_b;
    if (tt_args_begin(&args, "matmul", values, count, 5) < 0 ||
        !(a = tt_next_array(&args, "a", NPY_FLOAT32, 2, 3)) ||
        !(b = tt_next_array(&args, "b", NPY_FLOAT32, 2, 3)) ||
        tt_next_bool(&args, "transpose_a", &transpose_a) < 0 ||
        tt_next_bool(&args, "transpose_b", &transpose_b) < 0 ||
        tt_next_optional(&args, "out", NPY_FLOAT32, 2, 3, &out) < 0)
        return NULL;
    operand left = read_operand(a, transpose_a), right = read_operand(b, transpose_b);
    if (PyArray_NDIM(a) != PyArray_NDIM(b) || left.columns != right.rows ||
        (left.batch != right.batch && left.batch != 1 && right.batch != 1)) {
        raise_mismatch(a, b, transpose_a, transpose_b);
        return NULL;
    }
    size_t batch = left.batch == 1 ? right.batch : left.batch;
    npy_intp dims[3] = {(npy_intp)batch, (npy_intp)left.rows, (npy_intp)right.columns};
    int ndim = PyArray_NDIM(a);
    PyArrayObject *c = tt_output_array(&args, out, ndim, dims + 3 - ndim);
    if (!c) return NULL;
    if (tt_expect_apart(&args, c, a) < 0 || tt_expect_apart(&args, c, b) < 0) {
        Py_DECREF(c);
        return NULL;
    }
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_matmul_f32(batch, left.rows, right.columns, left.columns, left.matrix, left.step, right.matrix,
                           right.step, TT_F32(c));
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return (PyObject *)c;
    tt_raise("matmul", status);
    Py_DECREF(c);
    return NULL;
}

/* x (..., k) @ w (k, n), plain or packed, with bias and activation; `out` may be NULL. */
static PyObject *apply_linear(const tt_args *args, PyArrayObject *x, tt_matrix w, const float *packed, size_t k,
                              size_t n, PyArrayObject *bias, int activation, PyArrayObject *out)
{
    int last = PyArray_NDIM(x) - 1;
    if (tt_expect_size(args, "x", "features on its last axis", TT_DIM(x, last), k) < 0) return NULL;
    if (bias && tt_expect_size(args, "bias", "elements", TT_DIM(bias, 0), n) < 0) return NULL;
    npy_intp dims[NPY_MAXDIMS];
    size_t m = 1;
    for (int i = 0; i < last; i++) m *= (size_t)(dims[i] = PyArray_DIM(x, i));
    dims[last] = (npy_intp)n;
    PyArrayObject *y = tt_output_array(args, out, last + 1, dims);
    if (!y) return NULL;
    if (tt_expect_apart(args, y, x) < 0) {
        Py_DECREF(y);
        return NULL;
    }
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_linear_f32(m, n, k, TT_F32(x), w, packed, TT_F32_OR_NULL(bias), (tt_activation)activation,
                           TT_F32(y));
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return (PyObject *)y;
    tt_raise(args->function, status);
    Py_DECREF(y);
    return NULL;
}

static PyObject *linear(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *w, *bias;
    int activation;
    if (tt_args_begin(&args, "linear", values, count, 4) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 1, -1)) ||
        !(w = tt_next_array(&args, "w", NPY_FLOAT32, 2, 2)) ||
        tt_next_optional(&args, "bias", NPY_FLOAT32, 1, 1, &bias) < 0 ||
        tt_next_int(&args, "activation", TT_NONE, TT_GELU, &activation) < 0)
        return NULL;
    size_t k = TT_DIM(w, 0), n = TT_DIM(w, 1);
    return apply_linear(&args, x, (tt_matrix){TT_F32(w), n, 1}, NULL, k, n, bias, activation, NULL);
}

static PyObject *pack_matmul(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *w;
    if (tt_args_begin(&args, "pack_matmul", values, count, 1) < 0 ||
        !(w = tt_next_array(&args, "w", NPY_FLOAT32, 2, 2)))
        return NULL;
    size_t k = TT_DIM(w, 0), n = TT_DIM(w, 1);
    npy_intp bytes = (npy_intp)(tt_packed_size_f32(k, n) * sizeof(float));
    PyArrayObject *packed = tt_new_array(1, &bytes, NPY_UINT8);
    if (!packed) return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_pack_f32(k, n, (tt_matrix){TT_F32(w), n, 1}, TT_F32(packed));
    Py_END_ALLOW_THREADS
    return (PyObject *)packed;
}

/* The next three arguments: packed, k, n. */
static PyArrayObject *next_packed(tt_args *args, size_t *k, size_t *n)
{
    PyArrayObject *packed = tt_next_array(args, "packed", NPY_UINT8, 1, 1);
    if (!packed || tt_next_size(args, "k", 0, k) < 0 || tt_next_size(args, "n", 0, n) < 0) return NULL;
    size_t bytes = tt_packed_size_f32(*k, *n) * sizeof(float);
    return tt_expect_size(args, "packed", "bytes", (size_t)PyArray_SIZE(packed), bytes) < 0 ? NULL : packed;
}

static PyObject *unpack_matmul(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    size_t k, n;
    PyArrayObject *packed;
    if (tt_args_begin(&args, "unpack_matmul", values, count, 3) < 0 || !(packed = next_packed(&args, &k, &n)))
        return NULL;
    npy_intp dims[2] = {(npy_intp)k, (npy_intp)n};
    PyArrayObject *w = tt_new_array(2, dims, NPY_FLOAT32);
    if (!w) return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_unpack_f32(k, n, TT_F32(packed), TT_F32(w));
    Py_END_ALLOW_THREADS
    return (PyObject *)w;
}

static PyObject *matmul_packed(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *a, *packed, *out;
    size_t k, n;
    if (tt_args_begin(&args, "matmul_packed", values, count, 5) < 0 ||
        !(a = tt_next_array(&args, "a", NPY_FLOAT32, 1, -1)) || !(packed = next_packed(&args, &k, &n)) ||
        tt_next_optional(&args, "out", NPY_FLOAT32, 1, -1, &out) < 0)
        return NULL;
    return apply_linear(&args, a, (tt_matrix){0}, TT_F32(packed), k, n, NULL, TT_NONE, out);
}

static PyObject *linear_packed(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *packed, *bias;
    size_t k, n;
    int activation;
    if (tt_args_begin(&args, "linear_packed", values, count, 6) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 1, -1)) || !(packed = next_packed(&args, &k, &n)) ||
        tt_next_optional(&args, "bias", NPY_FLOAT32, 1, 1, &bias) < 0 ||
        tt_next_int(&args, "activation", TT_NONE, TT_GELU, &activation) < 0)
        return NULL;
    return apply_linear(&args, x, (tt_matrix){0}, TT_F32(packed), k, n, bias, activation, NULL);
}

static PyMethodDef methods[] = {
    TT_FASTCALL(matmul),
    TT_FASTCALL(linear),
    TT_FASTCALL(pack_matmul),
    TT_FASTCALL(unpack_matmul),
    TT_FASTCALL(matmul_packed),
    TT_FASTCALL(linear_packed),
    {NULL, NULL, 0, NULL},
};

int tt_register_matmul(PyObject *module) { return PyModule_AddFunctions(module, methods); }
