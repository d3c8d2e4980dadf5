#pragma once

#include <cmath>
#include <cstdint>

#include "lisa/cpu/avx512_lanes.hpp"
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/processor.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lisa::cpu {

/// A layer normalisation of rows in bf16 that rounds to bf16 after every step, as operators do that are called one
/// after the other: mean, difference, square, mean, + eps, root, quotient, * weight, + bias. Means are fp32 sums,
/// rounded, divided and rounded.
struct StepwiseLayerNorm {
  const Bf16Bits* x;       // [rows, width]
  const Bf16Bits* weight;  // [width]
  const Bf16Bits* bias;    // [width]
  Bf16Bits* y;             // [rows, width], may be x
  std::int64_t width;
  float eps;
};

/// Normalises the rows [begin, end).
using StepwiseLayerNormKernel = void (*)(const StepwiseLayerNorm& norm, std::int64_t begin, std::int64_t end);

namespace detail {

[[nodiscard]] inline float rounded(float value) { return to_float(to_bf16(value)); }

/// What a mean is whose sum is rounded before it is divided.
[[nodiscard]] inline float rounded_mean(float sum, std::int64_t width) {
  return rounded(rounded(sum) / static_cast<float>(width));
}

[[nodiscard]] inline float rounded_deviation(float squares, const StepwiseLayerNorm& norm) {
  return rounded(std::sqrt(rounded(rounded_mean(squares, norm.width) + norm.eps)));
}

}  // namespace detail

inline void stepwise_layer_norm_portable(const StepwiseLayerNorm& norm, std::int64_t begin, std::int64_t end) {
  using detail::rounded;
  for (std::int64_t row = begin; row < end; ++row) {
    const Bf16Bits* const x = norm.x + row * norm.width;
    Bf16Bits* const y = norm.y + row * norm.width;
    float sum = 0, squares = 0;
    for (std::int64_t i = 0; i < norm.width; ++i) sum += to_float(x[i]);
    const float centre = detail::rounded_mean(sum, norm.width);
    for (std::int64_t i = 0; i < norm.width; ++i) {
      const float centred = rounded(to_float(x[i]) - centre);
      squares += rounded(centred * centred);
    }
    const float deviation = detail::rounded_deviation(squares, norm);
    for (std::int64_t i = 0; i < norm.width; ++i) {
      const float quotient = rounded(rounded(to_float(x[i]) - centre) / deviation);
      y[i] = to_bf16(rounded(quotient * to_float(norm.weight[i])) + to_float(norm.bias[i]));
    }
  }
}

#if defined(__x86_64__)

namespace detail {

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq"), gnu::always_inline]] inline __m512 centred_lanes(
    const Bf16Bits* from, __m512 centre) {
  return rounded_lanes(_mm512_sub_ps(load_elements(from), centre));
}

}  // namespace detail

/// For widths that are a multiple of 16.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq")]] inline void stepwise_layer_norm_avx512(
    const StepwiseLayerNorm& norm, std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row) {
    const Bf16Bits* const x = norm.x + row * norm.width;
    Bf16Bits* const y = norm.y + row * norm.width;
    __m512 sums = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (std::int64_t i = 0; i < norm.width; i += 16) sums = _mm512_add_ps(sums, load_elements(x + i));
    const __m512 centre = _mm512_set1_ps(detail::rounded_mean(sum_of_lanes(sums), norm.width));
    for (std::int64_t i = 0; i < norm.width; i += 16) {
      const __m512 centred = detail::centred_lanes(x + i, centre);
      squares = _mm512_add_ps(squares, rounded_lanes(_mm512_mul_ps(centred, centred)));
    }
    const __m512 deviation = _mm512_set1_ps(detail::rounded_deviation(sum_of_lanes(squares), norm));
    for (std::int64_t i = 0; i < norm.width; i += 16) {
      const __m512 quotient = rounded_lanes(_mm512_div_ps(detail::centred_lanes(x + i, centre), deviation));
      const __m512 product = rounded_lanes(_mm512_mul_ps(quotient, load_elements(norm.weight + i)));
      store_rounded(y + i, 0xffff, _mm512_add_ps(product, load_elements(norm.bias + i)));
    }
  }
}

#endif

/// The normalisation that this processor can run faster than single operators do for rows of that width; nullptr for
/// none.
[[nodiscard]] inline StepwiseLayerNormKernel find_stepwise_layer_norm(std::int64_t width) {
#if defined(__x86_64__)
  if (has_avx512() && width % 16 == 0) return stepwise_layer_norm_avx512;
#endif
  return nullptr;
}

}  // namespace lisa::cpu
