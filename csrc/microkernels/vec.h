/* The vocabulary that kernels written once for every level use: a vector of VF_N floats and what can be
 * done with it. Compiled with the flags of one level, chosen by TT_LEVEL_AVX512, _AVX2, _NEON or _SCALAR.
 *
 *   vf_max(a, b) is a > b ? a : b, and vf_min(a, b) is a < b ? a : b: b where either is NaN, on every level.
 *   vf_fma(a, b, c) is a * b + c, fused where the CPU does that (everywhere but scalar).
 *   vf_load_n and vf_store_n touch n < VF_N floats; the lanes beyond are zero.
 *   vf_load_up_to and vf_store_up_to do the same for any n, a whole vector from VF_N on: for loops over rows.
 *   vf_load_or fills the lanes beyond with a value of choice.
 *   vf_power_of_two(n) is 2^n for whole n in [-126, 127]; vf_scale(a, n) is a * 2^n for whole n in [-252, 254].
 *   vf_where(m, a, b) takes a where the mask is set.
 *   vf_even(a, b) and vf_odd(a, b) are every other lane of a followed by b; vf_zip_low(even, odd) and
 *   vf_zip_high(even, odd) put them back in turns.
 *   vf_repeat(a, n) holds the first n lanes again and again, for n a power of two.
 *   vf_transpose(x) takes VF_N rows of a square to its columns; lane i of vf_sum_each(x) is the sum of x[i].
 *   vf_load_int8 and vf_load_int8_n make floats of int8 values. */
#ifndef TT_VEC_H
#define TT_VEC_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TT_JOIN_(a, b) a##_##b
#define TT_JOIN(a, b) TT_JOIN_(a, b)
#define TT_FOR_LEVEL(name) TT_JOIN(name, TT_LEVEL) /* tt_matmul -> tt_matmul_avx2 */

#if defined(_MSC_VER)
#define TT_INLINE static __forceinline
#define TT_UNROLL
#define TT_PREFETCH(p) ((void)(p))
#else
#define TT_PREFETCH(p) __builtin_prefetch(p) /* a hint: p need not be memory that exists */
#define TT_INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define TT_UNROLL _Pragma("clang loop unroll(full)") /* Clang takes GCC's pragma too late to keep arrays in registers */
#else
#define TT_UNROLL _Pragma("GCC unroll 16")
#endif
#endif

#if defined(TT_LEVEL_AVX512)

#include <immintrin.h>
enum { VF_N = 16 };
typedef __m512 vf;
typedef __mmask16 vmask;

