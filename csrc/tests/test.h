/* What the C tests share. They need no Python, so sanitizers and emulators see the kernels alone. */
#ifndef TT_TEST_H
#define TT_TEST_H

#include <stdio.h>
#include <stdlib.h>

/* Ends the program at the first thing that is not so; the message tells where, and for which case. */
#define CHECK(condition, ...)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s is not so: ", __FILE__, __LINE__, #condition);                        \
            fprintf(stderr, __VA_ARGS__);                                                                    \
            fputc('\n', stderr);                                                                             \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

/* Exactly n floats, so that a sanitizer sees every step beyond them; filled with small whole numbers, whose
 * products and sums are exact: every right kernel gives the same bits. */
float *whole_numbers(size_t n, unsigned seed);

/* Each is called for every CPU level and several numbers of threads. */
void test_matmul(void);
void test_conv(void);
void test_lessons(void);
void test_quantized(void);
void test_sparse(void);
void test_attention(void);
void test_pool(void);

/* Called once for every CPU level. */
void test_maths(void);

/* Called once. */
void test_threads(void);
void test_fork(void);
void test_scratch(void);

#endif
