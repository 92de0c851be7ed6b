#include "python/quantized.h"

#include <string.h>

/* q (B, H, T, D), k (B, G, S, D), v (B, G, S, E), G divides H. */
static int next_qkv(tt_args *args, tt_attention *a)
{
    PyArrayObject *q, *k, *v;
    if (!(q = tt_next_array(args, "q", NPY_FLOAT32, 4, 4)) || !(k = tt_next_array(args, "k", NPY_FLOAT32, 4, 4)) ||
        !(v = tt_next_array(args, "v", NPY_FLOAT32, 4, 4)))
        return -1;
    *a = (tt_attention){.batch = TT_DIM(q, 0), .heads = TT_DIM(q, 1), .t = TT_DIM(q, 2), .d = TT_DIM(q, 3),
                        .kv_heads = TT_DIM(k, 1), .s = TT_DIM(k, 2), .e = TT_DIM(v, 3),
                        .q = TT_F32(q), .k = TT_F32(k), .v = TT_F32(v)};
    if (tt_expect_shape(args, "k", k, 4, (size_t[]){a->batch, a->kv_heads, a->s, a->d}) < 0 ||
        tt_expect_shape(args, "v", v, 4, (size_t[]){a->batch, a->kv_heads, a->s, a->e}) < 0)
        return -1;
    if (a->kv_heads ? a->heads % a->kv_heads == 0 : a->heads == 0) return 0;
    PyErr_Format(PyExc_ValueError, "%s: %zu query heads cannot share %zu key and value heads evenly", args->function,
                 a->heads, a->kv_heads);
    return -1;
}

/* None, or bool or float32 (B|1, H|1, T|1, S). */
static int next_mask(tt_args *args, tt_attention *a)
{
    PyObject *untyped = args->values[args->next];
    int is_bool = PyArray_Check(untyped) && PyArray_TYPE((PyArrayObject *)untyped) == NPY_BOOL;
    PyArrayObject *mask;
    if (tt_next_optional(args, "mask", is_bool ? NPY_BOOL : NPY_FLOAT32, 4, 4, &mask) < 0) return -1;
    if (!mask) return 0;
    size_t dims[4] = {a->batch, a->heads, a->t, a->s}, step = a->s;
    for (int i = 2; i >= 0; i--) {
        a->mask_steps[i] = TT_DIM(mask, i) == 1 ? 0 : step;
        if (TT_DIM(mask, i) == 1)
            dims[i] = 1;
        else
            step *= dims[i];
    }
    a->mask = PyArray_DATA(mask);
    a->mask_is_bool = is_bool;
    return tt_expect_shape(args, "mask", mask, 4, dims);
}

static int next_attention(tt_args *args, tt_attention *a)
{
    double scale;
    if (next_qkv(args, a) < 0 || tt_next_bool(args, "causal", &a->causal) < 0 || next_mask(args, a) < 0 ||
        tt_next_double(args, "scale", &scale) < 0)
        return -1;
    a->scale = (float)scale;
    return 0;
}

static PyObject *attention(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_attention a;
    int want_lse;
    if (tt_args_begin(&args, "attention", values, count, 7) < 0 || next_attention(&args, &a) < 0 ||
        tt_next_bool(&args, "want_lse", &want_lse) < 0)
        return NULL;
    npy_intp dims[4] = {(npy_intp)a.batch, (npy_intp)a.heads, (npy_intp)a.t, (npy_intp)a.e};
    PyArrayObject *y = tt_new_array(4, dims, NPY_FLOAT32), *lse = NULL;
    tt_status status = TT_OUT_OF_MEMORY;
    if (y && (!want_lse || (lse = tt_new_array(3, dims, NPY_FLOAT32)))) {
        Py_BEGIN_ALLOW_THREADS
        status = tt_attention_f32(&a, TT_F32(y), TT_F32_OR_NULL(lse));
        Py_END_ALLOW_THREADS
    }
    if (status == TT_OK) return want_lse ? Py_BuildValue("NN", y, lse) : (PyObject *)y;
    if (!PyErr_Occurred()) tt_raise("attention", status);
    Py_XDECREF(y);
    Py_XDECREF(lse);
    return NULL;
}

