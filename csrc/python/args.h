/* What the thin binding files share: checking arguments, making results, reporting a status.
 *
 * Arguments are checked and never converted; tinytorch/kernels does the converting. Every helper returns NULL
 * or -1 with a Python error set that names the function and the argument. */
#ifndef TT_PYTHON_ARGS_H
#define TT_PYTHON_ARGS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define PY_ARRAY_UNIQUE_SYMBOL tinytorch_ARRAY_API
#ifndef TT_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include "tinytorch.h"

/* A call being parsed: the arguments are taken in order. */
typedef struct {
    const char *function;
    PyObject *const *values;
    Py_ssize_t count, next;
} tt_args;

/* 0 when the call has exactly `expected` arguments. */
int tt_args_begin(tt_args *args, const char *function, PyObject *const *values, Py_ssize_t count,
                  Py_ssize_t expected);

/* The next argument as a C-contiguous aligned array of NumPy type `type` (borrowed). max_ndim < 0: no bound. */
PyArrayObject *tt_next_array(tt_args *args, const char *name, int type, int min_ndim, int max_ndim);
/* The same, but None gives *array = NULL; returns -1 on error. */
int tt_next_optional(tt_args *args, const char *name, int type, int min_ndim, int max_ndim,
                     PyArrayObject **array);
int tt_next_size(tt_args *args, const char *name, Py_ssize_t least, size_t *value);
int tt_next_int(tt_args *args, const char *name, long least, long most, int *value);
int tt_next_double(tt_args *args, const char *name, double *value);
int tt_next_bool(tt_args *args, const char *name, int *value);

/* Whether x has exactly these dimensions; an error that shows both shapes where it has not. */
int tt_expect_shape(const tt_args *args, const char *name, PyArrayObject *x, int ndim, const size_t *dims);
/* One dimension against what it must be. */
int tt_expect_size(const tt_args *args, const char *name, const char *what, size_t found, size_t expected);

/* Whether x has the shape of another array. */
int tt_expect_like(const tt_args *args, const char *name, PyArrayObject *x, PyArrayObject *other);

/* An uninitialised C-contiguous array; a large one reuses memory (memory.c). */
PyArrayObject *tt_new_array(int ndim, const npy_intp *dims, int type);
/* One of the shape and type of x. */
PyArrayObject *tt_new_like(PyArrayObject *x);

/* The product of all dimensions but the last. */
size_t tt_rows_of_array(PyArrayObject *x);

/* The float32 array to write to: `out` where it is given and fits, else a fresh one. A new reference. */
PyArrayObject *tt_output_array(const tt_args *args, PyArrayObject *out, int ndim, const npy_intp *dims);
/* The next argument: the float32 array to write to, of the shape of x, or None for a fresh one. It may be one of the
 * inputs (NULL: no input), which elementwise and row-wise work allows, but not overlap with a part of it. A new
 * reference. */
PyArrayObject *tt_next_output_like(tt_args *args, PyArrayObject *x, PyArrayObject *other);
/* Whether an output shares no memory with an input. */
int tt_expect_apart(const tt_args *args, PyArrayObject *out, PyArrayObject *input);

/* A sparse matrix as a tuple: (values, indices, row_pointers, m, k, r), or (slices, m, k) (sparse.c). */
int tt_next_sparse(tt_args *args, tt_sparse_matrix *w);
/* The next six arguments: values, indices, row_pointers, m, k, r. */
int tt_next_sparse_blocks(tt_args *args, tt_sparse_matrix *w);

/* Raises the exception that belongs to a status. */
void tt_raise(const char *function, tt_status status);

#define TT_F32(array) ((float *)PyArray_DATA(array))
#define TT_F32_OR_NULL(array) ((array) ? TT_F32(array) : NULL)
#define TT_DIM(array, axis) ((size_t)PyArray_DIM((array), (axis)))

/* A row of a method table for a function that takes positional arguments only. */
#define TT_FASTCALL(function) {#function, (PyCFunction)(void (*)(void))function, METH_FASTCALL, NULL}

/* Every family adds its functions and types to the module. */
int tt_register_memory(PyObject *module);
int tt_register_runtime(PyObject *module);
int tt_register_matmul(PyObject *module);
int tt_register_conv(PyObject *module);
int tt_register_pool(PyObject *module);
int tt_register_activation(PyObject *module);
int tt_register_softmax(PyObject *module);
int tt_register_norm(PyObject *module);
int tt_register_loss(PyObject *module);
int tt_register_optimizer(PyObject *module);
int tt_register_quantize(PyObject *module);
int tt_register_int8(PyObject *module);
int tt_register_int4(PyObject *module);
int tt_register_sparse(PyObject *module);
int tt_register_attention(PyObject *module);
int tt_register_lessons(PyObject *module);

#endif
