"""Cells of C as students write them: one for each operation that is right, and ways to spoil matmul."""

MATMUL = """\
void matmul(const float *a, const float *b, float *c, int m, int k, int n)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            float sum = 0.0f;
            for (int p = 0; p < k; p++)
                sum += a[i * k + p] * b[p * n + j];
            c[i * n + j] = sum;
        }
}
"""

ROWS = """\
void matmul(const float *restrict a, const float *restrict b, float *restrict c, int m, int k, int n)
{
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++)
            c[i * n + j] = 0.0f;
        for (int p = 0; p < k; p++)
            for (int j = 0; j < n; j++)
                c[i * n + j] += a[i * k + p] * b[p * n + j];
    }
}
"""

MATMUL_INT8 = """\
#include <stdint.h>

void matmul_int8(const uint8_t *a, const int8_t *b, int32_t *c, int m, int k, int n)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            int32_t sum = 0;
            for (int p = 0; p < k; p++)
                sum += a[i * k + p] * b[p * n + j];
            c[i * n + j] = sum;
        }
}
"""

CONV2D = """\
void conv2d(const float *x, const float *w, float *y,
            int n, int c, int h, int wd, int o, int kh, int kw, int stride, int padding)
{
    int oh = (h + 2 * padding - kh) / stride + 1, ow = (wd + 2 * padding - kw) / stride + 1;
    for (int image = 0; image < n; image++)
        for (int out = 0; out < o; out++)
            for (int i = 0; i < oh; i++)
                for (int j = 0; j < ow; j++) {
                    float sum = 0.0f;
                    for (int ch = 0; ch < c; ch++)
                        for (int r = 0; r < kh; r++)
                            for (int s = 0; s < kw; s++) {
                                int row = i * stride + r - padding, column = j * stride + s - padding;
                                if (row >= 0 && row < h && column >= 0 && column < wd)
                                    sum += x[((image * c + ch) * h + row) * wd + column]
                                         * w[((out * c + ch) * kh + r) * kw + s];
                            }
                    y[((image * o + out) * oh + i) * ow + j] = sum;
                }
}
"""

SPARSE_MATMUL = """\
#include <stdint.h>

void sparse_matmul(const float *values, const int32_t *indices, const int32_t *row_pointers,
                   const float *x, float *y, int m, int k, int n)
{
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++)
            y[i * n + j] = 0.0f;
        for (int e = row_pointers[i]; e < row_pointers[i + 1]; e++)
            for (int j = 0; j < n; j++)
                y[i * n + j] += values[e] * x[indices[e] * n + j];
    }
}
"""

ATTENTION_DECODE = """\
#include <math.h>
#include <stdlib.h>

void attention_decode(const float *q, const float *keys, const float *values, float *y,
                      int heads, int length, int capacity, int d)
{
    float *weights = malloc(length * sizeof *weights);
    for (int h = 0; h < heads; h++) {
        float largest = -INFINITY, total = 0.0f;
        for (int t = 0; t < length; t++) {
            float score = 0.0f;
            for (int i = 0; i < d; i++)
                score += q[h * d + i] * keys[(h * capacity + t) * d + i];
            weights[t] = score / sqrtf(d);
            largest = fmaxf(largest, weights[t]);
        }
        for (int t = 0; t < length; t++)
            total += weights[t] = expf(weights[t] - largest);
        for (int i = 0; i < d; i++) {
            float sum = 0.0f;
            for (int t = 0; t < length; t++)
                sum += weights[t] * values[(h * capacity + t) * d + i];
            y[h * d + i] = sum / total;
        }
    }
    free(weights);
}
"""

RIGHT = {
    "matmul": MATMUL,
    "matmul_int8": MATMUL_INT8,
    "conv2d": CONV2D,
    "sparse_matmul": SPARSE_MATMUL,
    "attention_decode": ATTENTION_DECODE,
}


def spoiled(right: str, wrong: str, cell: str = MATMUL) -> str:
    """The cell with one thing changed."""
    assert right in cell
    return cell.replace(right, wrong)


def starting(statements: str, includes: str = "") -> str:
    """matmul with something before its loops."""
    includes = "".join(f"#include <{name}>\n" for name in includes.split())
    return includes + spoiled("{\n    for (int i", "{\n    " + statements + "\n    for (int i")