static PyObject *attention_backward(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_attention a;
    PyArrayObject *dy, *y, *lse;
    if (tt_args_begin(&args, "attention_backward", values, count, 9) < 0 ||
        !(dy = tt_next_array(&args, "dy", NPY_FLOAT32, 4, 4)) || next_attention(&args, &a) < 0 ||
        !(y = tt_next_array(&args, "y", NPY_FLOAT32, 4, 4)) ||
        !(lse = tt_next_array(&args, "lse", NPY_FLOAT32, 3, 3)))
        return NULL;
    size_t shape[4] = {a.batch, a.heads, a.t, a.e};
    if (tt_expect_shape(&args, "dy", dy, 4, shape) < 0 || tt_expect_shape(&args, "y", y, 4, shape) < 0 ||
        tt_expect_shape(&args, "lse", lse, 3, shape) < 0)
        return NULL;
    PyArrayObject *grads[3];
    for (int i = 0; i < 3; i++)
        grads[i] = tt_new_array(4, PyArray_DIMS((PyArrayObject *)values[1 + i]), NPY_FLOAT32);
    tt_status status = TT_OUT_OF_MEMORY;
    if (grads[0] && grads[1] && grads[2]) {
        Py_BEGIN_ALLOW_THREADS
        status = tt_attention_backward_f32(&a, TT_F32(dy), TT_F32(y), TT_F32(lse), TT_F32(grads[0]),
                                           TT_F32(grads[1]), TT_F32(grads[2]));
        Py_END_ALLOW_THREADS
    }
    if (status == TT_OK) return Py_BuildValue("NNN", grads[0], grads[1], grads[2]);
    if (!PyErr_Occurred()) tt_raise("attention_backward", status);
    for (int i = 0; i < 3; i++) Py_XDECREF(grads[i]);
    return NULL;
}

/* keys, values, key_scales, value_scales, lengths: float32 without scales, int8 with them. */
static int next_cache(tt_args *args, tt_kv_cache *cache)
{
    PyArrayObject *arrays[4] = {NULL}, *lengths;
    int int8 = args->values[args->next + 2] != Py_None, type = int8 ? NPY_INT8 : NPY_FLOAT32;
    if (!(arrays[0] = tt_next_array(args, "keys", type, 4, 4)) ||
        !(arrays[1] = tt_next_array(args, "values", type, 4, 4)) ||
        tt_next_optional(args, "key_scales", NPY_FLOAT32, 3, 3, &arrays[2]) < 0 ||
        tt_next_optional(args, "value_scales", NPY_FLOAT32, 3, 3, &arrays[3]) < 0 ||
        !(lengths = tt_next_array(args, "lengths", NPY_INT64, 1, 1)))
        return -1;
    if (!arrays[2] != !arrays[3]) {
        PyErr_Format(PyExc_ValueError, "%s: key_scales and value_scales go together", args->function);
        return -1;
    }
    static const char *const names[4] = {"keys", "values", "key_scales", "value_scales"};
    size_t shape[4] = {cache->batch, cache->kv_heads, TT_DIM(arrays[0], 2), cache->d};
    for (int i = 0; i < 4 && arrays[i]; i++) {
        if (tt_expect_shape(args, names[i], arrays[i], i < 2 ? 4 : 3, shape) < 0) return -1;
        if (PyArray_ISWRITEABLE(arrays[i])) continue;
        PyErr_Format(PyExc_ValueError, "%s: %s is read-only", args->function, names[i]);
        return -1;
    }
    if (tt_expect_size(args, "lengths", "elements", TT_DIM(lengths, 0), cache->batch) < 0) return -1;
    if (!shape[2]) {
        PyErr_Format(PyExc_ValueError, "%s: the cache has no room for a position", args->function);
        return -1;
    }
    cache->capacity = shape[2];
    cache->keys = PyArray_DATA(arrays[0]);
    cache->values = PyArray_DATA(arrays[1]);
    cache->key_scales = TT_F32_OR_NULL(arrays[2]);
    cache->value_scales = TT_F32_OR_NULL(arrays[3]);
    cache->lengths = PyArray_DATA(lengths);
    for (size_t b = 0; b < cache->batch; b++) {
        if (cache->lengths[b] >= 0) continue;
        PyErr_Format(PyExc_ValueError, "%s: sequence %zu holds %lld positions", args->function, b,
                     (long long)cache->lengths[b]);
        return -1;
    }
    return 0;
}

