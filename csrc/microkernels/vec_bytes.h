/* What vec.h says about floats, for the 8-bit and 32-bit integers of quantized arrays.
 *
 *   vf_from_int(p)        VF_N int32 as floats, rounded to nearest even
 *   vf_from_uint8(p), vf_from_int8(p)   VF_N bytes as floats
 *   vf_to_bytes(p, a, z)  rounds a half to even, adds the whole numbers z, stores the low byte of each lane
 *   vi_load, vi_set, vi_store, vi_add, vi_max   VF_N int32
 *   vi_from_uint8(p), vi_from_int8(p)   VF_N bytes as int32
 *   vi_mul_byte(a, b)     the products of a, values of uint8, and b, values of int8
 *   vi_round(a)           a rounded half to even, as int32; vi_to_float the other way
 *   vf_from_half(p)       VF_N non-negative finite float16
 *   vi_load_bytes(p)      VF_N int32 from any address
 *   vf_from_nibble(a, t)  the t-th four bits of each lane less 8, as floats; t is a constant
 *   tt_transpose_16(...)  the transpose of 16 x 16 bytes */
#ifndef TT_VEC_BYTES_H
#define TT_VEC_BYTES_H

#include "microkernels/vec.h"

#if defined(TT_LEVEL_AVX512)

TT_INLINE vf vf_from_int(const int32_t *p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
typedef __m512i vi;
TT_INLINE vi vi_from_uint8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}
TT_INLINE vi vi_from_int8(const uint8_t *p)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p));
}
TT_INLINE vi vi_mul_byte(vi a, vi b) { return _mm512_madd_epi16(a, b); }
TT_INLINE vi vi_set(int32_t a) { return _mm512_set1_epi32(a); }
TT_INLINE vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
TT_INLINE vi vi_max(vi a, vi b) { return _mm512_max_epi32(a, b); }
TT_INLINE vi vi_load(const int32_t *p) { return _mm512_loadu_si512(p); }
TT_INLINE void vi_store(int32_t *p, vi a) { _mm512_storeu_si512(p, a); }
TT_INLINE vi vi_round(vf a) { return _mm512_cvtps_epi32(a); }
TT_INLINE vf vi_to_float(vi a) { return _mm512_cvtepi32_ps(a); }
TT_INLINE vi vi_half_bits(const uint8_t *p)
{
    return _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 13);
}
TT_INLINE vf vf_of_bits(vi a) { return _mm512_castsi512_ps(a); }
TT_INLINE vi vi_load_bytes(const uint8_t *p) { return _mm512_loadu_si512(p); }
TT_INLINE vf vf_from_nibble(vi a, const int t)
{
    /* The permutation reads no more than four bits of a lane. */
    return _mm512_permutexvar_ps(_mm512_srli_epi32(a, (unsigned)(4 * t)),
                                 _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7));
}
TT_INLINE void vf_to_bytes(uint8_t *p, vf a, vi z)
{
    __m512i sum = vi_add(vi_round(a), z);
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(sum));
}

#elif defined(TT_LEVEL_AVX2)

TT_INLINE vf vf_from_int(const int32_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)p));
}
typedef __m256i vi;
TT_INLINE vi vi_from_uint8(const uint8_t *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}
TT_INLINE vi vi_from_int8(const uint8_t *p)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p));
}
TT_INLINE vi vi_mul_byte(vi a, vi b) { return _mm256_madd_epi16(a, b); }
TT_INLINE vi vi_set(int32_t a) { return _mm256_set1_epi32(a); }
TT_INLINE vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
TT_INLINE vi vi_max(vi a, vi b) { return _mm256_max_epi32(a, b); }
TT_INLINE vi vi_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
TT_INLINE void vi_store(int32_t *p, vi a) { _mm256_storeu_si256((__m256i *)p, a); }
TT_INLINE vi vi_round(vf a) { return _mm256_cvtps_epi32(a); }
TT_INLINE vf vi_to_float(vi a) { return _mm256_cvtepi32_ps(a); }
TT_INLINE vi vi_half_bits(const uint8_t *p)
{
    return _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 13);
}
TT_INLINE vf vf_of_bits(vi a) { return _mm256_castsi256_ps(a); }
TT_INLINE vi vi_load_bytes(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
TT_INLINE vf vf_from_nibble(vi a, const int t)
{
    /* With its highest bit flipped a nibble is that number in two's complement. */
    vi flipped = _mm256_xor_si256(a, _mm256_set1_epi8((char)0x88));
    return vi_to_float(_mm256_srai_epi32(_mm256_slli_epi32(flipped, 28 - 4 * t), 28));
}
TT_INLINE void vf_to_bytes(uint8_t *p, vf a, vi z)
{
    __m256i low = _mm256_and_si256(vi_add(vi_round(a), z), _mm256_set1_epi32(0xff));
    __m128i shorts = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(shorts, shorts));
}

