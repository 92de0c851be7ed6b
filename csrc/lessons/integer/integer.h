/* What the integer steps of one CPU level share: a vector of LANES int32 sums, and two ways to add products.
 *
 *   vi_add_product(sum, a, b)   each lane: sum + a * b, for b one int8 for each lane
 *   vi_add_dot(sum, a, b)       each lane: sum + four products of bytes; a holds the four uint8 that all
 *                               lanes share, b (LANES, 4) int8 */
#ifndef TT_LESSONS_INTEGER_H
#define TT_LESSONS_INTEGER_H

#include "lessons/lessons.h"
#include "microkernels/vec.h"
#include "runtime/runtime.h"

tt_matmul_int8_lesson TT_FOR_LEVEL(tt_matmul_int8_vectorised), TT_FOR_LEVEL(tt_matmul_int8_grouped),
    TT_FOR_LEVEL(tt_matmul_int8_wide);

#if defined(TT_LEVEL_VNNI) || defined(TT_LEVEL_AVX512)

#include <immintrin.h>
enum { LANES = 16 };
/* Not __m512i: for sums of that type GCC 12 writes the stack around every dot product. */
#if defined(_MSC_VER)
typedef __m512i vi;
#else
typedef int vi __attribute__((vector_size(64)));
#endif
TT_INLINE vi vi_zero(void) { return (vi)_mm512_setzero_si512(); }
TT_INLINE vi vi_load(const int32_t *p) { return (vi)_mm512_loadu_si512(p); }
TT_INLINE void vi_store(int32_t *p, vi a) { _mm512_storeu_si512(p, (__m512i)a); }
TT_INLINE vi vi_add_product(vi sum, uint8_t a, const int8_t *b)
{
    __m512i wide = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)b));
    return (vi)_mm512_add_epi32((__m512i)sum, _mm512_mullo_epi32(_mm512_set1_epi32(a), wide));
}
TT_INLINE vi vi_add_dot(vi sum, uint32_t a, const int8_t *b)
{
    __m512i weights = _mm512_loadu_si512(b), four = _mm512_set1_epi32((int)a);
#if defined(TT_LEVEL_VNNI)
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, four, weights);
#else
    /* Even and odd bytes as int16, whose products are added in pairs. */
    __m512i even_b = _mm512_srai_epi16(_mm512_slli_epi16(weights, 8), 8);
    __m512i odd_b = _mm512_srai_epi16(weights, 8);
    __m512i even_a = _mm512_and_si512(four, _mm512_set1_epi16(0xff)), odd_a = _mm512_srli_epi16(four, 8);
    __m512i pairs = _mm512_add_epi32(_mm512_madd_epi16(even_a, even_b), _mm512_madd_epi16(odd_a, odd_b));
    return (vi)_mm512_add_epi32((__m512i)sum, pairs);
#endif
}

#elif defined(TT_LEVEL_AVX2)

#include <immintrin.h>
enum { LANES = 8 };
typedef __m256i vi;
TT_INLINE vi vi_zero(void) { return _mm256_setzero_si256(); }
TT_INLINE vi vi_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
TT_INLINE void vi_store(int32_t *p, vi a) { _mm256_storeu_si256((__m256i *)p, a); }
TT_INLINE vi vi_add_product(vi sum, uint8_t a, const int8_t *b)
{
    __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)b));
    return _mm256_add_epi32(sum, _mm256_mullo_epi32(_mm256_set1_epi32(a), wide));
}
TT_INLINE vi vi_add_dot(vi sum, uint32_t a, const int8_t *b)
{
    /* Even and odd bytes as int16, whose products are added in pairs. */
    __m256i weights = _mm256_loadu_si256((const __m256i *)b), four = _mm256_set1_epi32((int)a);
    __m256i even_b = _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8);
    __m256i odd_b = _mm256_srai_epi16(weights, 8);
    __m256i even_a = _mm256_and_si256(four, _mm256_set1_epi16(0xff)), odd_a = _mm256_srli_epi16(four, 8);
    __m256i pairs = _mm256_add_epi32(_mm256_madd_epi16(even_a, even_b), _mm256_madd_epi16(odd_a, odd_b));
    return _mm256_add_epi32(sum, pairs);
}

#elif defined(TT_LEVEL_NEON) || defined(TT_LEVEL_NEONDOT)

#include <arm_neon.h>
enum { LANES = 4 };
typedef int32x4_t vi;
TT_INLINE vi vi_zero(void) { return vdupq_n_s32(0); }
TT_INLINE vi vi_load(const int32_t *p) { return vld1q_s32(p); }
TT_INLINE void vi_store(int32_t *p, vi a) { vst1q_s32(p, a); }
TT_INLINE vi vi_add_product(vi sum, uint8_t a, const int8_t *b)
{
    int32_t four;
    memcpy(&four, b, sizeof four);
    int16x8_t wide = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
    return vmlal_s16(sum, vdup_n_s16(a), vget_low_s16(wide));
}
TT_INLINE vi vi_add_dot(vi sum, uint32_t a, const int8_t *b)
{
    int8x16_t weights = vld1q_s8(b);
#if defined(TT_LEVEL_NEONDOT)
    /* The instruction takes signed bytes: a = (a - 128) + 64 + 64. */
    int8x16_t less = vreinterpretq_s8_u32(vdupq_n_u32(a ^ 0x80808080u)), half = vdupq_n_s8(64);
    return vdotq_s32(vdotq_s32(vdotq_s32(sum, less, weights), half, weights), half, weights);
#else
    int16x8_t four = vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(a))));
    int16x8_t low = vmovl_s8(vget_low_s8(weights)), high = vmovl_s8(vget_high_s8(weights));
    int32x4_t pairs_low = vpaddq_s32(vmull_s16(vget_low_s16(four), vget_low_s16(low)),
                                     vmull_s16(vget_high_s16(four), vget_high_s16(low)));
    int32x4_t pairs_high = vpaddq_s32(vmull_s16(vget_low_s16(four), vget_low_s16(high)),
                                      vmull_s16(vget_high_s16(four), vget_high_s16(high)));
    return vaddq_s32(sum, vpaddq_s32(pairs_low, pairs_high));
#endif
}

#else

enum { LANES = 1 };
typedef int32_t vi;
TT_INLINE vi vi_zero(void) { return 0; }
TT_INLINE vi vi_load(const int32_t *p) { return *p; }
TT_INLINE void vi_store(int32_t *p, vi a) { *p = a; }
TT_INLINE vi vi_add_product(vi sum, uint8_t a, const int8_t *b) { return sum + a * *b; }
TT_INLINE vi vi_add_dot(vi sum, uint32_t a, const int8_t *b)
{
    uint8_t four[4];
    memcpy(four, &a, sizeof four);
    for (int t = 0; t < 4; t++) sum += four[t] * b[t];
    return sum;
}

#endif
#endif