TT_INLINE __mmask16 tt_first(size_t n) { return (__mmask16)((1u << n) - 1); }
TT_INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
TT_INLINE vf vf_load_n(const float *p, size_t n) { return _mm512_maskz_loadu_ps(tt_first(n), p); }
TT_INLINE vf vf_load_n_or(const float *p, size_t n, float fill)
{
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), tt_first(n), p);
}
TT_INLINE void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
TT_INLINE void vf_store_n(float *p, vf a, size_t n) { _mm512_mask_storeu_ps(p, tt_first(n), a); }
TT_INLINE vf vf_set(float a) { return _mm512_set1_ps(a); }
TT_INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
TT_INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
TT_INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
TT_INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
TT_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
TT_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
TT_INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
TT_INLINE vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
TT_INLINE vf vf_abs(vf a) { return _mm512_abs_ps(a); }
TT_INLINE vf vf_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
TT_INLINE vf vf_power_of_two(vf n) { return _mm512_scalef_ps(_mm512_set1_ps(1.0f), n); }
TT_INLINE vf vf_copy_sign(vf magnitude, vf sign)
{
    __m512i bit = _mm512_set1_epi32((int)0x80000000);
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(bit, _mm512_castps_si512(sign),
                                                         _mm512_castps_si512(magnitude), 0xca));
}
TT_INLINE vmask vf_less(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
TT_INLINE vmask vf_is_nan(vf a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
TT_INLINE vf vf_where(vmask m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }
TT_INLINE vf tt_pick(vf a, vf b, int first, int step, int in_pairs)
{
    int lane[16]; /* constants once this is inlined: one permutation */
    for (int i = 0; i < 16; i++) lane[i] = in_pairs ? first + i / 2 + i % 2 * 16 : first + i * step;
    return _mm512_permutex2var_ps(a, _mm512_loadu_si512(lane), b);
}
TT_INLINE vf vf_repeat(vf a, const size_t n)
{
    __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_permutexvar_ps(_mm512_and_si512(lane, _mm512_set1_epi32((int)n - 1)), a);
}
TT_INLINE vf vf_even(vf a, vf b) { return tt_pick(a, b, 0, 2, 0); }
TT_INLINE vf vf_odd(vf a, vf b) { return tt_pick(a, b, 1, 2, 0); }
TT_INLINE vf vf_zip_low(vf even, vf odd) { return tt_pick(even, odd, 0, 0, 1); }
TT_INLINE vf vf_zip_high(vf even, vf odd) { return tt_pick(even, odd, 8, 0, 1); }
TT_INLINE float vf_sum(vf a) { return _mm512_reduce_add_ps(a); }
TT_INLINE float vf_largest(vf a) { return _mm512_reduce_max_ps(a); }
TT_INLINE vf vf_load_int8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
TT_INLINE vf vf_load_int8_n(const int8_t *p, size_t n)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(tt_first(n), p)));
}
TT_INLINE vf tt_unpack_low(vf a, vf b)
{
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
TT_INLINE vf tt_unpack_high(vf a, vf b)
{
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
TT_INLINE vf tt_even_quarters(vf a, vf b) { return _mm512_shuffle_f32x4(a, b, 0x88); }
TT_INLINE vf tt_odd_quarters(vf a, vf b) { return _mm512_shuffle_f32x4(a, b, 0xdd); }
/* First inside each quarter of 4 x 4 elements, then the quarters among themselves. */
TT_INLINE void vf_transpose(vf x[16])
{
    vf t[16];
    TT_UNROLL for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    TT_UNROLL for (int i = 0; i < 16; i += 4) {
        x[i] = tt_unpack_low(t[i], t[i + 2]);
        x[i + 1] = tt_unpack_high(t[i], t[i + 2]);
        x[i + 2] = tt_unpack_low(t[i + 1], t[i + 3]);
        x[i + 3] = tt_unpack_high(t[i + 1], t[i + 3]);
    }
    TT_UNROLL for (int i = 0; i < 4; i++) {
        vf even_ab = tt_even_quarters(x[i], x[4 + i]), odd_ab = tt_odd_quarters(x[i], x[4 + i]);
        vf even_cd = tt_even_quarters(x[8 + i], x[12 + i]), odd_cd = tt_odd_quarters(x[8 + i], x[12 + i]);
        x[i] = tt_even_quarters(even_ab, even_cd);
        x[4 + i] = tt_even_quarters(odd_ab, odd_cd);
        x[8 + i] = tt_odd_quarters(even_ab, even_cd);
        x[12 + i] = tt_odd_quarters(odd_ab, odd_cd);
    }
}
TT_INLINE vf vf_sum_each(const vf x[16])
{
    vf s[8];
    TT_UNROLL for (int i = 0; i < 8; i++)
        s[i] = vf_add(_mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]), _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]));
    TT_UNROLL for (int i = 0; i < 4; i++)
        s[i] = vf_add(tt_unpack_low(s[2 * i], s[2 * i + 1]), tt_unpack_high(s[2 * i], s[2 * i + 1]));
    TT_UNROLL for (int i = 0; i < 2; i++)
        s[i] = vf_add(tt_even_quarters(s[2 * i], s[2 * i + 1]), tt_odd_quarters(s[2 * i], s[2 * i + 1]));
    return vf_add(tt_even_quarters(s[0], s[1]), tt_odd_quarters(s[0], s[1]));
}

#elif defined(TT_LEVEL_AVX2)

#include <immintrin.h>
enum { VF_N = 8 };
typedef __m256 vf;
typedef __m256 vmask;

