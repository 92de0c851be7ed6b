/* Transposes square by square: VF_N rows go through the registers and come out as VF_N columns. */
#include "microkernels/transpose.h"
#include "microkernels/vec.h"

/* The first n <= VF_N columns of m <= VF_N rows; writes n rows of `width` <= VF_N. */
static void transpose_square(size_t m, size_t n, const float *x, size_t x_row_stride, float *y,
                             size_t y_row_stride, size_t width)
{
    vf square[VF_N];
    if (m == VF_N && n == VF_N) {
        TT_UNROLL for (size_t i = 0; i < VF_N; i++) square[i] = vf_load(x + i * x_row_stride);
    } else {
        for (size_t i = 0; i < VF_N; i++)
            square[i] = i >= m      ? vf_set(0.0f)
                        : n == VF_N ? vf_load(x + i * x_row_stride)
                                    : vf_load_n(x + i * x_row_stride, n);
    }
    vf_transpose(square);
    if (width == VF_N && n == VF_N) {
        TT_UNROLL for (size_t j = 0; j < VF_N; j++) vf_store(y + j * y_row_stride, square[j]);
    } else if (width == VF_N) {
        for (size_t j = 0; j < n; j++) vf_store(y + j * y_row_stride, square[j]);
    } else {
        for (size_t j = 0; j < n; j++) vf_store_n(y + j * y_row_stride, square[j], width);
    }
}

void TT_FOR_LEVEL(tt_transpose)(size_t m, size_t n, const float *x, size_t x_row_stride, float *y,
                                size_t y_row_stride, size_t width)
{
    for (size_t i = 0; i < width; i += VF_N) {
        size_t rows = i < m ? m - i : 0, columns = width - i;
        if (rows > VF_N) rows = VF_N;
        if (columns > VF_N) columns = VF_N;
        for (size_t j = 0; j < n; j += VF_N)
            transpose_square(rows, n - j < VF_N ? n - j : VF_N, x + i * x_row_stride + j, x_row_stride,
                             y + j * y_row_stride + i, y_row_stride, columns);
    }
}
