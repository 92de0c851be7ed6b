#include "python/quantized.h"
#include "python/window.h"

static PyObject *matmul_int8(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *a, *b;
    int is_signed;
    if (tt_args_begin(&args, "matmul_int8", values, count, 2) < 0 ||
        !(a = tt_next_bytes(&args, "a", 2, 2, &is_signed)) ||
        !(b = tt_next_array(&args, "b", NPY_INT8, 2, 2)) ||
        tt_expect_size(&args, "b", "rows (as a has columns)", TT_DIM(b, 0), TT_DIM(a, 1)) < 0)
        return NULL;
    size_t m = TT_DIM(a, 0), k = TT_DIM(a, 1), n = TT_DIM(b, 1);
    if (k > TT_MOST_PRODUCTS)
        return PyErr_Format(PyExc_ValueError,
                            "matmul_int8: sums of %zu products could overflow int32; at most %d", k,
                            (int)TT_MOST_PRODUCTS);
    npy_intp dims[2] = {(npy_intp)m, (npy_intp)n};
    PyArrayObject *c = tt_new_array(2, dims, NPY_INT32);
    if (!c) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_matmul_int8(m, n, k, PyArray_DATA(a), is_signed, PyArray_DATA(b), PyArray_DATA(c));
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return (PyObject *)c;
    tt_raise("matmul_int8", status);
    Py_DECREF(c);
    return NULL;
}

/* ---- what linear and convolution share ---- */

static int check_products(const tt_args *args, size_t k)
{
    if (k <= TT_MOST_PRODUCTS / 2) return 0;
    PyErr_Format(PyExc_ValueError, "%s: sums of %zu products and a bias could overflow int32; at most %d",
                 args->function, k, (int)TT_MOST_PRODUCTS / 2);
    return -1;
}

/* The next three arguments: x_q, x_scale, x_zero_point. */
static PyArrayObject *next_quantized(tt_args *args, int min_ndim, int max_ndim, tt_quantized *x)
{
    PyArrayObject *array = tt_next_bytes(args, "x_q", min_ndim, max_ndim, &x->is_signed);
    int low = x->is_signed ? -128 : 0;
    if (!array || tt_next_scale(args, "x_scale", &x->scale) < 0 ||
        tt_next_int(args, "x_zero_point", low, low + 255, &x->zero_point) < 0)
        return NULL;
    x->data = PyArray_DATA(array);
    return array;
}

/* The next two arguments: w_scale and bias, one value for each of n outputs. */
static int next_parameters(tt_args *args, size_t n, PyArrayObject **scale, PyArrayObject **bias)
{
    if (!(*scale = tt_next_array(args, "w_scale", NPY_FLOAT32, 1, 1)) ||
        tt_next_optional(args, "bias", NPY_FLOAT32, 1, 1, bias) < 0 ||
        tt_expect_size(args, "w_scale", "elements", TT_DIM(*scale, 0), n) < 0 ||
        tt_check_scales(args, "w_scale", *scale) < 0)
        return -1;
    return *bias ? tt_expect_size(args, "bias", "elements", TT_DIM(*bias, 0), n) : 0;
}

/* The next four arguments: activation, out_kind, out_scale, out_zero_point. */
static int next_result(tt_args *args, tt_result *result)
{
    int activation, type, low;
    if (tt_next_int(args, "activation", TT_NONE, TT_RELU, &activation) < 0 ||
        tt_next_int(args, "out_kind", TT_FLOAT32, TT_INT8, &type) < 0)
        return -1;
    result->activation = (tt_activation)activation;
    result->type = (tt_result_type)type;
    if (type == TT_FLOAT32) {
        args->next += 2; /* what they hold has no meaning */
        return 0;
    }
    low = type == TT_INT8 ? -128 : 0;
    if (tt_next_scale(args, "out_scale", &result->scale) < 0) return -1;
    return tt_next_int(args, "out_zero_point", low, low + 255, &result->zero_point);
}

static PyArrayObject *new_result(int ndim, const npy_intp *dims, tt_result *result)
{
    static const int types[] = {[TT_FLOAT32] = NPY_FLOAT32, [TT_UINT8] = NPY_UINT8, [TT_INT8] = NPY_INT8};
    PyArrayObject *y = tt_new_array(ndim, dims, types[result->type]);
    if (y) result->y = PyArray_DATA(y);
    return y;
}

/* y, or the error that belongs to the status. */
static PyObject *finish(const tt_args *args, tt_status status, PyArrayObject *y)
{
    if (status == TT_OK) return (PyObject *)y;
    Py_DECREF(y);
    if (status == TT_BAD_VALUE)
        return PyErr_Format(
            PyExc_ValueError,
            "%s: x_scale * w_scale, and that over out_scale, must be positive float32 numbers, and "
            "bias must not hold NaN where the output is quantized",
            args->function);
    tt_raise(args->function, status);
    return NULL;
}