#elif defined(TT_LEVEL_NEON)

TT_INLINE vf vf_from_int(const int32_t *p) { return vcvtq_f32_s32(vld1q_s32(p)); }
typedef int32x4_t vi;
TT_INLINE vi vi_from_uint8(const uint8_t *p)
{
    uint32_t four;
    memcpy(&four, p, sizeof four);
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four))))));
}
TT_INLINE vi vi_from_int8(const uint8_t *p)
{
    uint32_t four;
    memcpy(&four, p, sizeof four);
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)))));
}
TT_INLINE vi vi_mul_byte(vi a, vi b) { return vmulq_s32(a, b); }
TT_INLINE vi vi_set(int32_t a) { return vdupq_n_s32(a); }
TT_INLINE vi vi_add(vi a, vi b) { return vaddq_s32(a, b); }
TT_INLINE vi vi_max(vi a, vi b) { return vmaxq_s32(a, b); }
TT_INLINE vi vi_load(const int32_t *p) { return vld1q_s32(p); }
TT_INLINE void vi_store(int32_t *p, vi a) { vst1q_s32(p, a); }
TT_INLINE vi vi_round(vf a) { return vcvtnq_s32_f32(a); }
TT_INLINE vf vi_to_float(vi a) { return vcvtq_f32_s32(a); }
TT_INLINE vi vi_half_bits(const uint8_t *p)
{
    return vreinterpretq_s32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 13));
}
TT_INLINE vf vf_of_bits(vi a) { return vreinterpretq_f32_s32(a); }
TT_INLINE vi vi_load_bytes(const uint8_t *p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }
TT_INLINE vf vf_from_nibble(vi a, const int t)
{
    /* With its highest bit flipped a nibble is that number in two's complement. */
    vi flipped = veorq_s32(a, vreinterpretq_s32_u8(vdupq_n_u8(0x88)));
    return vi_to_float(vshrq_n_s32(vshlq_s32(flipped, vdupq_n_s32(28 - 4 * t)), 28));
}
TT_INLINE void vf_to_bytes(uint8_t *p, vf a, vi z)
{
    uint16x4_t shorts = vmovn_u32(vreinterpretq_u32_s32(vi_add(vi_round(a), z)));
    uint32_t four = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(shorts, shorts))), 0);
    memcpy(p, &four, sizeof four);
}

#else

TT_INLINE vf vf_from_int(const int32_t *p) { return (float)*p; }
typedef int32_t vi;
TT_INLINE vi vi_from_uint8(const uint8_t *p) { return *p; }
TT_INLINE vi vi_from_int8(const uint8_t *p) { return *p < 128 ? *p : *p - 256; }
TT_INLINE vi vi_mul_byte(vi a, vi b) { return a * b; }
TT_INLINE vi vi_set(int32_t a) { return a; }
TT_INLINE vi vi_add(vi a, vi b) { return (vi)((uint32_t)a + (uint32_t)b); }
TT_INLINE vi vi_max(vi a, vi b) { return a > b ? a : b; }
TT_INLINE vi vi_load(const int32_t *p) { return *p; }
TT_INLINE void vi_store(int32_t *p, vi a) { *p = a; }
TT_INLINE vi vi_round(vf a) { return (int32_t)rintf(a); }
TT_INLINE vf vi_to_float(vi a) { return (float)a; }
TT_INLINE vi vi_half_bits(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return (int32_t)half << 13;
}
TT_INLINE vf vf_of_bits(vi a)
{
    float value;
    memcpy(&value, &a, sizeof value);
    return value;
}
TT_INLINE vi vi_load_bytes(const uint8_t *p)
{
    vi a;
    memcpy(&a, p, sizeof a);
    return a;
}
TT_INLINE vf vf_from_nibble(vi a, const int t) { return (float)((int)((uint32_t)a >> (4 * t) & 15) - 8); }
TT_INLINE void vf_to_bytes(uint8_t *p, vf a, vi z) { *p = (uint8_t)vi_add(vi_round(a), z); }

#endif

TT_INLINE vf vf_from_uint8(const uint8_t *p) { return vi_to_float(vi_from_uint8(p)); }
TT_INLINE vf vf_from_int8(const uint8_t *p) { return vi_to_float(vi_from_int8(p)); }

/* Exponent and mantissa moved to where a float32 has them are the same number divided by 2^112. */
TT_INLINE vf vf_from_half(const uint8_t *p) { return vf_mul(vf_of_bits(vi_half_bits(p)), vf_set(0x1p112f)); }