static PyObject *attention_decode(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    tt_attention a;
    double scale;
    if (tt_args_begin(&args, "attention_decode", values, count, 9) < 0 || next_qkv(&args, &a) < 0) return NULL;
    if (a.t != 1 || a.s != 1 || a.e != a.d) {
        PyErr_Format(PyExc_ValueError, "attention_decode: takes one position, with q, k and v of one size, "
                     "got %zu queries and %zu keys of %zu features and values of %zu", a.t, a.s, a.d, a.e);
        return NULL;
    }
    tt_kv_cache cache = {.batch = a.batch, .kv_heads = a.kv_heads, .d = a.d};
    if (next_cache(&args, &cache) < 0 || tt_next_double(&args, "scale", &scale) < 0) return NULL;
    PyArrayObject *y = tt_new_array(4, PyArray_DIMS((PyArrayObject *)values[0]), NPY_FLOAT32);
    if (!y) return NULL;
    tt_status status;
    Py_BEGIN_ALLOW_THREADS
    status = tt_attention_decode(&cache, a.heads, a.q, a.k, a.v, (float)scale, TT_F32(y));
    Py_END_ALLOW_THREADS
    if (status == TT_OK) return (PyObject *)y;
    tt_raise("attention_decode", status);
    Py_DECREF(y);
    return NULL;
}

/* A tuple of so many items; its arrays live as long as it does, and it is an argument of the call at hand. */
static int expect_tuple(const tt_args *args, const char *name, PyObject *value, Py_ssize_t count)
{
    if (PyTuple_Check(value) && (count < 0 || PyTuple_GET_SIZE(value) == count)) return 0;
    PyErr_Format(PyExc_TypeError, "%s: %s must be a tuple of the right length", args->function, name);
    return -1;
}

/* The items of a tuple as arguments. */
static tt_args items_of(const tt_args *args, PyObject *tuple)
{
    return (tt_args){args->function, ((PyTupleObject *)tuple)->ob_item, PyTuple_GET_SIZE(tuple), 0};
}

/* The next part, a weight (in, out), or (out) where `in` is 0. An `out` of 0 takes what it finds. */
static int next_weight(tt_args *parts, const char *name, size_t in, size_t *out, tt_affine *affine)
{
    int ndim = in ? 2 : 1;
    PyArrayObject *weight = tt_next_array(parts, name, NPY_FLOAT32, ndim, ndim);
    if (!weight) return -1;
    if (!*out) *out = TT_DIM(weight, ndim - 1);
    size_t dims[2] = {in, *out};
    affine->weight = TT_F32(weight);
    return tt_expect_shape(parts, name, weight, ndim, dims + 2 - ndim);
}

/* The next part, a weight (in, out) as a kernels.PackedInt8, whose attribute _parts is (packed, in, out, scale). */
static int next_packed(tt_args *parts, const char *name, size_t in, size_t *out, PyObject *kept, tt_affine *affine)
{
    PyObject *tuple = PyObject_GetAttrString(parts->values[parts->next++], "_parts");
    if (!tuple) {
        PyErr_Format(PyExc_TypeError, "%s: %s must be a NumPy array or a PackedInt8", parts->function, name);
        return -1;
    }
    int status = PyList_Append(kept, tuple);
    Py_DECREF(tuple);
    if (status < 0 || expect_tuple(parts, name, tuple, 4) < 0) return -1;
    tt_args of_packed = items_of(parts, tuple);
    size_t k, n;
    PyArrayObject *packed = tt_next_packed_int8(&of_packed, &k, &n), *scale;
    if (!packed || !(scale = tt_next_array(&of_packed, name, NPY_FLOAT32, 1, 1)) ||
        tt_expect_size(parts, name, "scales", TT_DIM(scale, 0), n) < 0 || tt_check_scales(parts, name, scale) < 0)
        return -1;
    if (!*out) *out = n;
    affine->packed = PyArray_DATA(packed);
    affine->scale = TT_F32(scale);
    if (tt_expect_size(parts, name, "inputs", k, in) < 0) return -1;
    return tt_expect_size(parts, name, "outputs", n, *out);
}

