#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"

namespace lisa {

/// How the weights of a linear layer [out, in] are held in fewer bits. A quantised matrix is one block of bytes: first
/// all values, row by row, then all scales, row by row; as a tensor it has the shape [out, row_bytes], from which the
/// format can be told.
///
/// int8: values are int8 in the order of the inputs, symmetric in -127 .. 127; one fp32 scale for each row.
///
/// int4: values are q + 8 with q in -8 .. 7, one bf16 scale for each group of neighbouring inputs. 16 runs of 32 inputs
/// make a block of 256 bytes, ordered so that a run is one 32-bit lane of four vectors: byte 4 l + k of vector i holds
/// input 32 l + 4 i + k in its low half and input 32 l + 16 + 4 i + k in its high half. A last block of fewer runs has
/// as many lanes fewer. Behind a row's last weight zeros fill its last run; the last group may be shorter than others.
///
/// nf4: values are numbers of `nf4_levels`, one bf16 scale, the largest magnitude, for each group of 64 neighbouring
/// inputs. 32 inputs are 16 bytes: byte l holds input l in its low half and input 16 + l in its high half. The rest as
/// in int4. The published format holds the scales in fp32 or in 8 bits.
enum class WeightFormat { int8_row, int4_group32, nf4_group64, int4_group128 };

/// In this order formats are told from the bytes of a row.
inline constexpr std::array<std::pair<WeightFormat, std::string_view>, 4> weight_format_names{
    {{WeightFormat::int8_row, "int8"},
     {WeightFormat::int4_group32, "int4"},
     {WeightFormat::nf4_group64, "nf4"},
     {WeightFormat::int4_group128, "int4-128"}}};

/// The values of 4-bit NormalFloat (Dettmers et al. 2023, "QLoRA", appendix E): quantiles of a normal distribution,
/// scaled to -1 .. 1, with an exact zero.
inline constexpr std::array<float, 16> nf4_levels{-1.0F,
                                                  -0.6961928009986877F,
                                                  -0.5250730514526367F,
                                                  -0.39491748809814453F,
                                                  -0.28444138169288635F,
                                                  -0.18477343022823334F,
                                                  -0.09105003625154495F,
                                                  0.0F,
                                                  0.07958029955625534F,
                                                  0.16093020141124725F,
                                                  0.24611230194568634F,
                                                  0.33791524171829224F,
                                                  0.44070982933044434F,
                                                  0.5626170039176941F,
                                                  0.7229568362236023F,
                                                  1.0F};

/// The number of the level nearest to a value.
[[nodiscard]] constexpr int nf4_code(float value) {
  int code = 0;
  for (std::size_t i = 0; i + 1 < nf4_levels.size(); ++i) code += value > (nf4_levels[i] + nf4_levels[i + 1]) / 2;
  return code;
}

/// The name of a format in options and messages.
[[nodiscard]] constexpr std::string_view to_string(WeightFormat format) {
  for (const auto& [value, name] : weight_format_names)
    if (value == format) return name;
  return "";
}

/// The format called `name`. @param place where the name stands, for the message
/// @throws InputError naming the known ones
[[nodiscard]] inline WeightFormat parse_weight_format(std::string_view name, const std::string& place = "weights") {
  std::string known;
  for (const auto& [value, text] : weight_format_names) {
    if (text == name) return value;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  throw InputError(place, found_expected(quoted(name), "one of " + known));
}

/// Inputs of the runs of 4-bit formats, to which rows are filled, and of the blocks of int4.
inline constexpr std::int64_t nibble_run = 32, int4_block = 16 * nibble_run;

/// Inputs of a group of NF4.
inline constexpr std::int64_t nf4_group = 64;

/// Inputs that share a scale.
[[nodiscard]] constexpr std::int64_t group_size(WeightFormat format, std::int64_t in) {
  switch (format) {
    case WeightFormat::int8_row:
      break;
    case WeightFormat::int4_group32:
      return 32;
    case WeightFormat::nf4_group64:
      return nf4_group;
    case WeightFormat::int4_group128:
      return 128;
  }
  return in;
}

/// Bytes of a row's values.
[[nodiscard]] constexpr std::int64_t value_bytes(WeightFormat format, std::int64_t in) {
  return format == WeightFormat::int8_row ? in : (in + nibble_run - 1) / nibble_run * (nibble_run / 2);
}

/// Bytes of a row's scales.
[[nodiscard]] constexpr std::int64_t scale_bytes(WeightFormat format, std::int64_t in) {
  if (format == WeightFormat::int8_row) return 4;
  const std::int64_t size = group_size(format, in);
  return (in + size - 1) / size * 2;
}

/// Bytes of a row with its scales.
[[nodiscard]] constexpr std::int64_t row_bytes(WeightFormat format, std::int64_t in) {
  return value_bytes(format, in) + scale_bytes(format, in);
}

/// The format whose rows of `in` weights take `bytes`.
[[nodiscard]] constexpr std::optional<WeightFormat> format_of(std::int64_t bytes, std::int64_t in) {
  for (const auto& [format, name] : weight_format_names)
    if (in > 0 && row_bytes(format, in) == bytes) return format;
  return std::nullopt;
}

/// Whether a format can hold rows of `in` weights: all can but for short rows that take as many bytes in another one.
[[nodiscard]] constexpr bool fits(WeightFormat format, std::int64_t in) {
  return format_of(row_bytes(format, in), in) == format;
}

/// Where a row keeps a weight of 4 bits.
struct NibblePlace {
  std::int64_t byte;  ///< from the row's first
  bool high;          ///< in the upper half of the byte
};

/// Where int4 keeps a weight. @param in weights of a row  @param input which of them, or a zero behind the last
[[nodiscard]] constexpr NibblePlace int4_place(std::int64_t in, std::int64_t input) {
  const std::int64_t block = input / int4_block, in_block = input % int4_block;
  const std::int64_t left = (in - block * int4_block + nibble_run - 1) / nibble_run, lanes = left < 16 ? left : 16;
  const std::int64_t lane = in_block / nibble_run, in_run = in_block % nibble_run;
  const std::int64_t vector = in_run % 16 / 4, k = in_run % 4;
  return {block * (int4_block / 2) + vector * lanes * 4 + lane * 4 + k, in_run >= 16};
}

/// Where NF4 keeps a weight.
[[nodiscard]] constexpr NibblePlace nf4_place(std::int64_t input) {
  const std::int64_t in_run = input % nibble_run;
  return {input / nibble_run * (nibble_run / 2) + in_run % 16, in_run >= 16};
}

}  // namespace lisa
