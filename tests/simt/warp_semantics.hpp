#pragma once

#include <array>
#include <cstdint>

// What the operations of a warp compute, from the operands of all its lanes (PTX ISA, sections on shfl, vote, ldmatrix
// and mma.m16n8k16).

namespace simt {

inline constexpr int warp_lanes = 32;

struct LaneOperands;
using WarpOperands = std::array<LaneOperands, warp_lanes>;

/// One lane's operands; the pointers lead into its registers.
struct LaneOperands {
  const void* first = nullptr;
  const void* second = nullptr;
  void* result = nullptr;
  int kind = 0;
  int number = 0;
  void (*apply)(const WarpOperands&) = nullptr;
};

/// first: 4 bytes; kind: a ShuffleKind; number: its operand. A source outside of the warp gives the lane's own value.
void shuffle_lanes(const WarpOperands& lanes);
/// number: the vote.
void ballot_lanes(const WarpOperands& lanes);
/// first: 16 bytes, row l % 8 of matrix l / 8; result: 4 registers; kind: 1 for transposed.
void exchange_matrix_rows(const WarpOperands& lanes);
/// first: 4 registers of A [16, 16]; second: 2 of B [16, 8]; result: 4 fp32 of the sum [16, 8], which is also an input.
/// Products are added in fp32, one after the other in the order of k: a tensor core's order and rounding differ.
void multiply_bf16_fragments(const WarpOperands& lanes);
void multiply_fp16_fragments(const WarpOperands& lanes);

}  // namespace simt
