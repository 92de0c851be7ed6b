#include "python/args.h"

/* logits, targets, ignore_index, label_smoothing */
static int next_cross_entropy(tt_args *args, PyArrayObject **logits, tt_cross_entropy *entropy)
{
    PyArrayObject *targets;
    int ignore_index;
    if (!(*logits = tt_next_array(args, "logits", NPY_FLOAT32, 2, 2)) ||
        !(targets = tt_next_array(args, "targets", NPY_INT64, 1, 1)) ||
        tt_next_int(args, "ignore_index", INT_MIN, INT_MAX, &ignore_index) < 0 ||
        tt_next_double(args, "label_smoothing", &entropy->label_smoothing) < 0)
        return -1;
    entropy->rows = TT_DIM(*logits, 0);
    entropy->classes = TT_DIM(*logits, 1);
    entropy->logits = TT_F32(*logits);
    entropy->targets = PyArray_DATA(targets);
    entropy->ignore_index = ignore_index;
    if (tt_expect_size(args, "targets", "elements", TT_DIM(targets, 0), entropy->rows) < 0) return -1;
    if (!(entropy->label_smoothing >= 0 && entropy->label_smoothing <= 1)) {
        PyErr_Format(PyExc_ValueError, "%s: label_smoothing must be in [0, 1]", args->function);
        return -1;
    }
    size_t bad = tt_first_bad_target(entropy);
    if (bad == entropy->rows) return 0;
    PyErr_Format(PyExc_ValueError,
                 "%s: targets[%zu] is %lld, but logits have %zu classes (0 to %zd), and ignore_index is %d",
                 args->function, bad, (long long)entropy->targets[bad], entropy->classes,
                 (Py_ssize_t)entropy->classes - 1, ignore_index);
    return -1;
}

static PyObject *cross_entropy(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *logits;
    tt_cross_entropy entropy;
    double loss = 0;
    if (tt_args_begin(&args, "cross_entropy", values, count, 4) < 0 ||
        next_cross_entropy(&args, &logits, &entropy) < 0)
        return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_cross_entropy_f32(&entropy, &loss);
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return PyFloat_FromDouble(loss);
    tt_raise("cross_entropy", status);
    return NULL;
}

static PyObject *cross_entropy_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *logits, *dlogits;
    tt_cross_entropy entropy;
    double dy;
    if (tt_args_begin(&args, "cross_entropy_backward", values, count, 6) < 0 ||
        tt_next_double(&args, "dy", &dy) < 0 || next_cross_entropy(&args, &logits, &entropy) < 0 ||
        !(dlogits = tt_next_output_like(&args, logits, NULL)))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_cross_entropy_backward_f32(&entropy, dy, TT_F32(dlogits));
    Py_END_ALLOW_THREADS
    return (PyObject *)dlogits;
}

static PyMethodDef methods[] = {
    TT_FASTCALL(cross_entropy),
    TT_FASTCALL(cross_entropy_backward),
    {NULL, NULL, 0, NULL},
};

int tt_register_loss(PyObject *module) { return PyModule_AddFunctions(module, methods); }
