#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "lisa/cpu/processor.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lisa::cpu {

/// The samples that one coordinate of an interpolated axis is a weighted sum of. Where only two are read, the last
/// repeats the first with weight 0, so that a NaN reaches exactly the values that it reaches in two interpolations.
struct SampleTaps {
  std::array<std::int32_t, 3> index;
  std::array<float, 3> weight;
};

namespace detail {

/// Bilinear interpolation along one axis without aligned corners, in the arithmetic of ATen's upsample_bilinear2d.
struct LinearSample {
  std::int32_t low, high;
  float low_weight, high_weight;
};

[[nodiscard]] inline LinearSample linear_sample(std::int64_t at, std::int64_t from, std::int64_t to) {
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  const float real = std::max(0.0F, std::fma(scale, static_cast<float>(at) + 0.5F, -0.5F));
  const auto low = static_cast<std::int32_t>(std::min(static_cast<std::int64_t>(real), from - 1));
  const float weight = std::clamp(real - static_cast<float>(low), 0.0F, 1.0F);
  return {low, low < from - 1 ? low + 1 : low, 1.0F - weight, weight};
}

}  // namespace detail

/// Two bilinear interpolations of an axis in one: `samples` to `square`, of which the first `part` go on to `out`.
/// @return [out]; nothing where a value depends on more than three samples, which happens only if square < samples
[[nodiscard]] inline std::optional<std::vector<SampleTaps>> twice_interpolated(std::int64_t samples,
                                                                               std::int64_t square, std::int64_t part,
                                                                               std::int64_t out) {
  std::vector<SampleTaps> taps;
  taps.reserve(static_cast<std::size_t>(out));
  for (std::int64_t at = 0; at < out; ++at) {
    const detail::LinearSample second = detail::linear_sample(at, part, out);
    const detail::LinearSample low = detail::linear_sample(second.low, samples, square);
    const detail::LinearSample high = detail::linear_sample(second.high, samples, square);
    if (high.high - low.low > 2) return std::nullopt;
    std::array<double, 3> weight{};
    const auto add = [&](std::int32_t index, double outer, double inner) {
      weight[static_cast<std::size_t>(index - low.low)] += outer * inner;
    };
    add(low.low, second.low_weight, low.low_weight);
    add(low.high, second.low_weight, low.high_weight);
    add(high.low, second.high_weight, high.low_weight);
    add(high.high, second.high_weight, high.high_weight);
    SampleTaps tap{};
    for (std::int32_t i = 0; i < 3; ++i) {
      const auto k = static_cast<std::size_t>(i);
      tap.index[k] = low.low + i <= high.high ? low.low + i : low.low;
      tap.weight[k] = static_cast<float>(weight[k]);
    }
    taps.push_back(tap);
  }
  return taps;
}

/// Samples that lie beside each other, prepared for 16 outputs at a time.
struct StretchGroup {
  alignas(64) std::array<std::array<std::int32_t, 16>, 3> index;  ///< relative to `base`
  alignas(64) std::array<std::array<float, 16>, 3> weight;
  std::int32_t base;
  std::int32_t span;  ///< largest index + 1
};

/// The taps of a row, in groups; outputs behind the last have weight 0.
[[nodiscard]] inline std::vector<StretchGroup> stretch_groups(const std::vector<SampleTaps>& taps) {
  std::vector<StretchGroup> groups((taps.size() + 15) / 16);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    StretchGroup& group = groups[g];
    group = {};
    const std::size_t count = std::min<std::size_t>(16, taps.size() - g * 16);
    group.base = taps[g * 16].index[0];  // indices never fall
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t k = 0; k < 3; ++k) {
        group.index[k][i] = taps[g * 16 + i].index[k] - group.base;
        group.weight[k][i] = taps[g * 16 + i].weight[k];
        group.span = std::max(group.span, group.index[k][i] + 1);
      }
  }
  return groups;
}

/// The inner loops of `MaskUpsampling`.
struct MaskRowKernels {
  /// Writes 16 values for each group; `row` has 16 readable values behind its last.
  void (*stretch)(const StretchGroup* groups, std::int64_t count, const float* row, float* out);
  /// Bit i of the words is rows[0][i] * weight[0] + rows[1][i] * weight[1] + rows[2][i] * weight[2] > threshold.
  void (*threshold)(const std::array<const float*, 3>& rows, const std::array<float, 3>& weight, float threshold,
                    std::int64_t words, std::uint64_t* out);
};

