#include "python/args.h"

static size_t last_dim(PyArrayObject *x) { return TT_DIM(x, PyArray_NDIM(x) - 1); }

static PyArrayObject *new_vector(size_t n)
{
    npy_intp dims = (npy_intp)n;
    return tt_new_array(1, &dims, NPY_FLOAT32);
}

/* The next argument: one value for each element of x's last axis, or None. */
static int next_feature_vector(tt_args *args, const char *name, PyArrayObject *x, PyArrayObject **vector)
{
    if (tt_next_optional(args, name, NPY_FLOAT32, 1, 1, vector) < 0) return -1;
    return *vector ? tt_expect_size(args, name, "elements", TT_DIM(*vector, 0), last_dim(x)) : 0;
}

/* The last argument: where to write, which may be x or dy but shares nothing with the vectors (NULL: none). */
static PyArrayObject *next_output(tt_args *args, PyArrayObject *x, PyArrayObject *dy, PyArrayObject *weight,
                                  PyArrayObject *bias)
{
    PyArrayObject *out = tt_next_output_like(args, x, dy);
    if (!out || ((!weight || tt_expect_apart(args, out, weight) == 0) &&
                 (!bias || tt_expect_apart(args, out, bias) == 0)))
        return out;
    Py_DECREF(out);
    return NULL;
}

/* ---- layer norm and RMS norm ---- */

static PyObject *layer_norm(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *weight, *bias, *y;
    double eps;
    if (tt_args_begin(&args, "layer_norm", values, count, 5) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 1, -1)) ||
        next_feature_vector(&args, "weight", x, &weight) < 0 || next_feature_vector(&args, "bias", x, &bias) < 0 ||
        tt_next_double(&args, "eps", &eps) < 0 || !(y = next_output(&args, x, NULL, weight, bias)))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_layer_norm_f32(tt_rows_of_array(x), last_dim(x), TT_F32(x), TT_F32_OR_NULL(weight), TT_F32_OR_NULL(bias),
                      (float)eps, TT_F32(y));
    Py_END_ALLOW_THREADS
    return (PyObject *)y;
}

static PyObject *rms_norm(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *weight, *y;
    double eps;
    if (tt_args_begin(&args, "rms_norm", values, count, 4) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 1, -1)) ||
        next_feature_vector(&args, "weight", x, &weight) < 0 || tt_next_double(&args, "eps", &eps) < 0 ||
        !(y = next_output(&args, x, NULL, weight, NULL)))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_rms_norm_f32(tt_rows_of_array(x), last_dim(x), TT_F32(x), TT_F32_OR_NULL(weight), (float)eps, TT_F32(y));
    Py_END_ALLOW_THREADS
    return (PyObject *)y;
}

/* dy, x, weight, eps, out: the arguments of both gradients */
typedef struct {
    PyArrayObject *dy, *x, *weight;
    double eps;
    PyArrayObject *dx, *dweight, *dbias; /* new; those not wanted are NULL */
} row_gradient;

static int begin_row_gradient(const char *function, PyObject *const *values, Py_ssize_t count, int wants_dbias,
                              row_gradient *g)
{
    tt_args args;
    *g = (row_gradient){0};
    if (tt_args_begin(&args, function, values, count, 5) < 0 ||
        !(g->dy = tt_next_array(&args, "dy", NPY_FLOAT32, 1, -1)) ||
        !(g->x = tt_next_array(&args, "x", NPY_FLOAT32, 1, -1)) || tt_expect_like(&args, "dy", g->dy, g->x) < 0 ||
        next_feature_vector(&args, "weight", g->x, &g->weight) < 0 || tt_next_double(&args, "eps", &g->eps) < 0)
        return -1;
    if (!(g->dx = next_output(&args, g->x, g->dy, g->weight, NULL)) || (g->weight && !(g->dweight = new_vector(last_dim(g->x)))) ||
        (wants_dbias && !(g->dbias = new_vector(last_dim(g->x))))) {
        Py_XDECREF(g->dx);
        Py_XDECREF(g->dweight);
        return -1;
    }
    return 0;
}

static PyObject *fail_row_gradient(const char *function, tt_status status, row_gradient *g)
{
    tt_raise(function, status);
    Py_DECREF(g->dx);
    Py_XDECREF(g->dweight);
    Py_XDECREF(g->dbias);
    return NULL;
}

static PyObject *or_none(PyArrayObject *x) { return x ? (PyObject *)x : Py_NewRef(Py_None); }

static PyObject *layer_norm_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    row_gradient g;
    if (begin_row_gradient("layer_norm_backward", values, count, 1, &g) < 0) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_layer_norm_backward_f32(tt_rows_of_array(g.x), last_dim(g.x), TT_F32(g.dy), TT_F32(g.x),
                                        TT_F32_OR_NULL(g.weight), (float)g.eps, TT_F32(g.dx),
                                        TT_F32_OR_NULL(g.dweight), TT_F32(g.dbias));
    Py_END_ALLOW_THREADS
    if (status != TT_OK) return fail_row_gradient("layer_norm_backward", status, &g);
    return Py_BuildValue("NNN", g.dx, or_none(g.dweight), g.dbias);
}

static PyObject *rms_norm_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    row_gradient g;
    if (begin_row_gradient("rms_norm_backward", values, count, 0, &g) < 0) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_rms_norm_backward_f32(tt_rows_of_array(g.x), last_dim(g.x), TT_F32(g.dy), TT_F32(g.x),
                                      TT_F32_OR_NULL(g.weight), (float)g.eps, TT_F32(g.dx),
                                      TT_F32_OR_NULL(g.dweight));
    Py_END_ALLOW_THREADS
    if (status != TT_OK) return fail_row_gradient("rms_norm_backward", status, &g);
    return Py_BuildValue("NN", g.dx, or_none(g.dweight));
}

