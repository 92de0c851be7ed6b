#include "lessons/lessons.h"
#include "python/window.h"

/* {ladder: ((name, description, flags, source, block rows), ...)} */
static PyObject *lesson_ladders(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    PyObject *ladders = PyDict_New();
    for (int ladder = 0; ladders && ladder < TT_LADDERS; ladder++) {
        PyObject *steps = PyTuple_New(tt_ladder_steps(ladder));
        for (int i = 0; steps && i < tt_ladder_steps(ladder); i++) {
            tt_lesson step = tt_ladder_step(ladder, i);
            PyObject *entry = Py_BuildValue("(ssssi)", step.name, step.description, step.flags, step.source,
                                            step.block_rows);
            if (entry)
                PyTuple_SET_ITEM(steps, i, entry);
            else
                Py_CLEAR(steps);
        }
        if (!steps || PyDict_SetItemString(ladders, tt_ladder_name(ladder), steps) < 0) Py_CLEAR(ladders);
        Py_XDECREF(steps);
    }
    return ladders;
}

/* ---- what the steps of all ladders share ---- */

/* Begins a call whose first argument is the number of a step of the ladder. */
static int begin(tt_args *args, const char *function, PyObject *const *values, Py_ssize_t count, Py_ssize_t expected,
                 tt_ladder ladder, tt_lesson *step)
{
    int number;
    if (tt_args_begin(args, function, values, count, expected) < 0 ||
        tt_next_int(args, "step", 0, tt_ladder_steps(ladder) - 1, &number) < 0)
        return -1;
    *step = tt_ladder_step(ladder, number);
    return 0;
}

/* A new reference to `out`, or a fresh array where there is none; it shares no memory with x1, x2 and x3 (or NULL). */
static PyArrayObject *output(const tt_args *args, PyArrayObject *out, int type, int ndim, const npy_intp *dims,
                             PyArrayObject *x1, PyArrayObject *x2, PyArrayObject *x3)
{
    PyArrayObject *y = out ? tt_output_array(args, out, ndim, dims) : tt_new_array(ndim, dims, type);
    if (!y || (tt_expect_apart(args, y, x1) == 0 && (!x2 || tt_expect_apart(args, y, x2) == 0) &&
               (!x3 || tt_expect_apart(args, y, x3) == 0)))
        return y;
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

/* ---- the ladders ---- */

/* The next three arguments, a (m, k), b (k, n) and out (m, n); then `c`, a new reference. */
static PyArrayObject *next_matrices(tt_args *args, int a_type, int b_type, int c_type, PyArrayObject **a,
                                    PyArrayObject **b)
{
    PyArrayObject *out;
    if (!(*a = tt_next_array(args, "a", a_type, 2, 2)) || !(*b = tt_next_array(args, "b", b_type, 2, 2)) ||
        tt_expect_size(args, "b", "rows", TT_DIM(*b, 0), TT_DIM(*a, 1)) < 0 ||
        tt_next_optional(args, "out", c_type, 2, 2, &out) < 0)
        return NULL;
    npy_intp dims[2] = {PyArray_DIM(*a, 0), PyArray_DIM(*b, 1)};
    return output(args, out, c_type, 2, dims, *a, *b, NULL);
}

static PyObject *lesson_matmul(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_lesson step;
    PyArrayObject *a, *b, *c;
    if (begin(&args, "lesson_matmul", values, count, 4, TT_MATMUL_LADDER, &step) < 0 ||
        !(c = next_matrices(&args, NPY_FLOAT32, NPY_FLOAT32, NPY_FLOAT32, &a, &b)))
        return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = step.matmul(TT_DIM(a, 0), TT_DIM(b, 1), TT_DIM(a, 1), TT_F32(a), TT_F32(b), TT_F32(c));
    Py_END_ALLOW_THREADS
    return finish(&args, c, status);
}

static PyObject *lesson_matmul_int8(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_lesson step;
    PyArrayObject *a, *b, *c;
    if (begin(&args, "lesson_matmul_int8", values, count, 4, TT_MATMUL_INT8_LADDER, &step) < 0 ||
        !(c = next_matrices(&args, NPY_UINT8, NPY_INT8, NPY_INT32, &a, &b)))
        return NULL;
    size_t k = TT_DIM(a, 1);
    if (k > TT_MOST_PRODUCTS) {
        Py_DECREF(c);
        return PyErr_Format(PyExc_ValueError, "%s: sums of %zu products could overflow int32; at most %d",
                            args.function, k, (int)TT_MOST_PRODUCTS);
    }
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = step.matmul_int8(TT_DIM(a, 0), TT_DIM(b, 1), k, PyArray_DATA(a), PyArray_DATA(b), PyArray_DATA(c));
    Py_END_ALLOW_THREADS
    return finish(&args, c, status);
}

/* The next arguments: w (m, k) for a step that knows no compression, else the six parts of compressed rows. */
static int next_weights(tt_args *args, const tt_lesson *step, tt_sparse_matrix *w)
{
    if (step->block_rows == 0) {
        PyArrayObject *dense = tt_next_array(args, "w", NPY_FLOAT32, 2, 2);
        if (!dense) return -1;
        *w = (tt_sparse_matrix){.m = TT_DIM(dense, 0), .k = TT_DIM(dense, 1), .values = TT_F32(dense)};
        return 0;
    }
    if (tt_next_sparse_blocks(args, w) < 0) return -1;
    if (w->r == (size_t)step->block_rows) return 0;
    PyErr_Format(PyExc_ValueError, "%s: this step takes blocks of %d rows, and w has blocks of %zu", args->function,
                 step->block_rows, w->r);
    return -1;
}

/* step, then w or its six parts, then x and out. */
static PyObject *lesson_sparse_matmul(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_lesson step;
    tt_sparse_matrix w;
    PyArrayObject *x, *out;
    if (begin(&args, "lesson_sparse_matmul", values, count, count == 4 ? 4 : 9, TT_SPARSE_MATMUL_LADDER, &step) < 0)
        return NULL;
    if ((step.block_rows == 0) != (count == 4))
        return PyErr_Format(PyExc_TypeError, "lesson_sparse_matmul: this step takes a %s matrix",
                            step.block_rows ? "compressed" : "dense");
    if (next_weights(&args, &step, &w) < 0 || !(x = tt_next_array(&args, "x", NPY_FLOAT32, 2, 2)) ||
        tt_expect_size(&args, "x", "rows", TT_DIM(x, 0), w.k) < 0 ||
        tt_next_optional(&args, "out", NPY_FLOAT32, 2, 2, &out) < 0)
        return NULL;
    npy_intp dims[2] = {(npy_intp)w.m, PyArray_DIM(x, 1)};
    PyArrayObject *dense = step.block_rows == 0 ? (PyArrayObject *)values[1] : NULL;
    PyArrayObject *c = output(&args, out, NPY_FLOAT32, 2, dims, x, dense, NULL);
    if (!c) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = step.sparse_matmul(&w, TT_DIM(x, 1), TT_F32(x), TT_F32(c));
    Py_END_ALLOW_THREADS
    return finish(&args, c, status);
}

static PyObject *lesson_conv2d(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_lesson step;
    tt_conv2d_shape shape;
    PyArrayObject *x, *w, *out;
    if (begin(&args, "lesson_conv2d", values, count, 8, TT_CONV2D_LADDER, &step) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 4, 4)) || !(w = tt_next_array(&args, "w", NPY_FLOAT32, 4, 4)) ||
        tt_next_size(&args, "stride_h", 1, &shape.stride_h) < 0 ||
        tt_next_size(&args, "stride_w", 1, &shape.stride_w) < 0 ||
        tt_next_size(&args, "padding_h", 0, &shape.pad_h) < 0 ||
        tt_next_size(&args, "padding_w", 0, &shape.pad_w) < 0 ||
        tt_next_optional(&args, "out", NPY_FLOAT32, 4, 4, &out) < 0)
        return NULL;
    shape.dilation_h = shape.dilation_w = shape.groups = 1;
    if (tt_complete_shape(&args, &shape, x, TT_DIM(w, 0), TT_DIM(w, 1), TT_DIM(w, 2), TT_DIM(w, 3)) < 0) return NULL;
    npy_intp dims[4] = {(npy_intp)shape.batch, (npy_intp)shape.outputs, (npy_intp)shape.out_h, (npy_intp)shape.out_w};
    PyArrayObject *y = output(&args, out, NPY_FLOAT32, 4, dims, x, w, NULL);
    if (!y) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = step.conv2d(&shape, TT_F32(x), TT_F32(w), TT_F32(y));
    Py_END_ALLOW_THREADS
    return finish(&args, y, status);
}