/* The next item, (weight, bias or None). */
static int next_affine(tt_args *items, const char *name, size_t in, size_t *out, PyObject *kept, tt_affine *affine)
{
    PyObject *pair = items->values[items->next++];
    if (expect_tuple(items, name, pair, 2) < 0) return -1;
    tt_args parts = items_of(items, pair);
    PyArrayObject *bias;
    *affine = (tt_affine){0};
    int packed = in && !PyArray_Check(parts.values[0]);
    if ((packed ? next_packed(&parts, name, in, out, kept, affine) : next_weight(&parts, name, in, out, affine)) < 0 ||
        tt_next_optional(&parts, name, NPY_FLOAT32, 1, 1, &bias) < 0)
        return -1;
    affine->bias = TT_F32_OR_NULL(bias);
    return bias ? tt_expect_size(items, name, "elements in its bias", TT_DIM(bias, 0), *out) : 0;
}

/* `kept` is a list of what the block refers to and the tuple itself does not hold. */
static int read_block(const tt_args *args, PyObject *tuple, const tt_kv_cache *cache, size_t heads, size_t width,
                      PyObject *kept, tt_decoder_block *block)
{
    if (expect_tuple(args, "each block", tuple, 10) < 0) return -1;
    tt_args items = items_of(args, tuple);
    size_t queries = heads * cache->d, keys = cache->kv_heads * cache->d;
    double eps1, eps2;
    block->hidden = 0;
    if (next_affine(&items, "norm1", 0, &width, kept, &block->norm1) < 0 ||
        next_affine(&items, "q", width, &queries, kept, &block->q) < 0 ||
        next_affine(&items, "k", width, &keys, kept, &block->k) < 0 ||
        next_affine(&items, "v", width, &keys, kept, &block->v) < 0 ||
        next_affine(&items, "out", queries, &width, kept, &block->out) < 0 ||
        next_affine(&items, "norm2", 0, &width, kept, &block->norm2) < 0 ||
        next_affine(&items, "expand", width, &block->hidden, kept, &block->expand) < 0)
        return -1;
    if (!block->hidden) {
        PyErr_Format(PyExc_ValueError, "%s: expand has no outputs", args->function);
        return -1;
    }
    if (next_affine(&items, "contract", block->hidden, &width, kept, &block->contract) < 0 ||
        tt_next_double(&items, "eps1", &eps1) < 0 || tt_next_double(&items, "eps2", &eps2) < 0)
        return -1;
    block->eps1 = (float)eps1;
    block->eps2 = (float)eps2;
    return 0;
}

/* One layer of the cache: (keys, values, key_scales, value_scales), all with the shape of the first. */
static int read_layer(const tt_args *args, PyObject *layer, PyObject *lengths, size_t batch, tt_kv_cache *cache)
{
    if (expect_tuple(args, "each layer of the cache", layer, 4) < 0) return -1;
    PyObject *values[5];
    for (int i = 0; i < 4; i++) values[i] = PyTuple_GET_ITEM(layer, i);
    values[4] = lengths;
    tt_args parts = {args->function, values, 5, 0};
    if (!cache->d) {
        PyArrayObject *keys = (PyArrayObject *)values[0];
        if (!PyArray_Check(values[0]) || PyArray_NDIM(keys) != 4) {
            PyErr_Format(PyExc_TypeError, "%s: keys must be an array of 4 axes", args->function);
            return -1;
        }
        *cache = (tt_kv_cache){.batch = batch, .kv_heads = TT_DIM(keys, 1), .d = TT_DIM(keys, 3)};
    }
    return next_cache(&parts, cache);
}

