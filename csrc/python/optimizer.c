#include "python/args.h"

enum { MOST_LISTS = 4 };

/* The lists of a step, as tuples that keep their arrays alive while the GIL is released. */
typedef struct {
    const char *names[MOST_LISTS];
    PyObject *tuples[MOST_LISTS];
    int lists;
    Py_ssize_t count;
    tt_parameter *parameters;
} step_arrays;

static void release(step_arrays *arrays)
{
    for (int i = 0; i < arrays->lists; i++) Py_XDECREF(arrays->tuples[i]);
    PyMem_Free(arrays->parameters);
}

/* The next argument: a list as long as the first one. */
static int next_list(tt_args *args, const char *name, step_arrays *arrays)
{
    PyObject *value = args->values[args->next++];
    if (!PyList_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s: %s must be a list of arrays, got %s", args->function, name,
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    PyObject *tuple = PyList_AsTuple(value);
    if (!tuple) return -1;
    if (arrays->lists == 0) arrays->count = PyTuple_GET_SIZE(tuple);
    arrays->names[arrays->lists] = name;
    arrays->tuples[arrays->lists++] = tuple;
    return tt_expect_size(args, name, "arrays", (size_t)PyTuple_GET_SIZE(tuple), (size_t)arrays->count);
}

/* Whether the longer way through array_at would find no fault: a model has many arrays, and their names are only
 * needed for errors. */
static int fits(PyObject *item, PyObject *param, int updated)
{
    if (!PyArray_Check(item) || !PyArray_Check(param)) return 0;
    PyArrayObject *array = (PyArrayObject *)item;
    return PyArray_TYPE(array) == NPY_FLOAT32 && (updated ? PyArray_ISCARRAY(array) : PyArray_ISCARRAY_RO(array)) &&
           PyArray_SAMESHAPE(array, (PyArrayObject *)param);
}

/* Array i of a list: of the shape of params[i], and writable unless it is a gradient. */
static float *array_at(const tt_args *args, const step_arrays *arrays, int list, Py_ssize_t i, int updated)
{
    PyObject *item = PyTuple_GET_ITEM(arrays->tuples[list], i);
    if (fits(item, PyTuple_GET_ITEM(arrays->tuples[0], i), updated)) return TT_F32((PyArrayObject *)item);
    char name[64];
    PyOS_snprintf(name, sizeof name, "%s[%zd]", arrays->names[list], i);
    tt_args one = {args->function, &item, 1, 0};
    PyArrayObject *array = tt_next_array(&one, name, NPY_FLOAT32, 0, -1);
    if (!array || tt_expect_like(args, name, array, (PyArrayObject *)PyTuple_GET_ITEM(arrays->tuples[0], i)) < 0)
        return NULL;
    if (updated && !PyArray_ISWRITEABLE(array)) {
        PyErr_Format(PyExc_ValueError, "%s: %s is read-only, and is updated in place", args->function, name);
        return NULL;
    }
    return TT_F32(array);
}

/* The lists are params, grads, then the states. */
static int collect(const tt_args *args, step_arrays *arrays)
{
    arrays->parameters = PyMem_Calloc((size_t)arrays->count + 1, sizeof *arrays->parameters);
    if (!arrays->parameters) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < arrays->count; i++) {
        tt_parameter *parameter = &arrays->parameters[i];
        if (!(parameter->param = array_at(args, arrays, 0, i, 1)) ||
            !(parameter->grad = array_at(args, arrays, 1, i, 0)))
            return -1;
        for (int list = 2; list < arrays->lists; list++) {
            parameter->state[list - 2] = array_at(args, arrays, list, i, 1);
            if (!parameter->state[list - 2]) return -1;
        }
        parameter->n = (size_t)PyArray_SIZE((PyArrayObject *)PyTuple_GET_ITEM(arrays->tuples[0], i));
    }
    return 0;
}

static PyObject *finish(const char *function, step_arrays *arrays, tt_status status)
{
    release(arrays);
    if (status == TT_OK) Py_RETURN_NONE;
    if (!PyErr_Occurred()) tt_raise(function, status);
    return NULL;
}

static PyObject *sgd_step(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    step_arrays arrays = {.lists = 0};
    double lr, momentum, weight_decay;
    int nesterov;
    tt_status status = TT_BAD_VALUE;
    if (tt_args_begin(&args, "sgd_step", values, count, 7) < 0) return NULL;
    int has_momentum = values[2] != Py_None;
    if (next_list(&args, "params", &arrays) == 0 && next_list(&args, "grads", &arrays) == 0 &&
        (has_momentum ? next_list(&args, "momentum_buffers", &arrays) == 0 : args.next++ == 2) &&
        tt_next_double(&args, "lr", &lr) == 0 && tt_next_double(&args, "momentum", &momentum) == 0 &&
        tt_next_double(&args, "weight_decay", &weight_decay) == 0 &&
        tt_next_bool(&args, "nesterov", &nesterov) == 0 &&
        collect(&args, &arrays) == 0) {
        if (momentum != 0 && !has_momentum) {
            PyErr_SetString(PyExc_ValueError, "sgd_step: momentum_buffers is None, but momentum is not 0");
            return finish("sgd_step", &arrays, status);
        }
        Py_BEGIN_ALLOW_THREADS
        status = tt_sgd_step_f32((size_t)arrays.count, arrays.parameters, lr, momentum, weight_decay, nesterov);
        Py_END_ALLOW_THREADS
    }
    return finish("sgd_step", &arrays, status);
}

static PyObject *adam_step(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    step_arrays arrays = {.lists = 0};
    size_t step;
    double lr, beta1, beta2, eps, weight_decay;
    int decoupled;
    tt_status status = TT_BAD_VALUE;
    if (tt_args_begin(&args, "adam_step", values, count, 11) < 0) return NULL;
    if (next_list(&args, "params", &arrays) == 0 && next_list(&args, "grads", &arrays) == 0 &&
        next_list(&args, "m", &arrays) == 0 && next_list(&args, "v", &arrays) == 0 &&
        tt_next_size(&args, "step", 1, &step) == 0 && tt_next_double(&args, "lr", &lr) == 0 &&
        tt_next_double(&args, "beta1", &beta1) == 0 && tt_next_double(&args, "beta2", &beta2) == 0 &&
        tt_next_double(&args, "eps", &eps) == 0 && tt_next_double(&args, "weight_decay", &weight_decay) == 0 &&
        tt_next_bool(&args, "decoupled", &decoupled) == 0 && collect(&args, &arrays) == 0) {
        Py_BEGIN_ALLOW_THREADS
        status = tt_adam_step_f32((size_t)arrays.count, arrays.parameters, step, lr, beta1, beta2, eps,
                                  weight_decay, decoupled);
        Py_END_ALLOW_THREADS
    }
    return finish("adam_step", &arrays, status);
}

static PyMethodDef methods[] = {
    TT_FASTCALL(sgd_step),
    TT_FASTCALL(adam_step),
    {NULL, NULL, 0, NULL},
};

int tt_register_optimizer(PyObject *module) { return PyModule_AddFunctions(module, methods); }