static PyObject *lesson_attention(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_lesson step;
    PyArrayObject *q, *k, *v, *out;
    tt_attention_heads x;
    if (begin(&args, "lesson_attention", values, count, 6, TT_ATTENTION_LADDER, &step) < 0 ||
        !(q = tt_next_array(&args, "q", NPY_FLOAT32, 3, 3)) || !(k = tt_next_array(&args, "k", NPY_FLOAT32, 3, 3)) ||
        !(v = tt_next_array(&args, "v", NPY_FLOAT32, 3, 3)) || tt_next_bool(&args, "causal", &x.causal) < 0 ||
        tt_next_optional(&args, "out", NPY_FLOAT32, 3, 3, &out) < 0 ||
        tt_expect_shape(&args, "k", k, 3, (size_t[]){TT_DIM(q, 0), TT_DIM(k, 1), TT_DIM(q, 2)}) < 0 ||
        tt_expect_like(&args, "v", v, k) < 0)
        return NULL;
    x.heads = TT_DIM(q, 0), x.t = TT_DIM(q, 1), x.s = TT_DIM(k, 1), x.d = TT_DIM(q, 2);
    x.q = TT_F32(q), x.k = TT_F32(k), x.v = TT_F32(v);
    PyArrayObject *y = output(&args, out, NPY_FLOAT32, 3, PyArray_DIMS(q), q, k, v);
    if (!y) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = step.attention(&x, TT_F32(y));
    Py_END_ALLOW_THREADS
    return finish(&args, y, status);
}

static PyMethodDef methods[] = {
    {"lesson_ladders", lesson_ladders, METH_NOARGS,
     "For each ladder its steps: (name, description, flags, source, block rows)."},
    TT_FASTCALL(lesson_matmul),
    TT_FASTCALL(lesson_matmul_int8),
    TT_FASTCALL(lesson_sparse_matmul),
    TT_FASTCALL(lesson_conv2d),
    TT_FASTCALL(lesson_attention),
    {NULL, NULL, 0, NULL},
};

int tt_register_lessons(PyObject *module) { return PyModule_AddFunctions(module, methods); }
