/* Loops over a row of floats that apply a function of vectors, or add up what it gives. The functions are known where
 * they are used, so the compiler puts them into the loop. */
#ifndef TT_LOOPS_H
#define TT_LOOPS_H

#include "microkernels/vec.h"

/* y = f(x) */
TT_INLINE void map_one(vf (*function)(vf), const float *x, size_t n, float *y)
{
    size_t j = 0;
    for (; j + VF_N <= n; j += VF_N) vf_store(y + j, function(vf_load(x + j)));
    if (j < n) vf_store_n(y + j, function(vf_load_n(x + j, n - j)), n - j);
}

/* y = f(a, b) */
TT_INLINE void map_two(vf (*function)(vf, vf), const float *a, const float *b, size_t n, float *y)
{
    size_t j = 0;
    for (; j + VF_N <= n; j += VF_N) vf_store(y + j, function(vf_load(a + j), vf_load(b + j)));
    if (j < n) vf_store_n(y + j, function(vf_load_n(a + j, n - j), vf_load_n(b + j, n - j)), n - j);
}

/* y = f(a, b, k) with constants k; b may be NULL, for zeros. Such loops come after a sum over the same row, so it is
 * cached, and memory has time to fetch the row that follows `next` floats after this one. */
typedef vf map_function(vf a, vf b, const vf *k);

TT_INLINE void map_with(map_function *function, const float *a, const float *b, size_t n, size_t next, const vf *k,
                        float *y)
{
    vf zero = vf_set(0.0f);
    size_t j = 0;
    for (; j + VF_N <= n; j += VF_N) {
        TT_PREFETCH(a + next + j);
        if (b) TT_PREFETCH(b + next + j);
        vf_store(y + j, function(vf_load(a + j), b ? vf_load(b + j) : zero, k));
    }
    size_t left = n - j;
    if (left) vf_store_n(y + j, function(vf_load_n(a + j, left), b ? vf_load_n(b + j, left) : zero, k), left);
}

/* Sums keep several accumulators: faster, since an addition need not wait for the one before, and with a smaller
 * rounding error than one after the other. */
enum { CHAINS = 4 };

TT_INLINE vf total_of(const vf sum[CHAINS]) { return vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3])); }

/* What a sum becomes with the elements a and b, where c is the same for all. */
typedef vf add_function(vf sum, vf a, vf b, vf c);

/* Adds n elements to the sums. b may be NULL, for zeros; the lanes beyond the row hold `beyond` in a. */
TT_INLINE void add_row(add_function *add, const float *a, const float *b, size_t n, vf c, float beyond, vf sum[CHAINS])
{
    vf zero = vf_set(0.0f);
    size_t j = 0;
    for (; j + CHAINS * VF_N <= n; j += CHAINS * VF_N)
        TT_UNROLL for (int i = 0; i < CHAINS; i++) {
            size_t at = j + i * VF_N;
            sum[i] = add(sum[i], vf_load(a + at), b ? vf_load(b + at) : zero, c);
        }
    for (; j < n; j += VF_N)
        sum[0] = add(sum[0], vf_load_or(a + j, n - j, beyond), b ? vf_load_up_to(b + j, n - j) : zero, c);
}

TT_INLINE float sum_of(add_function *add, const float *a, const float *b, size_t n, float c, float beyond)
{
    vf sum[CHAINS];
    TT_UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = vf_set(0.0f);
    add_row(add, a, b, n, vf_set(c), beyond, sum);
    return vf_sum(total_of(sum));
}

TT_INLINE vf add_element(vf sum, vf a, vf b, vf c)
{
    (void)b, (void)c;
    return vf_add(sum, a);
}

TT_INLINE vf add_product(vf sum, vf a, vf b, vf c)
{
    (void)c;
    return vf_fma(a, b, sum);
}

TT_INLINE vf add_centred_square(vf sum, vf a, vf b, vf mean)
{
    (void)b;
    vf d = vf_sub(a, mean);
    return vf_fma(d, d, sum);
}

#endif