TT_INLINE __m256i tt_first(size_t n)
{
    static const int32_t bits[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(bits + 8 - n));
}
TT_INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
TT_INLINE vf vf_load_n(const float *p, size_t n) { return _mm256_maskload_ps(p, tt_first(n)); }
TT_INLINE vf vf_load_n_or(const float *p, size_t n, float fill)
{
    __m256i first = tt_first(n);
    return _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(p, first), _mm256_castsi256_ps(first));
}
TT_INLINE void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
TT_INLINE void vf_store_n(float *p, vf a, size_t n) { _mm256_maskstore_ps(p, tt_first(n), a); }
TT_INLINE vf vf_set(float a) { return _mm256_set1_ps(a); }
TT_INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
TT_INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
TT_INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
TT_INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
TT_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
TT_INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
TT_INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
TT_INLINE vf vf_sqrt(vf a) { return _mm256_sqrt_ps(a); }
TT_INLINE vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
TT_INLINE vf vf_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
TT_INLINE vf vf_power_of_two(vf n)
{
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
TT_INLINE vf vf_copy_sign(vf magnitude, vf sign)
{
    __m256 bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_and_ps(bit, sign), _mm256_andnot_ps(bit, magnitude));
}
TT_INLINE vmask vf_less(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
TT_INLINE vmask vf_is_nan(vf a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
TT_INLINE vf vf_where(vmask m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }
TT_INLINE vf vf_repeat(vf a, const size_t n)
{
    __m256i lane = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    return _mm256_permutevar8x32_ps(a, _mm256_and_si256(lane, _mm256_set1_epi32((int)n - 1)));
}
TT_INLINE vf tt_in_order(vf halves) /* the shuffles below work in each half of the register */
{
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(halves), 0xd8));
}
TT_INLINE vf vf_even(vf a, vf b) { return tt_in_order(_mm256_shuffle_ps(a, b, 0x88)); }
TT_INLINE vf vf_odd(vf a, vf b) { return tt_in_order(_mm256_shuffle_ps(a, b, 0xdd)); }
TT_INLINE vf vf_zip_low(vf even, vf odd)
{
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(even, odd), _mm256_unpackhi_ps(even, odd), 0x20);
}
TT_INLINE vf vf_zip_high(vf even, vf odd)
{
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(even, odd), _mm256_unpackhi_ps(even, odd), 0x31);
}
TT_INLINE float vf_sum(vf a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
TT_INLINE float vf_largest(vf a)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
TT_INLINE vf vf_load_int8(const int8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
TT_INLINE vf vf_load_int8_n(const int8_t *p, size_t n)
{
    int8_t lanes[8] = {0};
    memcpy(lanes, p, n);
    return vf_load_int8(lanes);
}
/* First inside each quarter of 4 x 4 elements, then the quarters among themselves. */
TT_INLINE void vf_transpose(vf x[8])
{
    vf t[8];
    TT_UNROLL for (int i = 0; i < 8; i += 4) {
        vf low_ab = _mm256_unpacklo_ps(x[i], x[i + 1]), high_ab = _mm256_unpackhi_ps(x[i], x[i + 1]);
        vf low_cd = _mm256_unpacklo_ps(x[i + 2], x[i + 3]), high_cd = _mm256_unpackhi_ps(x[i + 2], x[i + 3]);
        t[i] = _mm256_shuffle_ps(low_ab, low_cd, 0x44);
        t[i + 1] = _mm256_shuffle_ps(low_ab, low_cd, 0xee);
        t[i + 2] = _mm256_shuffle_ps(high_ab, high_cd, 0x44);
        t[i + 3] = _mm256_shuffle_ps(high_ab, high_cd, 0xee);
    }
    TT_UNROLL for (int i = 0; i < 4; i++) {
        x[i] = _mm256_permute2f128_ps(t[i], t[4 + i], 0x20);
        x[4 + i] = _mm256_permute2f128_ps(t[i], t[4 + i], 0x31);
    }
}
TT_INLINE vf vf_sum_each(const vf x[8])
{
    vf low = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
    vf high = _mm256_hadd_ps(_mm256_hadd_ps(x[4], x[5]), _mm256_hadd_ps(x[6], x[7]));
    return vf_add(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
}

#elif defined(TT_LEVEL_NEON)

#include <arm_neon.h>
enum { VF_N = 4 };
typedef float32x4_t vf;
typedef uint32x4_t vmask;

TT_INLINE vf vf_load(const float *p) { return vld1q_f32(p); }
TT_INLINE vf vf_load_n(const float *p, size_t n)
{
    float lanes[4] = {0, 0, 0, 0};
    memcpy(lanes, p, n * sizeof(float));
    return vld1q_f32(lanes);
}
TT_INLINE vf vf_load_n_or(const float *p, size_t n, float fill)
{
    float lanes[4] = {fill, fill, fill, fill};
    memcpy(lanes, p, n * sizeof(float));
    return vld1q_f32(lanes);
}
TT_INLINE void vf_store(float *p, vf a) { vst1q_f32(p, a); }
TT_INLINE void vf_store_n(float *p, vf a, size_t n)
{
    float lanes[4];
    vst1q_f32(lanes, a);
    memcpy(p, lanes, n * sizeof(float));
}
TT_INLINE vf vf_set(float a) { return vdupq_n_f32(a); }
TT_INLINE vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
TT_INLINE vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
TT_INLINE vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
TT_INLINE vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
TT_INLINE vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
TT_INLINE vf vf_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
TT_INLINE vf vf_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
TT_INLINE vf vf_sqrt(vf a) { return vsqrtq_f32(a); }
TT_INLINE vf vf_abs(vf a) { return vabsq_f32(a); }
TT_INLINE vf vf_round(vf a) { return vrndnq_f32(a); }
TT_INLINE vf vf_power_of_two(vf n)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23));
}
TT_INLINE vf vf_copy_sign(vf magnitude, vf sign)
{
    return vbslq_f32(vdupq_n_u32(0x80000000u), sign, magnitude);
}
TT_INLINE vmask vf_less(vf a, vf b) { return vcltq_f32(a, b); }
TT_INLINE vmask vf_is_nan(vf a) { return vmvnq_u32(vceqq_f32(a, a)); }
TT_INLINE vf vf_where(vmask m, vf a, vf b) { return vbslq_f32(m, a, b); }
TT_INLINE vf vf_repeat(vf a, const size_t n)
{
    float32x2_t low = vget_low_f32(a);
    return n == 1 ? vdupq_n_f32(vgetq_lane_f32(a, 0)) : n == 2 ? vcombine_f32(low, low) : a;
}
TT_INLINE vf vf_even(vf a, vf b) { return vuzp1q_f32(a, b); }
TT_INLINE vf vf_odd(vf a, vf b) { return vuzp2q_f32(a, b); }
TT_INLINE vf vf_zip_low(vf even, vf odd) { return vzip1q_f32(even, odd); }
TT_INLINE vf vf_zip_high(vf even, vf odd) { return vzip2q_f32(even, odd); }
TT_INLINE float vf_sum(vf a) { return vaddvq_f32(a); }
TT_INLINE float vf_largest(vf a) { return vmaxvq_f32(a); }
TT_INLINE vf vf_load_int8_n(const int8_t *p, size_t n)
{
    int8_t lanes[8] = {0};
    memcpy(lanes, p, n);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(lanes)))));
}
TT_INLINE vf vf_load_int8(const int8_t *p) { return vf_load_int8_n(p, 4); }
TT_INLINE void vf_transpose(vf x[4])
{
    float32x4x2_t ab = vtrnq_f32(x[0], x[1]), cd = vtrnq_f32(x[2], x[3]);
    x[0] = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
    x[1] = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
    x[2] = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
    x[3] = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
}
TT_INLINE vf vf_sum_each(const vf x[4]) { return vpaddq_f32(vpaddq_f32(x[0], x[1]), vpaddq_f32(x[2], x[3])); }

