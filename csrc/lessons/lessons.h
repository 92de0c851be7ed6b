/* The lessons: an operation in numbered steps, from the plain loop to a kernel close to the machine's limit.
 *
 * Every step of a ladder has the same prototype and adds one idea to the step before, so that two neighbours
 * can be read side by side and raced. The steps in this folder are plain C, compiled with the auto-vectoriser
 * off: what they gain is the idea's, not the compiler's. Those in vector/ are written over vec.h and compiled
 * once for each CPU level, those in integer/ for each level of integer kernels. ladders.c lists them all. */
#ifndef TT_LESSONS_H
#define TT_LESSONS_H

#include "tinytorch.h"

/* c (m, n) = a (m, k) @ b (k, n). */
typedef tt_status tt_matmul_lesson(size_t m, size_t n, size_t k, const float *a, const float *b, float *c);

/* The same in integers; k is at most TT_MOST_PRODUCTS, so that no sum overflows. */
typedef tt_status tt_matmul_int8_lesson(size_t m, size_t n, size_t k, const uint8_t *a, const int8_t *b,
                                        int32_t *c);

/* c (m, n) = w (m, k) @ x (k, n). A step takes blocks of as many rows as its tt_lesson says; for 0 rows w is
 * not compressed: values (m, k), and neither indices nor row pointers. */
typedef tt_status tt_sparse_matmul_lesson(const tt_sparse_matrix *w, size_t n, const float *x, float *c);

/* y = x convolved with w, in one group and without dilation. */
typedef tt_status tt_conv2d_lesson(const tt_conv2d_shape *shape, const float *x, const float *w, float *y);

/* y (heads, t, d) = softmax(q k^T / sqrt(d)) v for q (heads, t, d), k and v (heads, s, d). When causal, query i
 * sees the keys j <= i. */
typedef struct {
    size_t heads, t, s, d;
    int causal;
    const float *q, *k, *v;
} tt_attention_heads;
typedef tt_status tt_attention_lesson(const tt_attention_heads *x, float *y);

tt_matmul_lesson tt_matmul_plain, tt_matmul_reordered, tt_matmul_tiled;
tt_matmul_int8_lesson tt_matmul_int8_plain, tt_matmul_int8_reordered;
tt_sparse_matmul_lesson tt_sparse_matmul_dense, tt_sparse_matmul_skipping, tt_sparse_matmul_compressed;
tt_conv2d_lesson tt_conv2d_plain, tt_conv2d_reordered, tt_conv2d_unfolded;
tt_attention_lesson tt_attention_plain, tt_attention_rows, tt_attention_online, tt_attention_tiled;

/* Convolution by a matrix product over unfolded patches: step 2, and with another product step 3. */
tt_status tt_conv2d_by_matmul(const tt_conv2d_shape *shape, const float *x, const float *w, float *y,
                              tt_matmul_lesson *multiply);

/* The vector steps of a level, and what they were compiled with. */
typedef struct {
    tt_matmul_lesson *matmul_vectorised, *matmul_packed, *matmul_threaded;
    tt_sparse_matmul_lesson *sparse_matmul_vectorised, *sparse_matmul_blocks;
    tt_conv2d_lesson *conv2d_vectorised, *conv2d_in_place;
    tt_attention_lesson *attention_vectorised;
    const char *flags;
} tt_lesson_kernels;

typedef struct {
    tt_matmul_int8_lesson *vectorised, *grouped, *wide;
    const char *flags;
} tt_lesson_int8_kernels;

extern const tt_lesson_kernels tt_lesson_scalar, tt_lesson_avx2, tt_lesson_avx512, tt_lesson_neon;
extern const tt_lesson_int8_kernels tt_lesson_int8_scalar, tt_lesson_int8_avx2, tt_lesson_int8_avx512,
    tt_lesson_int8_vnni, tt_lesson_int8_neon, tt_lesson_int8_neondot;

typedef enum {
    TT_MATMUL_LADDER,
    TT_MATMUL_INT8_LADDER,
    TT_SPARSE_MATMUL_LADDER,
    TT_CONV2D_LADDER,
    TT_ATTENTION_LADDER,
    TT_LADDERS
} tt_ladder;

typedef struct {
    const char *name, *description, *source; /* source: the file, below csrc/lessons/ */
    const char *flags;
    int block_rows; /* for sparse_matmul: 0 for a matrix that is not compressed */
    union { /* the one that belongs to the ladder */
        tt_matmul_lesson *matmul;
        tt_matmul_int8_lesson *matmul_int8;
        tt_sparse_matmul_lesson *sparse_matmul;
        tt_conv2d_lesson *conv2d;
        tt_attention_lesson *attention;
    };
} tt_lesson;

const char *tt_ladder_name(tt_ladder ladder);
int tt_ladder_steps(tt_ladder ladder); /* how many */

/* What is known of one step, at the CPU level in use; beyond the last its name is NULL. */
tt_lesson tt_ladder_step(tt_ladder ladder, int step);

#endif
