#include "lessons/lessons.h"
#include "python/args.h"

/* A tuple of the steps of the matmul ladder: (name, description, flags, source). */
static PyObject *lesson_steps(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    PyObject *steps = PyTuple_New(TT_MATMUL_STEPS);
    for (int i = 0; steps && i < TT_MATMUL_STEPS; i++) {
        tt_lesson step = tt_matmul_step(i);
        PyObject *entry = Py_BuildValue("(ssss)", step.name, step.description, step.flags, step.source);
        if (entry)
            PyTuple_SET_ITEM(steps, i, entry);
        else
            Py_CLEAR(steps);
    }
    return steps;
}

static PyObject *lesson_matmul(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    int number;
    PyArrayObject *a, *b, *out;
    if (tt_args_begin(&args, "lesson_matmul", values, count, 4) < 0 ||
        tt_next_int(&args, "step", 0, TT_MATMUL_STEPS - 1, &number) < 0 ||
        !(a = tt_next_array(&args, "a", NPY_FLOAT32, 2, 2)) || !(b = tt_next_array(&args, "b", NPY_FLOAT32, 2, 2)) ||
        tt_expect_size(&args, "b", "rows", TT_DIM(b, 0), TT_DIM(a, 1)) < 0 ||
        tt_next_optional(&args, "out", NPY_FLOAT32, 2, 2, &out) < 0)
        return NULL;
    npy_intp dims[2] = {PyArray_DIM(a, 0), PyArray_DIM(b, 1)};
    PyArrayObject *c = tt_output_array(&args, out, 2, dims);
    if (!c) return NULL;
    if (tt_expect_apart(&args, c, a) < 0 || tt_expect_apart(&args, c, b) < 0) {
        Py_DECREF(c);
        return NULL;
    }
    tt_lesson step = tt_matmul_step(number);
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = step.multiply(TT_DIM(a, 0), TT_DIM(b, 1), TT_DIM(a, 1), TT_F32(a), TT_F32(b), TT_F32(c));
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return (PyObject *)c;
    tt_raise("lesson_matmul", status);
    Py_DECREF(c);
    return NULL;
}

static PyMethodDef methods[] = {
    {"lesson_steps", lesson_steps, METH_NOARGS, "The steps of the matmul ladder: (name, description, flags, source)."},
    TT_FASTCALL(lesson_matmul),
    {NULL, NULL, 0, NULL},
};

int tt_register_lessons(PyObject *module) { return PyModule_AddFunctions(module, methods); }
