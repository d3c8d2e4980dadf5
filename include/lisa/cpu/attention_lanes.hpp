#pragma once

#include <array>
#include <cstdint>

#include "lisa/cpu/avx512_lanes.hpp"
#include "lisa/cpu/bfloat16.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

/// What the attention kernels do with single AVX-512 registers.
namespace lisa::cpu::detail {

/// One AVX-512 register in memory: 16 lanes of 32 bits, each an fp32 value or two neighbouring bf16 values.
struct alignas(64) Line {
  std::array<std::uint32_t, 16> lanes;
};

inline constexpr std::int64_t line_lanes = 16;

// A function that uses AVX-512 has the same attribute as its callers, or it would not be inlined into them. The zeroing
// forms of some intrinsics stand where g++ 12 warns of an uninitialised value in the plain ones.

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] inline __m512 load_floats(
    const Line& line) {
  return _mm512_load_ps(line.lanes.data());
}

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] inline void store_floats(
    Line& line, __m512 value) {
  _mm512_store_ps(line.lanes.data(), value);
}

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] inline __m512 larger(__m512 a,
                                                                                                          __m512 b) {
  return _mm512_maskz_max_ps(0xffff, a, b);
}

/// Largest of all lanes.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] inline float largest_of_lanes(
    __m512 v) {
  v = larger(v, _mm512_maskz_shuffle_f32x4(0xffff, v, v, 0x4e));
  v = larger(v, _mm512_maskz_shuffle_f32x4(0xffff, v, v, 0xb1));
  v = larger(v, _mm512_maskz_permute_ps(0xffff, v, 0x4e));
  v = larger(v, _mm512_maskz_permute_ps(0xffff, v, 0xb1));
  return _mm512_cvtss_f32(v);
}

/// What the kernel has to know of an element type.
template <class Element>
struct AttentionElement;

template <>
struct AttentionElement<Bf16Bits> {
  static constexpr std::int64_t per_lane = 2;

  /// sum + products of the pairs in each lane.
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] static __m512 multiply_add(
      __m512 sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }

  /// 2^x with a relative error below 1e-4, a twentieth of bf16's rounding. NaN stays NaN, -infinity gives 0.
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] static __m512 exp2(__m512 x) {
    const __m512 f = _mm512_maskz_reduce_ps(0xffff, x, 1);  // x - floor(x)
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(7.802452e-2F), f, _mm512_set1_ps(2.2606716e-1F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9583354e-1F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.9992522e-1F));
    return _mm512_maskz_scalef_ps(0xffff, p, x);
  }
};

template <>
struct AttentionElement<float> {
  static constexpr std::int64_t per_lane = 1;

  /// sum + products of each lane.
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] static __m512 multiply_add(
      __m512 sum, __m512i a, __m512i b) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
  }

  /// 2^x with a relative error below 2e-7. NaN stays NaN, -infinity gives 0.
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] static __m512 exp2(__m512 x) {
    const __m512 f = _mm512_maskz_reduce_ps(0xffff, x, 1);  // x - floor(x)
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(1.8775767e-3F), f, _mm512_set1_ps(8.98934e-3F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5826318e-2F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4015362e-1F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9315307e-1F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.9999993e-1F));
    return _mm512_maskz_scalef_ps(0xffff, p, x);
  }
};

/// e^x with a relative error below 1e-6 for the x of a softmax that count.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), gnu::always_inline]] inline __m512 exp_lanes(__m512 x) {
  return AttentionElement<float>::exp2(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F)));
}

}  // namespace lisa::cpu::detail

#endif