/* ---- linear ---- */

static PyObject *pack_linear_int8(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *w;
    if (tt_args_begin(&args, "pack_linear_int8", values, count, 1) < 0 ||
        !(w = tt_next_array(&args, "w", NPY_INT8, 2, 2)) || check_products(&args, TT_DIM(w, 0)) < 0)
        return NULL;
    size_t k = TT_DIM(w, 0), n = TT_DIM(w, 1);
    PyArrayObject *packed = tt_new_packed(tt_packed_bytes_int8(k, n));
    if (!packed) return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_pack_int8(k, n, PyArray_DATA(w), PyArray_DATA(packed));
    Py_END_ALLOW_THREADS
    return (PyObject *)packed;
}

PyArrayObject *tt_next_packed_int8(tt_args *args, size_t *k, size_t *n)
{
    PyArrayObject *packed = tt_next_array(args, "packed", NPY_UINT8, 1, 1);
    if (!packed || tt_next_size(args, "k", 0, k) < 0 || tt_next_size(args, "n", 0, n) < 0 ||
        check_products(args, *k) < 0)
        return NULL;
    size_t found = (size_t)PyArray_SIZE(packed);
    size_t expected = *n <= found ? tt_packed_bytes_int8(*k, *n) : SIZE_MAX;
    return tt_expect_size(args, "packed", "bytes", found, expected) < 0 ? NULL : packed;
}

static PyObject *unpack_linear_int8(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    size_t k, n;
    PyArrayObject *packed;
    if (tt_args_begin(&args, "unpack_linear_int8", values, count, 3) < 0 ||
        !(packed = tt_next_packed_int8(&args, &k, &n)))
        return NULL;
    npy_intp dims[2] = {(npy_intp)k, (npy_intp)n};
    PyArrayObject *w = tt_new_array(2, dims, NPY_INT8);
    if (!w) return NULL;
    Py_BEGIN_ALLOW_THREADS
    tt_unpack_int8(k, n, PyArray_DATA(packed), PyArray_DATA(w));
    Py_END_ALLOW_THREADS
    return (PyObject *)w;
}

static PyObject *linear_int8(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x_q, *packed, *scale, *bias, *y;
    tt_quantized x;
    tt_result result = {0};
    size_t k, n, m = 1;
    if (tt_args_begin(&args, "linear_int8", values, count, 12) < 0 ||
        !(x_q = next_quantized(&args, 1, -1, &x)) || !(packed = tt_next_packed_int8(&args, &k, &n)) ||
        next_parameters(&args, n, &scale, &bias) < 0 || next_result(&args, &result) < 0)
        return NULL;
    int last = PyArray_NDIM(x_q) - 1;
    if (tt_expect_size(&args, "x_q", "features on its last axis", TT_DIM(x_q, last), k) < 0) return NULL;
    npy_intp dims[NPY_MAXDIMS];
    for (int i = 0; i < last; i++) m *= (size_t)(dims[i] = PyArray_DIM(x_q, i));
    dims[last] = (npy_intp)n;
    if (!(y = new_result(last + 1, dims, &result))) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_linear_int8(m, n, k, x, PyArray_DATA(packed), TT_F32(scale), TT_F32_OR_NULL(bias), result);
    Py_END_ALLOW_THREADS
    return finish(&args, status, y);
}

static PyObject *linear_int8_dynamic(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *packed, *scale, *bias, *y;
    tt_result result = {.type = TT_FLOAT32};
    size_t k, n, m = 1;
    int activation;
    if (tt_args_begin(&args, "linear_int8_dynamic", values, count, 7) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 1, -1)) || !(packed = tt_next_packed_int8(&args, &k, &n)) ||
        next_parameters(&args, n, &scale, &bias) < 0 ||
        tt_next_int(&args, "activation", TT_NONE, TT_RELU, &activation) < 0)
        return NULL;
    int last = PyArray_NDIM(x) - 1;
    if (tt_expect_size(&args, "x", "features on its last axis", TT_DIM(x, last), k) < 0) return NULL;
    npy_intp dims[NPY_MAXDIMS];
    for (int i = 0; i < last; i++) m *= (size_t)(dims[i] = PyArray_DIM(x, i));
    dims[last] = (npy_intp)n;
    if (!(y = new_result(last + 1, dims, &result))) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_linear_int8_dynamic(m, n, k, TT_F32(x), PyArray_DATA(packed), TT_F32(scale), TT_F32_OR_NULL(bias),
                                    (tt_activation)activation, TT_F32(y));
    Py_END_ALLOW_THREADS
    return finish(&args, status, y);
}

