#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lisa/quant/quantised_rows.hpp"
#include "lisa/quant/weight_format.hpp"

namespace lisa {

/// A few rows of inputs in 8 bits, as the products that read the weights as they lie there take them: `QuantisedRows`,
/// each row in the order of the weights' vectors.
struct QuantisedInputs {
  static constexpr std::int64_t line = 64;  ///< bytes of a vector

  WeightFormat format = WeightFormat::int8_row;
  std::int64_t rows = 0, in = 0;
  std::int64_t group = 0;         ///< inputs that share a scale
  std::int64_t value_stride = 0;  ///< from a row's values to the next one's: a multiple of a line
  std::int64_t scale_stride = 0;  ///< likewise its scales and its offsets: a multiple of 16
  /// [rows, value_stride]. int8: in order. int4: block after block, 8 lines each: byte 4 l + k of line j is input
  /// 32 l + 4 j + k. Zeros behind the last.
  std::vector<std::int8_t> values;
  std::vector<float> scales;          ///< [rows, scale_stride], of each group; zeros behind the last
  std::vector<std::int32_t> offsets;  ///< [rows, scale_stride], take away what makes the weights unsigned

  [[nodiscard]] const std::int8_t* values_of(std::int64_t row) const { return values.data() + row * value_stride; }
  [[nodiscard]] const float* scales_of(std::int64_t row) const { return scales.data() + row * scale_stride; }
  [[nodiscard]] const std::int32_t* offsets_of(std::int64_t row) const { return offsets.data() + row * scale_stride; }

  /// Where a row has an input's value.
  [[nodiscard]] std::int64_t place(std::int64_t input) const {
    if (format == WeightFormat::int8_row) return input;
    const std::int64_t block = input / int4_block, lane = input % int4_block / nibble_run, in_run = input % nibble_run;
    return block * int4_block + in_run / 4 * line + lane * 4 + in_run % 4;
  }

  /// @param rounded as for weights of this format
  [[nodiscard]] static QuantisedInputs of(WeightFormat format, const QuantisedRows& rounded) {
    const std::int64_t unit = format == WeightFormat::int8_row ? QuantisedRows::int8_group : int4_block;
    const std::int64_t padded = (rounded.in + unit - 1) / unit * unit;
    QuantisedInputs made{.format = format,
                         .rows = rounded.rows,
                         .in = rounded.in,
                         .group = rounded.group,
                         .value_stride = padded,
                         .scale_stride = (padded / rounded.group + 15) / 16 * 16,
                         .values = {},
                         .scales = {},
                         .offsets = {}};
    made.values.resize(static_cast<std::size_t>(made.rows * made.value_stride));
    made.scales.resize(static_cast<std::size_t>(made.rows * made.scale_stride));
    made.offsets.resize(made.scales.size());
    for (std::int64_t row = 0; row < made.rows; ++row)
      for (std::int64_t g = 0; g < rounded.groups(); ++g) made.take_group(rounded, row, g);
    return made;
  }

  /// Rounds x [rows, in]. @tparam Element float or cpu::Bf16Bits
  template <class Element>
  [[nodiscard]] static QuantisedInputs make(WeightFormat format, const Element* x, std::int64_t rows, std::int64_t in) {
    static const RowQuantiser<Element> quantise = find_row_quantiser<Element>();
    QuantisedRows rounded = QuantisedRows::zeros(format, rows, in);
    quantise(x, 0, rows, rounded);
    return of(format, rounded);
  }

 private:
  void take_group(const QuantisedRows& rounded, std::int64_t row, std::int64_t g) {
    const std::int8_t* const from = rounded.values_of(g, row);
    std::int8_t* const to = values.data() + row * value_stride + place(g * group);
    if (format == WeightFormat::int8_row)
      std::copy_n(from, group, to);
    else
      for (std::int64_t i = 0; i < group; i += 4) std::memcpy(to + i / 4 * line, from + i, 4);
    const auto at = static_cast<std::size_t>(row * scale_stride + g);
    scales[at] = rounded.scales[rounded.place(g, row)];
    offsets[at] = rounded.offsets[rounded.place(g, row)];
  }
};

}  // namespace lisa
