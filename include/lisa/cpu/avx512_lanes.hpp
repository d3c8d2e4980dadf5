#pragma once

#include <algorithm>
#include <cstdint>

#include "lisa/cpu/bfloat16.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/// What several kernels do with single AVX-512 registers.
namespace lisa::cpu {

/// Elements in 32 bits, which the products take together. @tparam Element Bf16Bits or float
template <class Element>
inline constexpr std::int64_t elements_of_lane = 4 / sizeof(Element);

#if defined(__x86_64__)

// A function that uses AVX-512 needs no instruction that its callers may not use, or it would not be inlined into them.
// The zeroing forms of some intrinsics stand where g++ 12 warns of an uninitialised value in the plain ones.

/// 16 elements as fp32.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline __m512 load_elements(
    const float* from) {
  return _mm512_loadu_ps(from);
}
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline __m512 load_elements(
    const Bf16Bits* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, _mm512_maskz_cvtepu16_epi32(0xffff, bits), 16));
}

/// The same for those of a mask; 0 in the other lanes.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline __m512 load_elements(const float* from,
                                                                                                      __mmask16 mask) {
  return _mm512_maskz_loadu_ps(mask, from);
}
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline __m512 load_elements(
    const Bf16Bits* from, __mmask16 mask) {
  const __m256i bits = _mm256_maskz_loadu_epi16(mask, from);
  return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, _mm512_maskz_cvtepu16_epi32(0xffff, bits), 16));
}

/// 16 lanes from memory, of which the first `count` elements, at least one, exist; zeros behind them.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline __m512i load_lanes(
    const Bf16Bits* from, std::int64_t count) {
  return _mm512_maskz_loadu_epi16(~__mmask32{0} >> (32 - std::min<std::int64_t>(32, count)), from);
}

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline __m512i load_lanes(
    const float* from, std::int64_t count) {
  return _mm512_maskz_loadu_epi32(static_cast<__mmask16>(0xffffU >> (16 - std::min<std::int64_t>(16, count))), from);
}

/// Adds the products of each lane. Written as instructions: from the intrinsics, GCC 12 makes copies of the sums in
/// memory.
template <class Element>
[[gnu::target("avx512f,avx512bf16"), gnu::always_inline]] inline void add_lane_products(__m512& sums, __m512i weights,
                                                                                        __m512i inputs) {
  if constexpr (elements_of_lane<Element> == 2)
    asm("vdpbf16ps %2, %1, %0" : "+v"(sums) : "v"(weights), "v"(inputs));
  else
    asm("vfmadd231ps %2, %1, %0" : "+v"(sums) : "v"(weights), "v"(inputs));
}

/// Adds the sum of four products to each lane, of unsigned bytes of weights and signed ones of inputs. An instruction
/// for the same reason.
[[gnu::target("avx512f,avx512vnni"), gnu::always_inline]] inline void add_byte_products(__m512i& sums, __m512i weights,
                                                                                        __m512i inputs) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(weights), "v"(inputs));
}

/// Sum of all lanes.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline float sum_of_lanes(__m512 v) {
  v = _mm512_add_ps(v, _mm512_maskz_permute_ps(0xffff, v, 0x4e));
  v = _mm512_add_ps(v, _mm512_maskz_permute_ps(0xffff, v, 0xb1));
  v = _mm512_add_ps(v, _mm512_maskz_shuffle_f32x4(0xffff, v, v, 0x4e));
  v = _mm512_add_ps(v, _mm512_maskz_shuffle_f32x4(0xffff, v, v, 0xb1));
  return _mm512_cvtss_f32(v);
}

