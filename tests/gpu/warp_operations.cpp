#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "device.hpp"
#include "lisa/base/error.hpp"
#include "tests/gpu/checks.hpp"
#include "tests/gpu/warp_vectors.hpp"
#include "warp_semantics.hpp"

namespace lisa::gpu_test {
namespace {

/// Random bits where bits are moved; for products, numbers that bf16 and fp16 both read as finite and near one.
void fill(WarpInput (&input)[32]) {
  std::mt19937 random(11);
  const auto halves = [&](bool numbers) {
    const auto half = [&] {
      // Sign, exponent of 1/4 to 2 in fp16 and a random fraction: in bf16 the same bits are 2^-17 to 2^-1 or so.
      return numbers ? (random() & 0x83FF) | (13 + random() % 3) << 10 : random() & 0xFFFF;
    };
    const std::uint32_t low = half();
    return low | half() << 16;
  };
  for (WarpInput& lane : input) {
    for (std::uint32_t& word : lane.row) word = halves(false);
    for (std::uint32_t& word : lane.left) word = halves(true);
    for (std::uint32_t& word : lane.right) word = halves(true);
    for (float& sum : lane.sum) sum = static_cast<float>(random() % 1024) / 512.0F - 1.0F;
    lane.value = static_cast<std::uint32_t>(random());
  }
}

/// What the emulator's twin of an operation gives each lane: `operands(lane, result)` is a lane's.
template <class Result, class Operands>
std::array<Result, 32> twin(void (*apply)(const simt::WarpOperands&), const Operands& operands) {
  std::array<Result, 32> results{};
  simt::WarpOperands lanes{};
  for (std::size_t lane = 0; lane < 32; ++lane) {
    lanes[lane] = operands(lane, results[lane]);
    lanes[lane].apply = apply;
  }
  apply(lanes);
  return results;
}

using Four = std::array<std::uint32_t, 4>;

void check_moved(Checks& checks, const WarpInput (&in)[32], const WarpOutput (&out)[32]) {
  for (const bool transposed : {false, true}) {
    const auto expected = twin<Four>(simt::exchange_matrix_rows, [&](std::size_t lane, Four& result) {
      return simt::LaneOperands{in[lane].row, nullptr, result.data(), transposed ? 1 : 0, 0, nullptr};
    });
    bool same = true;
    for (std::size_t lane = 0; lane < 32; ++lane)
      same = same && std::memcmp(transposed ? out[lane].transposed : out[lane].matrix, expected[lane].data(),
                                 sizeof(Four)) == 0;
    checks.equal(transposed ? "ldmatrix, transposed" : "ldmatrix", same);
  }
  struct Shuffle {
    const char* name;
    simt::ShuffleKind kind;
    int operand;
    std::uint32_t WarpOutput::* found;
  };
  for (const Shuffle& s : {Shuffle{"shuffle", simt::ShuffleKind::index, 5, &WarpOutput::from_lane_5},
                           Shuffle{"shuffle up", simt::ShuffleKind::up, 2, &WarpOutput::from_two_below},
                           Shuffle{"shuffle xor", simt::ShuffleKind::exclusive_or, 9, &WarpOutput::from_lane_xor_9}}) {
    const auto expected = twin<std::uint32_t>(simt::shuffle_lanes, [&](std::size_t lane, std::uint32_t& result) {
      return simt::LaneOperands{&in[lane].value, nullptr, &result, static_cast<int>(s.kind), s.operand, nullptr};
    });
    bool same = true;
    for (std::size_t lane = 0; lane < 32; ++lane) same = same && out[lane].*s.found == expected[lane];
    checks.equal(s.name, same);
  }
  const auto votes = twin<std::uint32_t>(simt::ballot_lanes, [&](std::size_t lane, std::uint32_t& result) {
    return simt::LaneOperands{nullptr, nullptr, &result, 0, static_cast<int>(in[lane].value & 1), nullptr};
  });
  bool same = true;
  for (std::size_t lane = 0; lane < 32; ++lane) same = same && out[lane].ballot == votes[lane];
  checks.equal("ballot", same);
}

/// A sum of 17 numbers in fp32: the twin rounds each addition to nearest, a tensor core may cut off, in any order. No
/// partial sum exceeds 16 products of the largest operands and the largest addend.
void check_product(Checks& checks, const std::string& name, const WarpInput (&in)[32], const WarpOutput (&out)[32],
                   const float (WarpOutput::*found)[4], void (*multiply)(const simt::WarpOperands&),
                   float (*wide)(std::uint16_t)) {
  using Sums = std::array<float, 4>;
  float left = 0, right = 0, addend = 0;
  const auto largest = [&](float& most, const auto& words) {
    for (const std::uint32_t word : words)
      for (const std::uint32_t bits : {word & 0xFFFF, word >> 16})
        most = std::max(most, std::fabs(wide(static_cast<std::uint16_t>(bits))));
  };
  const auto expected = twin<Sums>(multiply, [&](std::size_t lane, Sums& sums) {
    largest(left, in[lane].left);
    largest(right, in[lane].right);
    for (std::size_t i = 0; i < 4; ++i) {
      sums[i] = in[lane].sum[i];
      addend = std::max(addend, std::fabs(sums[i]));
    }
    return simt::LaneOperands{in[lane].left, in[lane].right, sums.data(), 0, 0, nullptr};
  });
  double error = 0;
  for (std::size_t lane = 0; lane < 32; ++lane)
    for (std::size_t i = 0; i < 4; ++i) {
      const double difference = std::fabs(double{(out[lane].*found)[i]} - double{expected[lane][i]});
      error = difference <= error ? error : difference;  // a NaN stays
    }
  checks.within(name, error, 17 * (0x1p-23 + 0x1p-24) * (16.0 * left * right + addend));
}

/// One line per lane: its operands and results in hexadecimal, in the order of the structs.
void write_vectors(const std::string& path, const WarpInput (&in)[32], const WarpOutput (&out)[32]) {
  std::FILE* const file = std::fopen(path.c_str(), "w");
  if (file == nullptr) throw IoError(path, "", std::string("cannot write: ") + std::strerror(errno));
  const auto words = [&](const void* begin, std::size_t bytes) {
    for (std::size_t at = 0; at < bytes; at += sizeof(std::uint32_t)) {
      std::uint32_t word;
      std::memcpy(&word, static_cast<const std::byte*>(begin) + at, sizeof word);
      std::fprintf(file, " %08x", word);
    }
  };
  for (std::size_t lane = 0; lane < 32; ++lane) {
    std::fprintf(file, "%zu", lane);
    words(&in[lane], sizeof in[lane]);
    words(&out[lane], sizeof out[lane]);
    std::fputc('\n', file);
  }
  if (std::fclose(file) != 0) throw IoError(path, "", std::string("cannot write: ") + std::strerror(errno));
}

}  // namespace

void check_warp_operations(Checks& checks, const std::string& record) {
  WarpInput in[32];
  WarpOutput out[32];
  fill(in);
  if (const cudaError_t status = run_warp_operations(in, out); status != cudaSuccess)
    throw IoError("", "warp operations", cudaGetErrorString(status));
  check_moved(checks, in, out);
  check_product(checks, "mma.m16n8k16, bf16", in, out, &WarpOutput::bf16, simt::multiply_bf16_fragments,
                simt::from_bf16);
  check_product(checks, "mma.m16n8k16, fp16", in, out, &WarpOutput::fp16, simt::multiply_fp16_fragments,
                simt::from_fp16);
  if (!record.empty()) write_vectors(record, in, out);
}

}  // namespace lisa::gpu_test