#if defined(TT_LEVEL_AVX2)
typedef __m128i tt_bytes16;
TT_INLINE tt_bytes16 tt_load16(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }
TT_INLINE void tt_store16(uint8_t *p, tt_bytes16 a) { _mm_storeu_si128((__m128i *)p, a); }
TT_INLINE tt_bytes16 tt_zip_low(tt_bytes16 a, tt_bytes16 b) { return _mm_unpacklo_epi8(a, b); }
TT_INLINE tt_bytes16 tt_zip_high(tt_bytes16 a, tt_bytes16 b) { return _mm_unpackhi_epi8(a, b); }
#elif defined(TT_LEVEL_NEON)
typedef uint8x16_t tt_bytes16;
TT_INLINE tt_bytes16 tt_load16(const uint8_t *p) { return vld1q_u8(p); }
TT_INLINE void tt_store16(uint8_t *p, tt_bytes16 a) { vst1q_u8(p, a); }
TT_INLINE tt_bytes16 tt_zip_low(tt_bytes16 a, tt_bytes16 b) { return vzip1q_u8(a, b); }
TT_INLINE tt_bytes16 tt_zip_high(tt_bytes16 a, tt_bytes16 b) { return vzip2q_u8(a, b); }
#endif

#if defined(TT_LEVEL_AVX512)
/* Rows first, first + 4, first + 8 and first + 12 of 16 bytes each. */
TT_INLINE __m512i tt_load_rows(const uint8_t *x, size_t stride, size_t first)
{
    x += first * stride;
    __m512i rows = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)x));
    rows = _mm512_inserti32x4(rows, _mm_loadu_si128((const __m128i *)(x + 4 * stride)), 1);
    rows = _mm512_inserti32x4(rows, _mm_loadu_si128((const __m128i *)(x + 8 * stride)), 2);
    return _mm512_inserti32x4(rows, _mm_loadu_si128((const __m128i *)(x + 12 * stride)), 3);
}

/* In each quarter, four columns of four rows; as columns, to rows first ... first + 3 of y. */
TT_INLINE void tt_store_columns(uint8_t *y, size_t stride, size_t first, __m512i quarters)
{
    __m512i gather = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i columns = _mm512_permutexvar_epi32(gather, quarters);
    y += first * stride;
    _mm_storeu_si128((__m128i *)y, _mm512_castsi512_si128(columns));
    _mm_storeu_si128((__m128i *)(y + stride), _mm512_extracti32x4_epi32(columns, 1));
    _mm_storeu_si128((__m128i *)(y + 2 * stride), _mm512_extracti32x4_epi32(columns, 2));
    _mm_storeu_si128((__m128i *)(y + 3 * stride), _mm512_extracti32x4_epi32(columns, 3));
}
#endif

/* y (16, 16) = x (16, 16) transposed. */
TT_INLINE void tt_transpose_16(const uint8_t *x, size_t x_stride, uint8_t *y, size_t y_stride)
{
#if defined(TT_LEVEL_AVX512)
    __m512i r0 = tt_load_rows(x, x_stride, 0), r1 = tt_load_rows(x, x_stride, 1);
    __m512i r2 = tt_load_rows(x, x_stride, 2), r3 = tt_load_rows(x, x_stride, 3);
    __m512i low = _mm512_unpacklo_epi8(r0, r1), high = _mm512_unpackhi_epi8(r0, r1);
    __m512i low_2 = _mm512_unpacklo_epi8(r2, r3), high_2 = _mm512_unpackhi_epi8(r2, r3);
    tt_store_columns(y, y_stride, 0, _mm512_unpacklo_epi16(low, low_2));
    tt_store_columns(y, y_stride, 4, _mm512_unpackhi_epi16(low, low_2));
    tt_store_columns(y, y_stride, 8, _mm512_unpacklo_epi16(high, high_2));
    tt_store_columns(y, y_stride, 12, _mm512_unpackhi_epi16(high, high_2));
#elif defined(TT_LEVEL_AVX2) || defined(TT_LEVEL_NEON)
    /* Zipping rows i and i + 8 moves one bit of the row number to the column number; four times moves all. */
    tt_bytes16 even[16], odd[16];
    TT_UNROLL for (int i = 0; i < 16; i++) even[i] = tt_load16(x + (size_t)i * x_stride);
    TT_UNROLL for (int round = 0; round < 2; round++) {
        TT_UNROLL for (int i = 0; i < 8; i++) {
            odd[2 * i] = tt_zip_low(even[i], even[i + 8]);
            odd[2 * i + 1] = tt_zip_high(even[i], even[i + 8]);
        }
        TT_UNROLL for (int i = 0; i < 8; i++) {
            even[2 * i] = tt_zip_low(odd[i], odd[i + 8]);
            even[2 * i + 1] = tt_zip_high(odd[i], odd[i + 8]);
        }
    }
    TT_UNROLL for (int i = 0; i < 16; i++) tt_store16(y + (size_t)i * y_stride, even[i]);
#else
    for (size_t i = 0; i < 16; i++)
        for (size_t j = 0; j < 16; j++) y[j * y_stride + i] = x[i * x_stride + j];
#endif
}

#endif