#else

enum { VF_N = 1 };
typedef float vf;
typedef int vmask;

TT_INLINE vf vf_load(const float *p) { return *p; }
TT_INLINE vf vf_load_n(const float *p, size_t n) { return n ? *p : 0.0f; }
TT_INLINE vf vf_load_n_or(const float *p, size_t n, float fill) { return n ? *p : fill; }
TT_INLINE void vf_store(float *p, vf a) { *p = a; }
TT_INLINE void vf_store_n(float *p, vf a, size_t n) { if (n) *p = a; }
TT_INLINE vf vf_set(float a) { return a; }
TT_INLINE vf vf_add(vf a, vf b) { return a + b; }
TT_INLINE vf vf_sub(vf a, vf b) { return a - b; }
TT_INLINE vf vf_mul(vf a, vf b) { return a * b; }
TT_INLINE vf vf_div(vf a, vf b) { return a / b; }
TT_INLINE vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
TT_INLINE vf vf_max(vf a, vf b) { return a > b ? a : b; }
TT_INLINE vf vf_min(vf a, vf b) { return a < b ? a : b; }
TT_INLINE vf vf_sqrt(vf a) { return sqrtf(a); }
TT_INLINE vf vf_abs(vf a) { return fabsf(a); }
TT_INLINE vf vf_round(vf a) { return rintf(a); }
TT_INLINE vf vf_power_of_two(vf n)
{
    /* Through int64: a NaN or an overlarge n is the caller's mistake, but must not be undefined here. */
    uint32_t bits = (n >= -126.0f && n <= 127.0f) ? (uint32_t)((int32_t)n + 127) << 23 : 0x7fc00000u;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}