/* Reads `count` blocks and the layers that belong to them. */
static int read_blocks(tt_args *args, PyObject *const *values, PyArrayObject *x, size_t heads, Py_ssize_t count,
                       PyObject *kept, tt_decoder_block *blocks, tt_kv_cache *caches)
{
    caches[0].d = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (i > 0) caches[i] = caches[0];
        PyObject *layer = PyTuple_GET_ITEM(values[2], i);
        size_t room = caches[0].capacity;
        if (read_layer(args, layer, values[3], TT_DIM(x, 0), &caches[i]) < 0) return -1;
        if (i > 0 && tt_expect_size(args, "each layer of the cache", "positions", caches[i].capacity, room) < 0)
            return -1;
        if (!caches[0].kv_heads || !caches[0].d || heads % caches[0].kv_heads) {
            PyErr_Format(PyExc_ValueError, "%s: %zu query heads cannot share %zu key and value heads evenly",
                         args->function, heads, caches[0].kv_heads);
            return -1;
        }
        PyObject *block = PyTuple_GET_ITEM(values[1], i);
        if (read_block(args, block, &caches[0], heads, TT_DIM(x, 2), kept, &blocks[i]) < 0) return -1;
    }
    return 0;
}

enum { MOST_HEADS = 1 << 20 }; /* so that sizes made of it do not overflow */

/* x (B, 1, E), blocks, layers of the cache, lengths, heads -> (B, 1, E) */
static PyObject *decode_blocks(PyObject *module, PyObject *const *values, Py_ssize_t count)
{
    (void)module;
    tt_args args;
    PyArrayObject *x, *y = NULL;
    int heads;
    if (tt_args_begin(&args, "decode_blocks", values, count, 5) < 0 ||
        !(x = tt_next_array(&args, "x", NPY_FLOAT32, 3, 3)) || expect_tuple(&args, "blocks", values[1], -1) < 0 ||
        expect_tuple(&args, "layers", values[2], PyTuple_GET_SIZE(values[1])) < 0)
        return NULL;
    args.next = 4;
    Py_ssize_t layers = PyTuple_GET_SIZE(values[1]);
    if (tt_next_int(&args, "heads", 1, MOST_HEADS, &heads) < 0 || tt_expect_size(&args, "x", "positions", TT_DIM(x, 1), 1) < 0)
        return NULL;
    if (layers == 0 || TT_DIM(x, 2) == 0) {
        PyErr_SetString(PyExc_ValueError, "decode_blocks: needs at least one block and one feature");
        return NULL;
    }
    tt_decoder_block *blocks = PyMem_Calloc((size_t)layers, sizeof *blocks);
    tt_kv_cache *caches = PyMem_Calloc((size_t)layers, sizeof *caches);
    PyObject *kept = PyList_New(0);
    tt_status status = TT_OUT_OF_MEMORY;
    if (blocks && caches && kept &&
        read_blocks(&args, values, x, (size_t)heads, layers, kept, blocks, caches) == 0 && (y = tt_new_like(x))) {
        memcpy(PyArray_DATA(y), PyArray_DATA(x), (size_t)PyArray_NBYTES(x));
        Py_BEGIN_ALLOW_THREADS
        status = tt_decode_blocks((size_t)layers, blocks, caches, (size_t)heads, TT_DIM(x, 2), TT_F32(y));
        Py_END_ALLOW_THREADS
    }
    PyMem_Free(blocks);
    PyMem_Free(caches);
    Py_XDECREF(kept);
    if (status == TT_OK) return (PyObject *)y;
    if (!PyErr_Occurred()) tt_raise("decode_blocks", status);
    Py_XDECREF(y);
    return NULL;
}

static PyMethodDef methods[] = {
    TT_FASTCALL(attention),
    TT_FASTCALL(attention_backward),
    TT_FASTCALL(attention_decode),
    TT_FASTCALL(decode_blocks),
    {NULL, NULL, 0, NULL},
};

int tt_register_attention(PyObject *module) { return PyModule_AddFunctions(module, methods); }
