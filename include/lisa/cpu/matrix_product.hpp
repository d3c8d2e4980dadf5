#pragma once

#include <cstdint>

namespace lisa::cpu {

/// y = x W^T + b, with the operands as they lie in memory. Sums are fp32 and rounded once, after the bias.
/// @tparam Element Bf16Bits or float
template <class Element>
struct MatrixProduct {
  const Element* x;       // [rows, inner]
  const Element* weight;  // [columns, inner]
  const Element* bias;    // [columns], nullptr for none
  Element* y;             // [rows, columns]
  std::int64_t rows, inner, columns;
};

}  // namespace lisa::cpu
