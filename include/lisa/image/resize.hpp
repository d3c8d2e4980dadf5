#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/parallel_rows.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lisa {

/// Antialiased interpolation filter, as Pillow defines it (the support grows with the reduction).
enum class Resample {
  bilinear,  ///< triangle of radius 1
  bicubic,   ///< Keys' cubic with a = -0.5, radius 2
};

namespace resize_detail {

inline constexpr int precision_bits = 22;  // 8-bit input, 2 bits of headroom, 32-bit sums (Pillow, Resample.c)

inline double radius(Resample filter) { return filter == Resample::bilinear ? 1.0 : 2.0; }

inline double weight(Resample filter, double x) {
  x = std::fabs(x);
  if (filter == Resample::bilinear) return x < 1.0 ? 1.0 - x : 0.0;
  constexpr double a = -0.5;
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

/// Fixed-point weights of a run of output positions along one axis.
struct Taps {
  int stride = 0;                   // weights reserved per output
  std::vector<int> first;           // first input position of each output
  std::vector<int> count;           // number of input positions of each output
  std::vector<std::int32_t> value;  // [outputs, stride]

  /// Multiply-adds of this pass over `lines` rows or columns of RGB pixels.
  [[nodiscard]] std::int64_t multiply_adds(std::int64_t lines) const {
    return lines * 3 * stride * static_cast<std::int64_t>(count.size());
  }
  [[nodiscard]] const std::int32_t* of(int output) const {
    return value.data() + static_cast<std::size_t>(output) * static_cast<std::size_t>(stride);
  }
};

/// Weights of outputs begin .. begin + outputs - 1 when `in` positions become `out`. The order of the floating-point
/// operations is Pillow's, so that every weight rounds to the same integer.
inline Taps make_taps(int in, int out, int begin, int outputs, Resample filter) {
  const double scale = static_cast<double>(in) / out;
  const double filter_scale = std::max(scale, 1.0);
  const double support = radius(filter) * filter_scale;
  const double inverse = 1.0 / filter_scale;
  Taps taps;
  taps.stride = std::min(static_cast<int>(std::ceil(support)) * 2 + 1, in);
  const auto size = static_cast<std::size_t>(outputs);
  taps.first.resize(size);
  taps.count.resize(size);
  taps.value.assign(size * static_cast<std::size_t>(taps.stride), 0);
  std::vector<double> weights(static_cast<std::size_t>(taps.stride));
  for (int o = 0; o < outputs; ++o) {
    const double center = (begin + o + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int count = std::min(in, static_cast<int>(center + support + 0.5)) - first;
    double sum = 0.0;
    for (int i = 0; i < count; ++i) {
      const double w = weight(filter, (i + first - center + 0.5) * inverse);
      weights[static_cast<std::size_t>(i)] = w;
      sum += w;
    }
    std::int32_t* value = taps.value.data() + static_cast<std::size_t>(o) * static_cast<std::size_t>(taps.stride);
    for (int i = 0; i < count; ++i) {
      double w = weights[static_cast<std::size_t>(i)];
      if (sum != 0.0) w /= sum;
      const double fixed = w * (1 << precision_bits);
      value[i] = static_cast<std::int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    taps.first[static_cast<std::size_t>(o)] = first;
    taps.count[static_cast<std::size_t>(o)] = count;
  }
  return taps;
}

inline constexpr std::int32_t half = 1 << (precision_bits - 1);

inline std::uint8_t to_byte(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> precision_bits, 0, 255));
}

/// One output row of RGB pixels from one input row of `width` pixels.
inline void horizontal_scalar(const std::uint8_t* in, int, const Taps& taps, int outputs, std::uint8_t* out) {
  for (int o = 0; o < outputs; ++o, out += 3) {
    const std::int32_t* value = taps.of(o);
    const std::uint8_t* pixel = in + static_cast<std::size_t>(taps.first[static_cast<std::size_t>(o)]) * 3;
    const int count = taps.count[static_cast<std::size_t>(o)];
    std::int32_t red = half, green = half, blue = half;
    for (int i = 0; i < count; ++i, pixel += 3) {
      red += pixel[0] * value[i];
      green += pixel[1] * value[i];
      blue += pixel[2] * value[i];
    }
    out[0] = to_byte(red);
    out[1] = to_byte(green);
    out[2] = to_byte(blue);
  }
}

/// `bytes` bytes of one output row from `count` input rows that lie `stride` bytes apart, starting at byte `begin`.
inline void vertical_scalar(const std::uint8_t* in, std::size_t stride, const std::int32_t* value, int count,
                            std::size_t begin, std::size_t bytes, std::uint8_t* out) {
  for (std::size_t x = begin; x < bytes; ++x) {
    std::int32_t sum = half;
    for (int i = 0; i < count; ++i) sum += in[static_cast<std::size_t>(i) * stride + x] * value[i];
    out[x] = to_byte(sum);
  }
}

#if defined(__x86_64__)

inline bool has_avx2() { return __builtin_cpu_supports("avx2") != 0; }

/// Sums of one output pixel in lanes 0..2 (and of a second tap in 4..6), clamped and stored as three bytes.
__attribute__((target("avx2"))) inline void store_pixel(__m256i sums, std::uint8_t* out) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  sum = _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(half)), precision_bits);
  sum = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
  const auto bytes = static_cast<std::uint32_t>(_mm_cvtsi128_si32(sum));
  out[0] = static_cast<std::uint8_t>(bytes);
  out[1] = static_cast<std::uint8_t>(bytes >> 8);
  out[2] = static_cast<std::uint8_t>(bytes >> 16);
}

