#include "python/args.h"

#include <stdio.h>

int tt_args_begin(tt_args *args, const char *function, PyObject *const *values, Py_ssize_t count,
                  Py_ssize_t expected)
{
    *args = (tt_args){function, values, count, 0};
    if (count == expected) return 0;
    PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, got %zd", function, expected, count);
    return -1;
}

static int check_array(const tt_args *args, const char *name, PyObject *value, int type, int min_ndim,
                       int max_ndim)
{
    if (!PyArray_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s: %s must be a NumPy array, got %s", args->function, name,
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    PyArrayObject *array = (PyArrayObject *)value;
    if (PyArray_TYPE(array) != type) {
        PyArray_Descr *wanted = PyArray_DescrFromType(type);
        PyErr_Format(PyExc_TypeError, "%s: %s must be an array of %S, got %S", args->function, name,
                     (PyObject *)wanted, (PyObject *)PyArray_DESCR(array));
        Py_XDECREF(wanted);
        return -1;
    }
    if (!PyArray_ISCARRAY_RO(array)) {
        /* Cheap to raise: a transposed view is common, and the door tries it here before it rearranges it. */
        PyErr_Format(PyExc_TypeError, "%s: %s must be C-contiguous and aligned", args->function, name);
        return -1;
    }
    int ndim = PyArray_NDIM(array);
    if (ndim < min_ndim || (max_ndim >= 0 && ndim > max_ndim)) {
        PyErr_Format(PyExc_ValueError, "%s: %s has %d dimensions, expected %s%d", args->function, name, ndim,
                     max_ndim == min_ndim ? "" : ndim < min_ndim ? "at least " : "at most ",
                     ndim < min_ndim ? min_ndim : max_ndim);
        return -1;
    }
    return 0;
}

PyArrayObject *tt_next_array(tt_args *args, const char *name, int type, int min_ndim, int max_ndim)
{
    PyObject *value = args->values[args->next++];
    if (check_array(args, name, value, type, min_ndim, max_ndim) < 0) return NULL;
    return (PyArrayObject *)value;
}

int tt_next_optional(tt_args *args, const char *name, int type, int min_ndim, int max_ndim,
                     PyArrayObject **array)
{
    *array = NULL;
    if (args->values[args->next] == Py_None) {
        args->next++;
        return 0;
    }
    *array = tt_next_array(args, name, type, min_ndim, max_ndim);
    return *array ? 0 : -1;
}

int tt_next_size(tt_args *args, const char *name, Py_ssize_t least, size_t *value)
{
    Py_ssize_t number = PyNumber_AsSsize_t(args->values[args->next++], PyExc_OverflowError);
    if (number == -1 && PyErr_Occurred()) return -1;
    if (number < least) {
        PyErr_Format(PyExc_ValueError, "%s: %s is %zd, must be at least %zd", args->function, name, number, least);
        return -1;
    }
    *value = (size_t)number;
    return 0;
}

int tt_next_int(tt_args *args, const char *name, long least, long most, int *value)
{
    long number = PyLong_AsLong(args->values[args->next++]);
    if (number == -1 && PyErr_Occurred()) return -1;
    if (number < least || number > most) {
        PyErr_Format(PyExc_ValueError, "%s: %s is %ld, must be in [%ld, %ld]", args->function, name, number,
                     least, most);
        return -1;
    }
    *value = (int)number;
    return 0;
}

int tt_next_double(tt_args *args, const char *name, double *value)
{
    *value = PyFloat_AsDouble(args->values[args->next++]);
    if (*value == -1.0 && PyErr_Occurred()) {
        PyErr_Format(PyExc_TypeError, "%s: %s must be a number", args->function, name);
        return -1;
    }
    return 0;
}

int tt_next_bool(tt_args *args, const char *name, int *value)
{
    (void)name;
    *value = PyObject_IsTrue(args->values[args->next++]);
    return *value < 0 ? -1 : 0;
}

int tt_expect_shape(const tt_args *args, const char *name, PyArrayObject *x, int ndim, const size_t *dims)
{
    int same = PyArray_NDIM(x) == ndim;
    for (int i = 0; same && i < ndim; i++) same = TT_DIM(x, i) == dims[i];
    if (same) return 0;
    PyObject *found = PyArray_IntTupleFromIntp(PyArray_NDIM(x), PyArray_DIMS(x));
    PyObject *expected = PyTuple_New(ndim);
    for (int i = 0; expected && i < ndim; i++) PyTuple_SET_ITEM(expected, i, PyLong_FromSize_t(dims[i]));
    if (found && expected)
        PyErr_Format(PyExc_ValueError, "%s: %s has shape %S, expected %S", args->function, name, found, expected);
    Py_XDECREF(found);
    Py_XDECREF(expected);
    return -1;
}

int tt_expect_size(const tt_args *args, const char *name, const char *what, size_t found, size_t expected)
{
    if (found == expected) return 0;
    PyErr_Format(PyExc_ValueError, "%s: %s has %zu %s, expected %zu", args->function, name, found, what, expected);
    return -1;
}

int tt_expect_like(const tt_args *args, const char *name, PyArrayObject *x, PyArrayObject *other)
{
    size_t dims[NPY_MAXDIMS];
    for (int i = 0; i < PyArray_NDIM(other); i++) dims[i] = TT_DIM(other, i);
    return tt_expect_shape(args, name, x, PyArray_NDIM(other), dims);
}

PyArrayObject *tt_new_like(PyArrayObject *x)
{
    return tt_new_array(PyArray_NDIM(x), PyArray_DIMS(x), PyArray_TYPE(x));
}

size_t tt_rows_of_array(PyArrayObject *x)
{
    size_t rows = 1;
    for (int i = 0; i < PyArray_NDIM(x) - 1; i++) rows *= TT_DIM(x, i);
    return rows;
}

PyArrayObject *tt_output_array(const tt_args *args, PyArrayObject *out, int ndim, const npy_intp *dims)
{
    if (!out) return tt_new_array(ndim, dims, NPY_FLOAT32);
    size_t expected[NPY_MAXDIMS];
    for (int i = 0; i < ndim; i++) expected[i] = (size_t)dims[i];
    if (tt_expect_shape(args, "out", out, ndim, expected) < 0) return NULL;
    if (!PyArray_ISWRITEABLE(out)) {
        PyErr_Format(PyExc_ValueError, "%s: out is read-only", args->function);
        return NULL;
    }
    Py_INCREF(out);
    return out;
}

int tt_expect_apart(const tt_args *args, PyArrayObject *out, PyArrayObject *input)
{
    const char *x = PyArray_BYTES(out), *y = PyArray_BYTES(input);
    if (x >= y + PyArray_NBYTES(input) || y >= x + PyArray_NBYTES(out)) return 0;
    PyErr_Format(PyExc_ValueError, "%s: out shares memory with an input; give it memory of its own", args->function);
    return -1;
}

PyArrayObject *tt_next_output_like(tt_args *args, PyArrayObject *x, PyArrayObject *other)
{
    PyArrayObject *given;
    if (tt_next_optional(args, "out", NPY_FLOAT32, 0, -1, &given) < 0) return NULL;
    PyArrayObject *out = tt_output_array(args, given, PyArray_NDIM(x), PyArray_DIMS(x));
    if (!out || !given) return out;
    if ((PyArray_DATA(out) == PyArray_DATA(x) || tt_expect_apart(args, out, x) == 0) &&
        (!other || PyArray_DATA(out) == PyArray_DATA(other) || tt_expect_apart(args, out, other) == 0))
        return out;
    Py_DECREF(out);
    return NULL;
}

void tt_raise(const char *function, tt_status status)
{
    if (status == TT_OUT_OF_MEMORY)
        PyErr_NoMemory();
    else
        PyErr_Format(PyExc_ValueError, "%s: an argument has a value that the kernel cannot use", function);
}
