/* Large results are made of memory that earlier ones left behind (runtime/scratch.c). NumPy lets an array's memory
 * come from a handler, and the array remembers which; ours is chosen for the moment in which such an array is made,
 * so every other array of the process keeps NumPy's own. */
#include "python/args.h"
#include "runtime/runtime.h"

#include <string.h>

/* Below it the allocator of C reuses its memory well, and NumPy keeps the smallest itself. */
enum { LARGE = 64 << 10 };

static void *acquire(void *context, size_t bytes)
{
    (void)context;
    return tt_scratch_acquire(bytes);
}

static void *acquire_zeroed(void *context, size_t count, size_t size)
{
    (void)context;
    void *memory = size && count > SIZE_MAX / size ? NULL : tt_scratch_acquire(count * size);
    return memory ? memset(memory, 0, count * size) : NULL;
}

static void release(void *context, void *memory, size_t bytes)
{
    (void)context, (void)bytes;
    tt_scratch_release(memory);
}

static void *resize(void *context, void *memory, size_t bytes)
{
    (void)context;
    void *moved = tt_scratch_acquire(bytes);
    if (moved && memory) memcpy(moved, memory, tt_min(bytes, tt_scratch_bytes(memory)));
    if (moved) tt_scratch_release(memory);
    return moved;
}

static PyDataMem_Handler handler = {"tinytorch", 1, {NULL, acquire, acquire_zeroed, resize, release}};
static PyObject *handler_capsule;

PyArrayObject *tt_new_array(int ndim, const npy_intp *dims, int type)
{
    size_t bytes = sizeof(float); /* roughly: it only decides where the memory comes from */
    for (int i = 0; i < ndim; i++) bytes *= (size_t)dims[i];
    if (bytes < LARGE) return (PyArrayObject *)PyArray_SimpleNew(ndim, (npy_intp *)dims, type);
    PyObject *before = PyDataMem_SetHandler(handler_capsule);
    if (!before) return NULL;
    PyArrayObject *array = (PyArrayObject *)PyArray_SimpleNew(ndim, (npy_intp *)dims, type);
    PyObject *ours = PyDataMem_SetHandler(before);
    Py_DECREF(before);
    if (!ours) Py_CLEAR(array);
    Py_XDECREF(ours);
    return array;
}

/* empty(shape): float32 */
static PyObject *empty(PyObject *module, PyObject *shape)
{
    (void)module;
    PyArray_Dims dims = {NULL, 0};
    if (!PyArray_IntpConverter(shape, &dims)) return NULL;
    PyArrayObject *array = tt_new_array(dims.len, dims.ptr, NPY_FLOAT32);
    PyDimMem_FREE(dims.ptr);
    return (PyObject *)array;
}

static PyMethodDef methods[] = {
    {"empty", empty, METH_O, "An uninitialised float32 array of a shape."},
    {NULL, NULL, 0, NULL},
};

int tt_register_memory(PyObject *module)
{
    if (!handler_capsule) handler_capsule = PyCapsule_New(&handler, "mem_handler", NULL);
    return handler_capsule ? PyModule_AddFunctions(module, methods) : -1;
}
