#include "python/args.h"

/* The array itself when the kernels can take it as it is, otherwise a converted copy. */
static PyObject *as_float32(PyObject *module, PyObject *value)
{
    (void)module;
    if (PyArray_Check(value)) {
        PyArrayObject *array = (PyArrayObject *)value;
        if (PyArray_TYPE(array) == NPY_FLOAT32 && PyArray_ISCARRAY_RO(array)) return Py_NewRef(value);
    }
    PyArrayObject *array = (PyArrayObject *)PyArray_FROM_O(value);
    if (!array) return NULL;
    PyObject *result = NULL;
    if (PyArray_ISBOOL(array) || PyArray_ISINTEGER(array) || PyArray_ISFLOAT(array)) {
        result = (PyObject *)tt_new_array(PyArray_NDIM(array), PyArray_DIMS(array), NPY_FLOAT32);
        if (result && PyArray_CopyInto((PyArrayObject *)result, array) < 0) Py_CLEAR(result);
    } else {
        PyErr_Format(PyExc_TypeError, "the kernels compute in float32: an array of dtype %S has no real numbers",
                     (PyObject *)PyArray_DESCR(array));
    }
    Py_DECREF(array);
    return result;
}

static PyObject *level(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return PyUnicode_FromString(tt_level_name());
}

static PyObject *levels(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    PyObject *list = PyList_New(0);
    const char *name;
    for (int i = 0; list && (name = tt_available_level(i)); i++) {
        PyObject *string = PyUnicode_FromString(name);
        if (!string || PyList_Append(list, string) < 0) Py_CLEAR(list);
        Py_XDECREF(string);
    }
    return list;
}

static PyObject *set_num_threads(PyObject *module, PyObject *value)
{
    (void)module;
    long count = PyLong_AsLong(value);
    if (count == -1 && PyErr_Occurred()) return NULL;
    if (count < 1) {
        PyErr_Format(PyExc_ValueError, "set_num_threads: %ld threads cannot work, at least 1 is needed", count);
        return NULL;
    }
    tt_set_num_threads(count > 4096 ? 4096 : (int)count);
    Py_RETURN_NONE;
}

static PyObject *get_num_threads(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return PyLong_FromLong(tt_get_num_threads());
}

static PyObject *run_fma(PyObject *module, PyObject *value)
{
    (void)module;
    Py_ssize_t iterations = PyNumber_AsSsize_t(value, PyExc_OverflowError);
    if (iterations == -1 && PyErr_Occurred()) return NULL;
    if (iterations < 0) {
        PyErr_SetString(PyExc_ValueError, "run_fma: iterations must not be negative");
        return NULL;
    }
    double operations;
    Py_BEGIN_ALLOW_THREADS
    operations = tt_run_fma((size_t)iterations);
    Py_END_ALLOW_THREADS
    return PyFloat_FromDouble(operations);
}

static PyObject *run_read(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    size_t passes;
    PyArrayObject *x;
    if (tt_args_begin(&args, "run_read", values, count, 2) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 0, -1)) || tt_next_size(&args, "passes", 0, &passes) < 0)
        return NULL;
    float sum;
    Py_BEGIN_ALLOW_THREADS
    sum = tt_run_read(TT_F32(x), (size_t)PyArray_SIZE(x), passes);
    Py_END_ALLOW_THREADS
    return PyFloat_FromDouble(sum);
}

static PyMethodDef methods[] = {
    {"as_float32", as_float32, METH_O, "The array itself when it is float32 and C-contiguous, else such a copy."},
    {"level", level, METH_NOARGS, "The CPU level in use."},
    {"levels", levels, METH_NOARGS, "The CPU levels that were built and that this machine has, best first."},
    {"set_num_threads", set_num_threads, METH_O, NULL},
    {"get_num_threads", get_num_threads, METH_NOARGS, NULL},
    {"run_fma", run_fma, METH_O, "Multiply-adds in registers; returns the floating-point operations done."},
    TT_FASTCALL(run_read),
    {NULL, NULL, 0, NULL},
};

int tt_register_runtime(PyObject *module) { return PyModule_AddFunctions(module, methods); }