/// The same, to the bit, of four registers with a third of the instructions.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline __m128 sums_of_lanes(
    const __m512 (&v)[4]) {
  __m512 pairs[2];
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i)
    pairs[i] = _mm512_add_ps(_mm512_maskz_unpacklo_ps(0xffff, v[2 * i], v[2 * i + 1]),
                             _mm512_maskz_unpackhi_ps(0xffff, v[2 * i], v[2 * i + 1]));
  const __m512d a = _mm512_castps_pd(pairs[0]), b = _mm512_castps_pd(pairs[1]);
  __m512 all = _mm512_add_ps(_mm512_castpd_ps(_mm512_maskz_unpacklo_pd(0xff, a, b)),
                             _mm512_castpd_ps(_mm512_maskz_unpackhi_pd(0xff, a, b)));
  all = _mm512_add_ps(all, _mm512_maskz_shuffle_f32x4(0xffff, all, all, 0x4e));
  all = _mm512_add_ps(all, _mm512_maskz_shuffle_f32x4(0xffff, all, all, 0xb1));
  return _mm512_maskz_extractf32x4_ps(0xf, all, 0);
}

/// Stores the sums of all lanes of `Count` registers.
template <int Count>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline void store_sums_of_lanes(
    const __m512* v, float* to) {
  if constexpr (Count == 1) {
    *to = sum_of_lanes(*v);
  } else if constexpr (Count <= 4) {
    const __m128 sums = sums_of_lanes({v[0], v[1], v[Count == 2 ? 0 : 2], v[Count - 1]});
    _mm_mask_storeu_ps(to, static_cast<__mmask8>((1 << Count) - 1), sums);
  } else {
    store_sums_of_lanes<4>(v, to);
    store_sums_of_lanes<Count - 4>(v + 4, to + 4);
  }
}

/// Transposes 16 x 16 lanes of 32 bits: lane i of register k becomes lane k of register i.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline void transpose_lanes(
    __m512i (&r)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_maskz_unpacklo_epi32(0xffff, r[i], r[i + 1]);
    t[i + 1] = _mm512_maskz_unpackhi_epi32(0xffff, r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_maskz_unpacklo_epi64(0xff, t[i], t[i + 2]);
    r[i + 1] = _mm512_maskz_unpackhi_epi64(0xff, t[i], t[i + 2]);
    r[i + 2] = _mm512_maskz_unpacklo_epi64(0xff, t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_maskz_unpackhi_epi64(0xff, t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 16; i += 8)
#pragma GCC unroll 4
    for (int j = i; j < i + 4; ++j) {
      t[j] = _mm512_maskz_shuffle_i32x4(0xffff, r[j], r[j + 4], 0x88);
      t[j + 4] = _mm512_maskz_shuffle_i32x4(0xffff, r[j], r[j + 4], 0xdd);
    }
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    r[j] = _mm512_maskz_shuffle_i32x4(0xffff, t[j], t[j + 8], 0x88);
    r[j + 8] = _mm512_maskz_shuffle_i32x4(0xffff, t[j], t[j + 8], 0xdd);
  }
}

/// Each lane as the nearest bf16 value, ties to even; every NaN becomes the quiet one, as `to_bf16`.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline __m512 rounded_lanes(__m512 values) {
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i odd = _mm512_and_si512(_mm512_maskz_srli_epi32(0xffff, bits, 16), _mm512_set1_epi32(1));
  const __m512i raised = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  const __m512i rounded = _mm512_and_si512(raised, _mm512_set1_epi32(static_cast<int>(0xffff0000U)));
  return _mm512_castsi512_ps(
      _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc00000)));
}

/// Stores the lanes of a mask.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline void store_rounded(float* to,
                                                                                                    __mmask16 mask,
                                                                                                    __m512 values) {
  _mm512_mask_storeu_ps(to, mask, values);
}

/// Stores the lanes of a mask as `rounded_lanes` gives them.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline void store_rounded(Bf16Bits* to,
                                                                                                    __mmask16 mask,
                                                                                                    __m512 values) {
  const __m512i upper = _mm512_maskz_srli_epi32(0xffff, _mm512_castps_si512(rounded_lanes(values)), 16);
  _mm256_mask_storeu_epi16(to, mask, _mm512_maskz_cvtepi32_epi16(0xffff, upper));
}

#endif

}  // namespace lisa::cpu
