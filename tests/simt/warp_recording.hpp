#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "warp_semantics.hpp"

// Operands and results of a warp's operations as a GPU, or the emulator, computed them: what tests/gpu records, and
// what the emulator's twins are held against.

namespace simt {

/// One lane's operands of the warp's operations.
struct WarpInput {
  std::uint32_t row[4];    // 16 bytes in shared memory for the matrix loads
  std::uint32_t left[4];   // fragment of A [16, 16], bf16 and fp16 alike
  std::uint32_t right[2];  // of B [16, 8]
  float sum[4];            // of the sum [16, 8]
  std::uint32_t value;     // to be shuffled; its lowest bit is the vote
};

/// What a lane gets.
struct WarpOutput {
  std::uint32_t matrix[4], transposed[4];
  float bf16[4], fp16[4];
  std::uint32_t from_lane_5, from_two_below, from_lane_xor_9, ballot;
};

/// Operands and results of all lanes.
struct WarpRecording {
  std::string origin;  ///< what computed the results, in one line
  WarpInput in[warp_lanes];
  WarpOutput out[warp_lanes];
};

/// Random bits where bits are moved; for products, numbers that bf16 and fp16 both read as finite and near one.
[[nodiscard]] WarpRecording random_operands();

/// The emulator's results of a recording's operands.
void run_twins(WarpRecording& recording);

/// How far one operation's results are from the emulator's.
struct WarpDifference {
  std::string operation;
  double error;  ///< of products the largest; of what moves bits the number of lanes that differ
  double bound;  ///< 0 for what moves bits
  [[nodiscard]] bool agrees() const { return error <= bound; }  // not if the error is NaN
};

/// All operations of a recording against the emulator's twins.
[[nodiscard]] std::vector<WarpDifference> differences(const WarpRecording& recording);

/// One line for the origin and one per lane, with its operands and results in hexadecimal, in the order of the structs.
/// @throws std::runtime_error naming the file
void write_recording(const std::string& path, const WarpRecording& recording);
/// @throws std::runtime_error naming the file, the line, and what was expected there
[[nodiscard]] WarpRecording read_recording(const std::string& path);

}  // namespace simt