__attribute__((target("avx2"))) inline void horizontal_avx2(const std::uint8_t* in, int width, const Taps& taps,
                                                            int outputs, std::uint8_t* out) {
  // Two pixels become [r g b 0 | r g b 0] 32-bit lanes; 16-byte loads hold four pixels and must end inside the row.
  const __m256i spread = _mm256_setr_epi8(0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, -1, -1, -1, -1, 3, -1, -1, -1, 4,
                                          -1, -1, -1, 5, -1, -1, -1, -1, -1, -1, -1);
  const __m256i next = _mm256_setr_epi8(6, -1, -1, -1, 7, -1, -1, -1, 8, -1, -1, -1, -1, -1, -1, -1, 9, -1, -1, -1, 10,
                                        -1, -1, -1, 11, -1, -1, -1, -1, -1, -1, -1);
  const std::uint8_t* const end = in + static_cast<std::size_t>(width) * 3;
  for (int o = 0; o < outputs; ++o, out += 3) {
    const std::int32_t* value = taps.of(o);
    const std::uint8_t* pixel = in + static_cast<std::size_t>(taps.first[static_cast<std::size_t>(o)]) * 3;
    const int count = taps.count[static_cast<std::size_t>(o)];
    __m256i low = _mm256_setzero_si256();
    __m256i high = _mm256_setzero_si256();
    int i = 0;
    for (; i + 4 <= count && end - pixel >= 16; i += 4, pixel += 12) {
      const __m256i four = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pixel)));
      const __m256i weights = _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(value + i)));
      const __m256i w01 = _mm256_permutevar8x32_epi32(weights, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
      const __m256i w23 = _mm256_permutevar8x32_epi32(weights, _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3));
      low = _mm256_add_epi32(low, _mm256_mullo_epi32(_mm256_shuffle_epi8(four, spread), w01));
      high = _mm256_add_epi32(high, _mm256_mullo_epi32(_mm256_shuffle_epi8(four, next), w23));
    }
    __m256i sums = _mm256_add_epi32(low, high);
    for (; i < count; ++i, pixel += 3) {
      const __m256i one = _mm256_setr_epi32(pixel[0], pixel[1], pixel[2], 0, 0, 0, 0, 0);
      sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(one, _mm256_set1_epi32(value[i])));
    }
    store_pixel(sums, out);
  }
}

__attribute__((target("avx2"))) inline void vertical_avx2(const std::uint8_t* in, std::size_t stride,
                                                          const std::int32_t* value, int count, std::size_t bytes,
                                                          std::uint8_t* out) {
  std::size_t x = 0;
  for (; x + 16 <= bytes; x += 16) {
    __m256i low = _mm256_set1_epi32(half);
    __m256i high = low;
    const std::uint8_t* source = in + x;
    for (int i = 0; i < count; ++i, source += stride) {
      const __m128i sixteen = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
      const __m256i w = _mm256_set1_epi32(value[i]);
      low = _mm256_add_epi32(low, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(sixteen), w));
      high = _mm256_add_epi32(high, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(_mm_srli_si128(sixteen, 8)), w));
    }
    low = _mm256_srai_epi32(low, precision_bits);
    high = _mm256_srai_epi32(high, precision_bits);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0b11011000);
    const __m128i packed = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + x), packed);
  }
  vertical_scalar(in, stride, value, count, x, bytes, out);
}