namespace detail {

/// Inlined into its callers, that each may use the instructions of its own target.
[[gnu::always_inline]] inline void stretch(const StretchGroup& group, const float* row, float* out) {
  const float* const from = row + group.base;
  for (std::size_t i = 0; i < 16; ++i)
    out[i] = from[group.index[0][i]] * group.weight[0][i] + from[group.index[1][i]] * group.weight[1][i] +
             from[group.index[2][i]] * group.weight[2][i];
}

}  // namespace detail

inline void stretch_portable(const StretchGroup* groups, std::int64_t count, const float* row, float* out) {
  for (std::int64_t g = 0; g < count; ++g) detail::stretch(groups[g], row, out + 16 * g);
}

inline void threshold_portable(const std::array<const float*, 3>& rows, const std::array<float, 3>& weight,
                               float threshold, std::int64_t words, std::uint64_t* out) {
  for (std::int64_t word = 0; word < words; ++word) {
    std::uint64_t bits = 0;
    for (int i = 0; i < 64; ++i) {
      const std::int64_t x = word * 64 + i;
      const float value = rows[0][x] * weight[0] + rows[1][x] * weight[1] + rows[2][x] * weight[2];
      bits |= static_cast<std::uint64_t>(value > threshold) << i;
    }
    out[word] = bits;
  }
}

#if defined(__x86_64__)

[[gnu::target("avx2,fma")]] inline void stretch_avx2(const StretchGroup* groups, std::int64_t count, const float* row,
                                                     float* out) {
  for (std::int64_t g = 0; g < count; ++g) detail::stretch(groups[g], row, out + 16 * g);
}

[[gnu::target("avx2,fma")]] inline void threshold_avx2(const std::array<const float*, 3>& rows,
                                                       const std::array<float, 3>& weight, float threshold,
                                                       std::int64_t words, std::uint64_t* out) {
  const __m256 w0 = _mm256_set1_ps(weight[0]), w1 = _mm256_set1_ps(weight[1]), w2 = _mm256_set1_ps(weight[2]);
  const __m256 limit = _mm256_set1_ps(threshold);
  for (std::int64_t word = 0; word < words; ++word) {
    std::uint64_t bits = 0;
    for (int i = 0; i < 64; i += 8) {
      const std::int64_t x = word * 64 + i;
      __m256 value = _mm256_mul_ps(_mm256_loadu_ps(rows[0] + x), w0);
      value = _mm256_fmadd_ps(_mm256_loadu_ps(rows[1] + x), w1, value);
      value = _mm256_fmadd_ps(_mm256_loadu_ps(rows[2] + x), w2, value);
      const int above = _mm256_movemask_ps(_mm256_cmp_ps(value, limit, _CMP_GT_OQ));
      bits |= static_cast<std::uint64_t>(static_cast<std::uint32_t>(above)) << i;
    }
    out[word] = bits;
  }
}

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq")]] inline void stretch_avx512(const StretchGroup* groups,
                                                                                 std::int64_t count, const float* row,
                                                                                 float* out) {
  for (std::int64_t g = 0; g < count; ++g, out += 16) {
    const StretchGroup& group = groups[g];
    if (group.span > 16) {  // a picture narrower than the samples: few outputs
      detail::stretch(group, row, out);
      continue;
    }
    const __m512 from = _mm512_loadu_ps(row + group.base);
    __m512 sum = _mm512_mul_ps(_mm512_maskz_permutexvar_ps(0xffff, _mm512_load_si512(group.index[0].data()), from),
                               _mm512_load_ps(group.weight[0].data()));
    sum = _mm512_fmadd_ps(_mm512_maskz_permutexvar_ps(0xffff, _mm512_load_si512(group.index[1].data()), from),
                          _mm512_load_ps(group.weight[1].data()), sum);
    sum = _mm512_fmadd_ps(_mm512_maskz_permutexvar_ps(0xffff, _mm512_load_si512(group.index[2].data()), from),
                          _mm512_load_ps(group.weight[2].data()), sum);
    _mm512_storeu_ps(out, sum);
  }
}

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq")]] inline void threshold_avx512(
    const std::array<const float*, 3>& rows, const std::array<float, 3>& weight, float threshold, std::int64_t words,
    std::uint64_t* out) {
  const __m512 w0 = _mm512_set1_ps(weight[0]), w1 = _mm512_set1_ps(weight[1]), w2 = _mm512_set1_ps(weight[2]);
  const __m512 limit = _mm512_set1_ps(threshold);
  for (std::int64_t word = 0; word < words; ++word) {
    std::uint64_t bits = 0;
#pragma GCC unroll 4
    for (int i = 0; i < 64; i += 16) {
      const std::int64_t x = word * 64 + i;
      __m512 value = _mm512_mul_ps(_mm512_loadu_ps(rows[0] + x), w0);
      value = _mm512_fmadd_ps(_mm512_loadu_ps(rows[1] + x), w1, value);
      value = _mm512_fmadd_ps(_mm512_loadu_ps(rows[2] + x), w2, value);
      bits |= static_cast<std::uint64_t>(_mm512_cmp_ps_mask(value, limit, _CMP_GT_OQ)) << i;
    }
    out[word] = bits;
  }
}