/* ---- sums ---- */

/* The next three arguments: q, scale and zero point of one term; `name` says which. */
static PyArrayObject *next_term(tt_args *args, const char *name, tt_quantized *x)
{
    PyArrayObject *array = tt_next_bytes(args, name, 0, -1, &x->is_signed);
    int low = x->is_signed ? -128 : 0;
    if (!array || tt_next_scale(args, "scale", &x->scale) < 0 ||
        tt_next_int(args, "zero_point", low, low + 255, &x->zero_point) < 0)
        return NULL;
    x->data = PyArray_DATA(array);
    return array;
}

static PyObject *add_int8(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *a, *b, *y;
    tt_quantized terms[2];
    tt_result result = {0};
    if (tt_args_begin(&args, "add_int8", values, count, 10) < 0 || !(a = next_term(&args, "a", &terms[0])) ||
        !(b = next_term(&args, "b", &terms[1])) || next_result(&args, &result) < 0)
        return NULL;
    int same = PyArray_NDIM(a) == PyArray_NDIM(b) &&
               PyArray_CompareLists(PyArray_DIMS(a), PyArray_DIMS(b), PyArray_NDIM(a));
    if (!same || result.type == TT_FLOAT32)
        return PyErr_Format(PyExc_ValueError, "add_int8: a and b must have one shape, and the sum a scale");
    if (!(y = new_result(PyArray_NDIM(a), PyArray_DIMS(a), &result))) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_add_int8((size_t)PyArray_SIZE(a), terms[0], terms[1], result);
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return (PyObject *)y;
    Py_DECREF(y);
    return PyErr_Format(PyExc_ValueError,
                        "add_int8: a_scale and b_scale over out_scale must be positive float32 numbers");
}

/* ---- convolution ---- */

static PyObject *pack_conv2d_int8(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *w;
    tt_conv2d_shape shape = {0};
    if (tt_args_begin(&args, "pack_conv2d_int8", values, count, 2) < 0 ||
        !(w = tt_next_array(&args, "w", NPY_INT8, 4, 4)) ||
        tt_next_size(&args, "groups", 1, &shape.groups) < 0 ||
        tt_check_groups(&args, TT_DIM(w, 0), shape.groups) < 0 ||
        check_products(&args, TT_DIM(w, 1) * TT_DIM(w, 2) * TT_DIM(w, 3)) < 0)
        return NULL;
    shape.outputs = TT_DIM(w, 0);
    shape.channels = TT_DIM(w, 1) * shape.groups;
    shape.kernel_h = TT_DIM(w, 2);
    shape.kernel_w = TT_DIM(w, 3);
    PyArrayObject *packed = tt_new_packed(tt_conv2d_packed_bytes_int8(&shape));
    if (!packed) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_conv2d_pack_int8(&shape, PyArray_DATA(w), PyArray_DATA(packed));
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return (PyObject *)packed;
    tt_raise("pack_conv2d_int8", status);
    Py_DECREF(packed);
    return NULL;
}

/* The next five arguments: packed, o, i, kh, kw. Their product is bounded, so that sizes cannot overflow. */
static PyArrayObject *next_packed_conv2d(tt_args *args, size_t dims[4])
{
    static const char *const names[] = {"o", "i", "kh", "kw"};
    PyArrayObject *packed = tt_next_array(args, "packed", NPY_UINT8, 1, 1);
    if (!packed) return NULL;
    size_t taps = 1;
    for (int t = 0; t < 4; t++) {
        if (tt_next_size(args, names[t], t < 2 ? 0 : 1, &dims[t]) < 0) return NULL;
        if (t == 0) continue;
        if (check_products(args, dims[t]) < 0 || check_products(args, taps *= dims[t]) < 0) return NULL;
    }
    return packed;
}

static int check_packed_conv2d(const tt_args *args, PyArrayObject *packed, const tt_conv2d_shape *shape)
{
    size_t found = (size_t)PyArray_SIZE(packed);
    size_t expected = shape->outputs <= found ? tt_conv2d_packed_bytes_int8(shape) : SIZE_MAX;
    return tt_expect_size(args, "packed", "bytes", found, expected);
}

static PyObject *unpack_conv2d_int8(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *packed;
    size_t d[4];
    tt_conv2d_shape shape = {0};
    if (tt_args_begin(&args, "unpack_conv2d_int8", values, count, 6) < 0 ||
        !(packed = next_packed_conv2d(&args, d)) || tt_next_size(&args, "groups", 1, &shape.groups) < 0 ||
        tt_check_groups(&args, d[0], shape.groups) < 0)
        return NULL;
    shape.outputs = d[0];
    shape.channels = d[1] * shape.groups;
    shape.kernel_h = d[2];
    shape.kernel_w = d[3];
    if (check_packed_conv2d(&args, packed, &shape) < 0) return NULL;
    npy_intp dims[4] = {(npy_intp)d[0], (npy_intp)d[1], (npy_intp)d[2], (npy_intp)d[3]};
    PyArrayObject *w = tt_new_array(4, dims, NPY_INT8);
    if (!w) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_conv2d_unpack_int8(&shape, PyArray_DATA(packed), PyArray_DATA(w));
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return (PyObject *)w;
    tt_raise("unpack_conv2d_int8", status);
    Py_DECREF(w);
    return NULL;
}