/* ---- batch norm ---- */

/* The next argument: one value for each channel of x (N, C, H, W). */
static PyArrayObject *next_channel_vector(tt_args *args, const char *name, PyArrayObject *x)
{
    PyArrayObject *vector = tt_next_array(args, name, NPY_FLOAT32, 1, 1);
    if (!vector || tt_expect_size(args, name, "elements", TT_DIM(vector, 0), TT_DIM(x, 1)) < 0) return NULL;
    return vector;
}

static int check_count(const tt_args *args, const tt_batch_norm2d *norm)
{
    if (!norm->training || norm->batch * norm->pixels >= 2) return 0;
    PyErr_Format(PyExc_ValueError, "%s: x has %zu value(s) for each channel; training needs at least two",
                 args->function, norm->batch * norm->pixels);
    return -1;
}

static int check_writable(const tt_args *args, const char *name, PyArrayObject *x)
{
    if (PyArray_ISWRITEABLE(x)) return 0;
    PyErr_Format(PyExc_ValueError, "%s: %s is read-only, and training updates it in place", args->function, name);
    return -1;
}

static PyObject *batch_norm2d(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *weight, *bias, *mean, *var, *y;
    tt_batch_norm2d norm = {0};
    if (tt_args_begin(&args, "batch_norm2d", values, count, 9) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 4, 4)) ||
        !(weight = next_channel_vector(&args, "weight", x)) || !(bias = next_channel_vector(&args, "bias", x)) ||
        !(mean = next_channel_vector(&args, "running_mean", x)) ||
        !(var = next_channel_vector(&args, "running_var", x)) ||
        tt_next_bool(&args, "training", &norm.training) < 0 ||
        tt_next_double(&args, "momentum", &norm.momentum) < 0 || tt_next_double(&args, "eps", &norm.eps) < 0)
        return NULL;
    norm.batch = TT_DIM(x, 0);
    norm.channels = TT_DIM(x, 1);
    norm.pixels = TT_DIM(x, 2) * TT_DIM(x, 3);
    norm.weight = TT_F32(weight);
    norm.bias = TT_F32(bias);
    norm.running_mean = TT_F32(mean);
    norm.running_var = TT_F32(var);
    if (check_count(&args, &norm) < 0 ||
        (norm.training && (check_writable(&args, "running_mean", mean) < 0 ||
                           check_writable(&args, "running_var", var) < 0)) ||
        !(y = next_output(&args, x, NULL, weight, bias)))
        return NULL;
    if (tt_expect_apart(&args, y, mean) < 0 || tt_expect_apart(&args, y, var) < 0) {
        Py_DECREF(y);
        return NULL;
    }
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_batch_norm2d_f32(&norm, TT_F32(x), TT_F32(y));
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return (PyObject *)y;
    tt_raise("batch_norm2d", status);
    Py_DECREF(y);
    return NULL;
}

static PyObject *batch_norm2d_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *dy, *x, *weight, *mean, *var, *dx, *dweight, *dbias;
    tt_batch_norm2d norm = {0};
    if (tt_args_begin(&args, "batch_norm2d_backward", values, count, 8) < 0 ||
        !(dy = tt_next_array(&args, "dy", NPY_FLOAT32, 4, 4)) ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 4, 4)) || tt_expect_like(&args, "dy", dy, x) < 0 ||
        !(weight = next_channel_vector(&args, "weight", x)) ||
        !(mean = next_channel_vector(&args, "running_mean", x)) ||
        !(var = next_channel_vector(&args, "running_var", x)) ||
        tt_next_bool(&args, "training", &norm.training) < 0 || tt_next_double(&args, "eps", &norm.eps) < 0)
        return NULL;
    norm.batch = TT_DIM(x, 0);
    norm.channels = TT_DIM(x, 1);
    norm.pixels = TT_DIM(x, 2) * TT_DIM(x, 3);
    norm.weight = TT_F32(weight);
    norm.running_mean = TT_F32(mean);
    norm.running_var = TT_F32(var);
    if (check_count(&args, &norm) < 0) return NULL;
    if (!(dx = next_output(&args, x, dy, weight, NULL))) return NULL;
    dweight = new_vector(norm.channels);
    dbias = new_vector(norm.channels);
    if (!dweight || !dbias || tt_expect_apart(&args, dx, mean) < 0 || tt_expect_apart(&args, dx, var) < 0) {
        Py_DECREF(dx);
        Py_XDECREF(dweight);
        Py_XDECREF(dbias);
        return NULL;
    }
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_batch_norm2d_backward_f32(&norm, TT_F32(dy), TT_F32(x), TT_F32(dx), TT_F32(dweight), TT_F32(dbias));
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return Py_BuildValue("NNN", dx, dweight, dbias);
    tt_raise("batch_norm2d_backward", status);
    Py_DECREF(dx);
    Py_DECREF(dweight);
    Py_DECREF(dbias);
    return NULL;
}

static PyMethodDef methods[] = {
    TT_FASTCALL(layer_norm),   TT_FASTCALL(layer_norm_backward),
    TT_FASTCALL(rms_norm),     TT_FASTCALL(rms_norm_backward),
    TT_FASTCALL(batch_norm2d), TT_FASTCALL(batch_norm2d_backward),
    {NULL, NULL, 0, NULL},
};

int tt_register_norm(PyObject *module) { return PyModule_AddFunctions(module, methods); }
