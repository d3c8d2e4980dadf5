#pragma once

#include <cstdint>

#include "lisa/cpu/bfloat16.hpp"

namespace lisa::cpu {

/// y = x W^T + b in bf16, with the operands as they lie in memory. Sums are fp32 and rounded once, after the bias.
struct Bf16Product {
  const Bf16Bits* x;       // [rows, inner]
  const Bf16Bits* weight;  // [columns, inner]
  const Bf16Bits* bias;    // [columns], nullptr for none
  Bf16Bits* y;             // [rows, columns]
  std::int64_t rows, inner, columns;
};

}  // namespace lisa::cpu
