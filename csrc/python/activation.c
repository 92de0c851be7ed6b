#include "python/args.h"

/* The arguments of every function here: x, or dy and what the gradient is computed from; then `out`. */
typedef struct {
    PyArrayObject *dy, *x, *out;
    size_t n;
} map_arrays;

static int next_inputs(tt_args *args, const char *saved, int backward, map_arrays *arrays)
{
    arrays->dy = NULL;
    if (backward && !(arrays->dy = tt_next_array(args, "dy", NPY_FLOAT32, 0, -1))) return -1;
    if (!(arrays->x = tt_next_array(args, saved, NPY_FLOAT32, 0, -1))) return -1;
    arrays->n = (size_t)PyArray_SIZE(arrays->x);
    return arrays->dy ? tt_expect_like(args, "dy", arrays->dy, arrays->x) : 0;
}

static int next_output(tt_args *args, map_arrays *arrays)
{
    arrays->out = tt_next_output_like(args, arrays->x, arrays->dy);
    return arrays->out ? 0 : -1;
}

typedef void forward_function(size_t n, const float *x, float *y);
typedef void backward_function(size_t n, const float *dy, const float *saved, float *dx);

static PyObject *forward(const char *function, forward_function *run, PyObject *const *values, Py_ssize_t count)
{
    tt_args args;
    map_arrays arrays;
    if (tt_args_begin(&args, function, values, count, 2) < 0 || next_inputs(&args, "x", 0, &arrays) < 0 ||
        next_output(&args, &arrays) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    run(arrays.n, TT_F32(arrays.x), TT_F32(arrays.out));
    Py_END_ALLOW_THREADS
    return (PyObject *)arrays.out;
}

static PyObject *backward(const char *function, const char *saved, backward_function *run, PyObject *const *values,
                          Py_ssize_t count)
{
    tt_args args;
    map_arrays arrays;
    if (tt_args_begin(&args, function, values, count, 3) < 0 || next_inputs(&args, saved, 1, &arrays) < 0 ||
        next_output(&args, &arrays) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    run(arrays.n, TT_F32(arrays.dy), TT_F32(arrays.x), TT_F32(arrays.out));
    Py_END_ALLOW_THREADS
    return (PyObject *)arrays.out;
}

static PyObject *relu(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    return forward("relu", tt_relu_f32, values, count);
}

static PyObject *relu_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    return backward("relu_backward", "x", tt_relu_backward_f32, values, count);
}

static PyObject *sigmoid(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    return forward("sigmoid", tt_sigmoid_f32, values, count);
}

static PyObject *sigmoid_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    return backward("sigmoid_backward", "y", tt_sigmoid_backward_f32, values, count);
}

static PyObject *tanh_(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    return forward("tanh", tt_tanh_f32, values, count);
}

static PyObject *tanh_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    return backward("tanh_backward", "y", tt_tanh_backward_f32, values, count);
}

static PyObject *gelu(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    map_arrays arrays;
    int form;
    if (tt_args_begin(&args, "gelu", values, count, 3) < 0 || next_inputs(&args, "x", 0, &arrays) < 0 ||
        tt_next_int(&args, "approximate", TT_GELU_ERF, TT_GELU_SIGMOID, &form) < 0 || next_output(&args, &arrays) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_gelu_f32(arrays.n, TT_F32(arrays.x), (tt_gelu_form)form, TT_F32(arrays.out));
    Py_END_ALLOW_THREADS
    return (PyObject *)arrays.out;
}

static PyObject *gelu_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    map_arrays arrays;
    int form;
    if (tt_args_begin(&args, "gelu_backward", values, count, 4) < 0 || next_inputs(&args, "x", 1, &arrays) < 0 ||
        tt_next_int(&args, "approximate", TT_GELU_ERF, TT_GELU_SIGMOID, &form) < 0 || next_output(&args, &arrays) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_gelu_backward_f32(arrays.n, TT_F32(arrays.dy), TT_F32(arrays.x), (tt_gelu_form)form, TT_F32(arrays.out));
    Py_END_ALLOW_THREADS
    return (PyObject *)arrays.out;
}

static PyMethodDef methods[] = {
    TT_FASTCALL(relu),
    TT_FASTCALL(relu_backward),
    TT_FASTCALL(sigmoid),
    TT_FASTCALL(sigmoid_backward),
    {"tanh", (PyCFunction)(void (*)(void))tanh_, METH_FASTCALL, NULL}, /* C has a function tanh already */
    TT_FASTCALL(tanh_backward),
    TT_FASTCALL(gelu),
    TT_FASTCALL(gelu_backward),
    {NULL, NULL, 0, NULL},
};

int tt_register_activation(PyObject *module) { return PyModule_AddFunctions(module, methods); }