#endif

/// The kernels for this processor. They differ in which of their multiply-adds are fused.
[[nodiscard]] inline MaskRowKernels find_mask_row_kernels() {
#if defined(__x86_64__)
  if (has_avx512()) return {stretch_avx512, threshold_avx512};
  if (has_avx2()) return {stretch_avx2, threshold_avx2};
#endif
  return {stretch_portable, threshold_portable};
}

/// A mask's logits from their low resolution to a picture's size and over a threshold, as bits: the interpolation to
/// the padded square, the crop and the interpolation to the picture are one weighted sum of 3 x 3 samples, and no logit
/// of the picture is written.
///
/// The sums are rounded in another order than in two interpolations: a bit may differ from theirs only where the logit
/// is within 1e-6 times the largest of the samples of the threshold. NaN is background.
class MaskUpsampling {
 public:
  /// @param side        samples of the low resolution along each side
  /// @param square      side of the padded square
  /// @param part_height, part_width  the picture's part of the square
  /// @return nothing where the square is smaller than the low resolution
  [[nodiscard]] static std::optional<MaskUpsampling> make(std::int64_t side, std::int64_t square,
                                                          std::int64_t part_height, std::int64_t part_width,
                                                          std::int64_t height, std::int64_t width) {
    auto rows = twice_interpolated(side, square, part_height, height);
    const auto columns = twice_interpolated(side, square, part_width, width);
    if (!rows || !columns) return std::nullopt;
    MaskUpsampling made;
    made.side_ = side;
    made.rows_ = *std::move(rows);
    made.groups_ = stretch_groups(*columns);
    made.words_ = (width + 63) / 64;
    made.last_word_ = ~std::uint64_t{0} >> (made.words_ * 64 - width);
    return made;
  }

  /// 64-bit words of a row of bits.
  [[nodiscard]] std::int64_t words_per_row() const { return words_; }

  /// Computes the rows [begin, end) of the picture.
  /// @param samples [side, side]
  /// @param out     words of row `begin`, of the picture's `words_per_row`; bits behind the width are 0
  void run(const MaskRowKernels& kernels, const float* samples, float threshold, std::int64_t begin, std::int64_t end,
           std::uint64_t* out) const {
    // Rows of samples at the picture's width, the last three that were needed.
    std::array<std::vector<float>, 3> stretched;
    std::array<std::int64_t, 3> held{-1, -1, -1};
    std::vector<float> padded(static_cast<std::size_t>(side_ + 16));
    for (auto& row : stretched) row.resize(static_cast<std::size_t>(words_ * 64));
    const auto count = static_cast<std::int64_t>(groups_.size());
    for (std::int64_t y = begin; y < end; ++y, out += words_) {
      const SampleTaps& taps = rows_[static_cast<std::size_t>(y)];
      std::array<const float*, 3> rows{};
      for (std::size_t k = 0; k < 3; ++k) {
        const std::int64_t index = taps.index[k];
        const auto slot = static_cast<std::size_t>(index % 3);
        if (held[slot] != index) {
          std::copy_n(samples + index * side_, side_, padded.data());
          kernels.stretch(groups_.data(), count, padded.data(), stretched[slot].data());
          held[slot] = index;
        }
        rows[k] = stretched[slot].data();
      }
      kernels.threshold(rows, taps.weight, threshold, words_, out);
      out[words_ - 1] &= last_word_;
    }
  }

 private:
  MaskUpsampling() = default;

  std::int64_t side_ = 0, words_ = 0;
  std::uint64_t last_word_ = 0;  ///< the bits of a row's last word that lie inside the width
  std::vector<SampleTaps> rows_;
  std::vector<StretchGroup> groups_;
};

}  // namespace lisa::cpu
