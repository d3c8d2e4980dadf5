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
enum class WeightFormat { int8_row, int4_group32, int4_group128 };

/// In this order formats are told from the bytes of a row.
inline constexpr std::array<std::pair<WeightFormat, std::string_view>, 3> weight_format_names{
    {{WeightFormat::int8_row, "int8"},
     {WeightFormat::int4_group32, "int4"},
     {WeightFormat::int4_group128, "int4-128"}}};

/// The name of a format in options and messages.
[[nodiscard]] constexpr std::string_view to_string(WeightFormat format) {
  for (const auto& [value, name] : weight_format_names)
    if (value == format) return name;
  return "";
}

/// The format called `name`. @throws InputError naming the known ones
[[nodiscard]] inline WeightFormat parse_weight_format(std::string_view name) {
  std::string known;
  for (const auto& [value, text] : weight_format_names) {
    if (text == name) return value;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  throw InputError("weights", found_expected(quoted(name), "one of " + known));
}

/// Inputs of the runs and blocks of int4.
inline constexpr std::int64_t int4_run = 32, int4_block = 16 * int4_run;

/// Inputs that share a scale.
[[nodiscard]] constexpr std::int64_t group_size(WeightFormat format, std::int64_t in) {
  return format == WeightFormat::int8_row ? in : format == WeightFormat::int4_group32 ? 32 : 128;
}

/// Bytes of a row's values.
[[nodiscard]] constexpr std::int64_t value_bytes(WeightFormat format, std::int64_t in) {
  return format == WeightFormat::int8_row ? in : (in + int4_run - 1) / int4_run * (int4_run / 2);
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

/// Where int4 keeps a weight of a row.
struct Int4Place {
  std::int64_t byte;  ///< from the row's first
  bool high;          ///< in the upper half of the byte
};

/// @param in weights of a row  @param input which of them, or a zero behind the last
[[nodiscard]] constexpr Int4Place int4_place(std::int64_t in, std::int64_t input) {
  const std::int64_t block = input / int4_block, in_block = input % int4_block;
  const std::int64_t left = (in - block * int4_block + int4_run - 1) / int4_run, lanes = left < 16 ? left : 16;
  const std::int64_t lane = in_block / int4_run, in_run = in_block % int4_run;
  const std::int64_t vector = in_run % 16 / 4, k = in_run % 4;
  return {block * (int4_block / 2) + vector * lanes * 4 + lane * 4 + k, in_run >= 16};
}

}  // namespace lisa