/* The last four arguments: x_layout, out_layout, pool_h, pool_w. */
static int next_form(tt_args *args, tt_conv2d_form *form)
{
    int x_layout, y_layout;
    if (tt_next_int(args, "x_layout", TT_NCHW, TT_NHWC, &x_layout) < 0 ||
        tt_next_int(args, "out_layout", TT_NCHW, TT_NHWC, &y_layout) < 0 ||
        tt_next_size(args, "pool_h", 1, &form->pool_h) < 0 ||
        tt_next_size(args, "pool_w", 1, &form->pool_w) < 0)
        return -1;
    form->x_layout = (tt_layout)x_layout;
    form->y_layout = (tt_layout)y_layout;
    if (form->pool_h <= TT_MOST_POOLED && form->pool_h * form->pool_w <= TT_MOST_POOLED) return 0;
    PyErr_Format(PyExc_ValueError, "%s: pooling windows of %zu x %zu, must be at most %d elements",
                 args->function, form->pool_h, form->pool_w, (int)TT_MOST_POOLED);
    return -1;
}

static void read_image(PyArrayObject *x, tt_layout layout, tt_conv2d_shape *shape)
{
    int channels_last = layout == TT_NHWC;
    shape->batch = TT_DIM(x, 0);
    shape->channels = TT_DIM(x, channels_last ? 3 : 1);
    shape->height = TT_DIM(x, channels_last ? 1 : 2);
    shape->width = TT_DIM(x, channels_last ? 2 : 3);
}

static PyArrayObject *new_image(const tt_conv2d_shape *shape, const tt_conv2d_form *form, tt_result *result)
{
    npy_intp n = (npy_intp)shape->batch, c = (npy_intp)shape->outputs;
    npy_intp h = (npy_intp)(shape->out_h / form->pool_h), w = (npy_intp)(shape->out_w / form->pool_w);
    if (h == 0 || w == 0)
        return (PyArrayObject *)PyErr_Format(
            PyExc_ValueError,
            "conv2d_int8: pooling windows of %zu x %zu do not fit into a result of %zu x %zu",
            form->pool_h, form->pool_w, shape->out_h, shape->out_w);
    npy_intp planar[4] = {n, c, h, w}, interleaved[4] = {n, h, w, c};
    return new_result(4, form->y_layout == TT_NHWC ? interleaved : planar, result);
}

static PyObject *conv2d_int8(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x_q, *packed, *scale, *bias, *y;
    size_t d[4];
    tt_quantized x;
    tt_result result = {0};
    tt_conv2d_shape shape;
    tt_conv2d_form form;
    if (tt_args_begin(&args, "conv2d_int8", values, count, 25) < 0 ||
        !(x_q = next_quantized(&args, 4, 4, &x)) || !(packed = next_packed_conv2d(&args, d)) ||
        next_parameters(&args, d[0], &scale, &bias) < 0 || tt_next_window(&args, &shape) < 0 ||
        next_result(&args, &result) < 0 || next_form(&args, &form) < 0)
        return NULL;
    read_image(x_q, form.x_layout, &shape);
    if (tt_complete_window(&args, &shape, d[0], d[1], d[2], d[3]) < 0 ||
        check_packed_conv2d(&args, packed, &shape) < 0 || !(y = new_image(&shape, &form, &result)))
        return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_conv2d_int8(&shape, &form, x, PyArray_DATA(packed), TT_F32(scale), TT_F32_OR_NULL(bias),
                            result);
    Py_END_ALLOW_THREADS
    return finish(&args, status, y);
}

static PyMethodDef methods[] = {
    TT_FASTCALL(matmul_int8),
    TT_FASTCALL(pack_linear_int8),
    TT_FASTCALL(unpack_linear_int8),
    TT_FASTCALL(linear_int8),
    TT_FASTCALL(linear_int8_dynamic),
    TT_FASTCALL(add_int8),
    TT_FASTCALL(pack_conv2d_int8),
    TT_FASTCALL(unpack_conv2d_int8),
    TT_FASTCALL(conv2d_int8),
    {NULL, NULL, 0, NULL},
};

int tt_register_int8(PyObject *module) { return PyModule_AddFunctions(module, methods); }
