/* Reading a compressed matrix. */
#ifndef TT_LESSONS_SPARSE_MATRIX_H
#define TT_LESSONS_SPARSE_MATRIX_H

#include "lessons/lessons.h"

/* The column of a stored block. */
static inline size_t column_of(const tt_sparse_matrix *w, int32_t block)
{
    return w->wide_indices ? (size_t)((const int32_t *)w->indices)[block] : ((const uint16_t *)w->indices)[block];
}

#endif
