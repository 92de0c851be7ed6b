/* tinytorch._C: the kernels as a Python module. Only tinytorch/kernels imports it. */
#define TT_IMPORTS_NUMPY
#include "python/args.h"

#include <stdlib.h>

static int (*const families[])(PyObject *) = {
    tt_register_memory,    tt_register_runtime, tt_register_matmul, tt_register_conv,   tt_register_pool,
    tt_register_activation, tt_register_softmax, tt_register_norm,   tt_register_loss,   tt_register_optimizer,
    tt_register_quantize,  tt_register_int8,    tt_register_int4,   tt_register_sparse, tt_register_attention,
    tt_register_lessons,
};

static int choose_level(void)
{
    const char *name = getenv("TINYTORCH_CPU");
    if (name && !*name) name = NULL;
    if (tt_select_level(name) == TT_OK) return 0;
    PyObject *levels = PyUnicode_FromString("");
    const char *level;
    for (int i = 0; levels && (level = tt_available_level(i)); i++) {
        PyObject *longer = PyUnicode_FromFormat("%U %s", levels, level);
        Py_SETREF(levels, longer);
    }
    if (levels)
        PyErr_Format(PyExc_ImportError, "TINYTORCH_CPU=%s: this machine or build does not have that level; it has%U",
                     name, levels);
    Py_XDECREF(levels);
    return -1;
}

static int execute(PyObject *module)
{
    if (PyArray_ImportNumPyAPI() < 0 || choose_level() < 0) return -1;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (families[i](module) < 0) return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)execute},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030d0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "tinytorch._C",
    .m_doc = "The compiled kernels of TinyTorch; use them through tinytorch.kernels.",
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__C(void) { return PyModuleDef_Init(&definition); }
