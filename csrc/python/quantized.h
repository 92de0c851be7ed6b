/* What the bindings of quantized arrays share. */
#ifndef TT_PYTHON_QUANTIZED_H
#define TT_PYTHON_QUANTIZED_H

#include "python/args.h"

/* The next argument as an array of int8 or uint8. */
PyArrayObject *tt_next_bytes(tt_args *args, const char *name, int min_ndim, int max_ndim, int *is_signed);

/* The next argument as a positive, finite float32. */
int tt_next_scale(tt_args *args, const char *name, float *scale);

/* Whether every scale is positive and finite. */
int tt_check_scales(const tt_args *args, const char *name, PyArrayObject *scales);

/* The next three arguments: packed, k, n of a matrix that pack_linear_int8 packed. */
PyArrayObject *tt_next_packed_int8(tt_args *args, size_t *k, size_t *n);

/* A fresh array of so many bytes that begins at a multiple of 64: a vector then never straddles two lines. */
PyArrayObject *tt_new_packed(size_t bytes);

#endif