TT_INLINE vf vf_copy_sign(vf magnitude, vf sign) { return copysignf(magnitude, sign); }
TT_INLINE vmask vf_less(vf a, vf b) { return a < b; }
TT_INLINE vmask vf_is_nan(vf a) { return a != a; }
TT_INLINE vf vf_where(vmask m, vf a, vf b) { return m ? a : b; }
TT_INLINE vf vf_repeat(vf a, const size_t n) { (void)n; return a; }
TT_INLINE vf vf_even(vf a, vf b) { (void)b; return a; }
TT_INLINE vf vf_odd(vf a, vf b) { (void)a; return b; }
TT_INLINE vf vf_zip_low(vf even, vf odd) { (void)odd; return even; }
TT_INLINE vf vf_zip_high(vf even, vf odd) { (void)even; return odd; }
TT_INLINE float vf_sum(vf a) { return a; }
TT_INLINE float vf_largest(vf a) { return a; }
TT_INLINE vf vf_load_int8(const int8_t *p) { return (float)*p; }
TT_INLINE vf vf_load_int8_n(const int8_t *p, size_t n) { return n ? (float)*p : 0.0f; }
TT_INLINE void vf_transpose(vf x[1]) { (void)x; }
TT_INLINE vf vf_sum_each(const vf x[1]) { return x[0]; }

#endif

/* Asks for a line of memory that is needed soon; any address will do. */
TT_INLINE void vf_prefetch(const float *p)
{
#if !defined(_MSC_VER)
    __builtin_prefetch(p);
#elif defined(_M_X64)
    _mm_prefetch((const char *)p, _MM_HINT_T0);
#else
    (void)p;
#endif
}

TT_INLINE vf vf_load_up_to(const float *p, size_t n) { return n >= VF_N ? vf_load(p) : vf_load_n(p, n); }
TT_INLINE vf vf_load_or(const float *p, size_t n, float fill)
{
    return n >= VF_N ? vf_load(p) : vf_load_n_or(p, n, fill);
}
TT_INLINE void vf_store_up_to(float *p, vf a, size_t n)
{
    if (n >= VF_N)
        vf_store(p, a);
    else
        vf_store_n(p, a, n);
}

/* ---- the functions that activations and softmax are made of ---- */

#if defined(TT_LEVEL_AVX512)
TT_INLINE vf vf_scale(vf a, vf n) { return _mm512_scalef_ps(a, n); }
#else
TT_INLINE vf vf_scale(vf a, vf n) /* in two factors, since n may lie beyond the exponents of one float */
{
    vf half = vf_round(vf_mul(n, vf_set(0.5f)));
    return vf_mul(vf_mul(a, vf_power_of_two(half)), vf_power_of_two(vf_sub(n, half)));
}
#endif

/* e^(x - n ln 2) for |x - n ln 2| <= ln 2 / 2. ln 2 is split in two so that the difference is exact to the
 * last bit (Cody and Waite); its exponential is 1 + r and a polynomial fitted to the smallest relative error. */
TT_INLINE vf tt_exp_fraction(vf x, vf n)
{
    vf r = vf_fma(n, vf_set(-0x1.62e400p-1f), x);
    r = vf_fma(n, vf_set(-0x1.7f7d1cp-20f), r);
    vf p = vf_set(0x1.6a4508p-10f);
    p = vf_fma(p, r, vf_set(0x1.1239aap-7f));
    p = vf_fma(p, r, vf_set(0x1.5558b8p-5f));
    p = vf_fma(p, r, vf_set(0x1.555492p-3f));
    p = vf_fma(p, r, vf_set(0x1.fffffcp-2f));
    p = vf_fma(p, r, vf_set(1.0f));
    return vf_fma(p, r, vf_set(1.0f));
}