#endif

inline void horizontal(const std::uint8_t* in, int width, const Taps& taps, int outputs, std::uint8_t* out) {
#if defined(__x86_64__)
  if (has_avx2()) return horizontal_avx2(in, width, taps, outputs, out);
#endif
  horizontal_scalar(in, width, taps, outputs, out);
}

inline void vertical(const std::uint8_t* in, std::size_t stride, const std::int32_t* value, int count,
                     std::size_t bytes, std::uint8_t* out) {
#if defined(__x86_64__)
  if (has_avx2()) return vertical_avx2(in, stride, value, count, bytes, out);
#endif
  vertical_scalar(in, stride, value, count, 0, bytes, out);
}

/// Columns x .. x + columns - 1 of rows first .. first + rows - 1 of `image`, resized to `width` columns.
inline Image resize_columns(const Image& image, int width, int x, int columns, int first, int rows, Resample filter) {
  Image out = make_image({rows, columns});
  if (width == image.width) {
    for (int y = 0; y < rows; ++y)
      std::memcpy(out.row(y), image.row(first + y) + static_cast<std::size_t>(x) * 3,
                  static_cast<std::size_t>(columns) * 3);
    return out;
  }
  const Taps taps = make_taps(image.width, width, x, columns, filter);
  parallel_rows(rows, taps.multiply_adds(rows), [&](int begin, int end) {
    for (int y = begin; y < end; ++y) horizontal(image.row(first + y), image.width, taps, columns, out.row(y));
  });
  return out;
}

}  // namespace resize_detail

/// The part `region` of `image` resized to `size`, without computing the rest. Equal, byte for byte, to
/// `Image.resize` of Pillow 9.4, the version LISA pins, followed by `crop`: horizontal pass first, rounded to 8 bits,
/// then the vertical one, with 22-bit fixed-point weights; a pass that keeps its size is skipped (src/libImaging/
/// Resample.c). Pillow 13 takes the vertical pass first for some sizes, which moves a few bytes by rounding.
/// Throws InputError for an invalid image, an empty size or a region that leaves it.
[[nodiscard]] inline Image resize_region(const Image& image, ImageSize size, Rect region, Resample filter) {
  require_valid(image);
  const std::string target = std::to_string(size.width) + "x" + std::to_string(size.height);
  if (size.width < 1 || size.height < 1)
    throw InputError("resize", found_expected(target + " pixels", "at least one pixel on each side"));
  if (region.x < 0 || region.y < 0 || region.width < 1 || region.height < 1 || region.width > size.width - region.x ||
      region.height > size.height - region.y)
    throw InputError("resize", "found a region outside the " + target + " result, expected one inside");
  using namespace resize_detail;
  if (size.height == image.height)
    return resize_columns(image, size.width, region.x, region.width, region.y, region.height, filter);

  Taps taps = make_taps(image.height, size.height, region.y, region.height, filter);
  const int first = taps.first.front();
  const int rows = taps.first.back() + taps.count.back() - first;
  const Image columns = resize_columns(image, size.width, region.x, region.width, first, rows, filter);
  Image out = make_image({region.height, region.width});
  const std::size_t bytes = static_cast<std::size_t>(region.width) * 3;
  parallel_rows(region.height, taps.multiply_adds(region.width), [&](int begin, int end) {
    for (int y = begin; y < end; ++y) {
      const auto i = static_cast<std::size_t>(y);
      vertical(columns.row(taps.first[i] - first), bytes, taps.of(y), taps.count[i], bytes, out.row(y));
    }
  });
  return out;
}

/// `image` resized to `size`, equal to Pillow's `Image.resize` byte for byte. Errors as `resize_region`.
[[nodiscard]] inline Image resize(const Image& image, ImageSize size, Resample filter) {
  return resize_region(image, size, {0, 0, size.width, size.height}, filter);
}

}  // namespace lisa