/* e^x with an error below 2 ulp; 0 below -104, infinite above 88.8, NaN stays NaN. x = n ln 2 + r, so
 * e^x = 2^n e^r. */
TT_INLINE vf vf_exp(vf x)
{
    x = vf_min(vf_set(89.0f), vf_max(vf_set(-104.0f), x));
    vf n = vf_round(vf_mul(x, vf_set(1.44269504f)));
    return vf_scale(tt_exp_fraction(x, n), n);
}

/* e^x for the x <= 0 of a softmax: 0 below -87, where the result would leave the normal floats. */
TT_INLINE vf vf_exp_negative(vf x)
{
    vf bounded = vf_max(vf_set(-87.0f), x);
    vf n = vf_round(vf_mul(bounded, vf_set(1.44269504f)));
    vf result = vf_mul(tt_exp_fraction(bounded, n), vf_power_of_two(n));
    return vf_where(vf_less(x, vf_set(-87.0f)), vf_set(0.0f), result);
}

/* 1 / (1 + e^-x) */
TT_INLINE vf vf_sigmoid(vf x)
{
    return vf_div(vf_set(1.0f), vf_add(vf_set(1.0f), vf_exp(vf_sub(vf_set(0.0f), x))));
}

/* 2^x - 1 for x in [-126, 127], precise near 0 too. x = n + f, and 2^x - 1 = 2^n (2^f - 1) + (2^n - 1). The
 * rounding of x itself weighs |x| times as much in 2^x, so this suits functions that are flat where |x| is large. */
TT_INLINE vf tt_exp2_minus_1(vf x)
{
    vf n = vf_round(x), f = vf_sub(x, n), whole = vf_power_of_two(n);
    vf p = vf_set(0.00015382086f);
    p = vf_fma(p, f, vf_set(0.0013387384f));
    p = vf_fma(p, f, vf_set(0.009618311f));
    p = vf_fma(p, f, vf_set(0.055503674f));
    p = vf_fma(p, f, vf_set(0.24022649f));
    p = vf_fma(p, f, vf_set(0.6931472f));
    return vf_fma(whole, vf_mul(p, f), vf_sub(whole, vf_set(1.0f)));
}

/* The hyperbolic tangent with an error below 4 ulp: (e^2a - 1) / (e^2a + 1) for a = |x|, which is 1 in float32
 * from 9.02 on. */
TT_INLINE vf vf_tanh(vf x)
{
    vf a = vf_min(vf_set(9.02f), vf_abs(x));
    vf e = tt_exp2_minus_1(vf_mul(a, vf_set(2 * 1.44269504f)));
    return vf_copy_sign(vf_div(e, vf_add(e, vf_set(2.0f))), x);
}

/* The error function with an error below 4 ulp, in two steps: 1 - erf(|x|) is 2 to the power of
 * vf_erf_exponent(x) = -a w(a) for a = |x|. w is smooth; here it is a polynomial fitted on [0, 4] to the smallest
 * relative error of erf. Beyond, erf is 1 in float32. */
TT_INLINE vf vf_erf_exponent(vf x)
{
    vf a = vf_min(vf_set(4.0f), vf_abs(x));
    vf w = vf_set(5.975818e-05f);
    w = vf_fma(w, a, vf_set(-0.0005573753f));
    w = vf_fma(w, a, vf_set(0.0018282059f));
    w = vf_fma(w, a, vf_set(0.00026508092f));
    w = vf_fma(w, a, vf_set(-0.0278522f));
    w = vf_fma(w, a, vf_set(0.14832157f));
    w = vf_fma(w, a, vf_set(0.9184447f));
    w = vf_fma(w, a, vf_set(1.627907f));
    return vf_mul(vf_sub(vf_set(0.0f), a), w);
}

TT_INLINE vf vf_erf_of_exponent(vf x, vf exponent) { return vf_copy_sign(tt_exp2_minus_1(exponent), x); }

#endif
