// torch-free
// The twins of the warp's operations against a second description of the same fragments: the layouts of CUTLASS
// (cute/atom/mma_traits_sm80.hpp, SM80_16x8x16_F32BF16BF16F32_TN).
#include "warp_semantics.hpp"

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "device.hpp"

//
#include <doctest/doctest.h>

using namespace simt;

namespace {

struct Matrices {
  std::vector<float> a = std::vector<float>(16 * 16);   // [m, k]
  std::vector<float> b = std::vector<float>(16 * 8);    // [k, n]
  std::vector<float> sum = std::vector<float>(16 * 8);  // [m, n]
};

/// Small integers, so that every product and sum is exact in any order.
Matrices random_matrices() {
  std::mt19937 random(3);
  std::uniform_int_distribution<int> values(-8, 8);
  Matrices matrices;
  for (auto* const matrix : {&matrices.a, &matrices.b, &matrices.sum})
    for (float& value : *matrix) value = static_cast<float>(values(random));
  return matrices;
}

void check_product(std::uint16_t (*to_bits)(float), void (*multiply)(const WarpOperands&)) {
  const Matrices m = random_matrices();
  std::uint32_t a[32][4] = {}, b[32][2] = {};
  float sum[32][4];
  WarpOperands lanes{};
  for (std::size_t t = 0; t < 32; ++t) {
    for (std::size_t v = 0; v < 8; ++v) {  // ALayout ((4,8),(2,2,2)):((32,1),(16,8,128)) into m + 16 k
      const std::size_t at = t % 4 * 32 + t / 4 + v % 2 * 16 + v / 2 % 2 * 8 + v / 4 * 128;
      a[t][v / 2] |= std::uint32_t{to_bits(m.a[at % 16 * 16 + at / 16])} << (16 * (v % 2));
    }
    for (std::size_t v = 0; v < 4; ++v) {  // BLayout ((4,8),(2,2)):((16,1),(8,64)) into n + 8 k
      const std::size_t at = t % 4 * 16 + t / 4 + v % 2 * 8 + v / 2 * 64;
      b[t][v / 2] |= std::uint32_t{to_bits(m.b[at / 8 * 8 + at % 8])} << (16 * (v % 2));
    }
    for (std::size_t v = 0; v < 4; ++v) {  // CLayout ((4,8),(2,2)):((32,1),(16,8)) into m + 16 n
      const std::size_t at = t % 4 * 32 + t / 4 + v % 2 * 16 + v / 2 * 8;
      sum[t][v] = m.sum[at % 16 * 8 + at / 16];
    }
    lanes[t] = {a[t], b[t], sum[t], 0, 0, multiply};
  }
  multiply(lanes);
  for (std::size_t t = 0; t < 32; ++t)
    for (std::size_t v = 0; v < 4; ++v) {
      const std::size_t at = t % 4 * 32 + t / 4 + v % 2 * 16 + v / 2 * 8, row = at % 16, column = at / 16;
      float expected = m.sum[row * 8 + column];
      for (std::size_t k = 0; k < 16; ++k) expected += m.a[row * 16 + k] * m.b[k * 8 + column];
      CHECK(sum[t][v] == expected);
    }
}

}  // namespace

TEST_CASE("simt: matrix products of a warp") {
  check_product(to_bf16, multiply_bf16_fragments);
  check_product(to_fp16, multiply_fp16_fragments);
}

TEST_CASE("simt: matrix loads hand out rows as the left operand and, transposed, columns as the right one") {
  // Matrix i, row r, column c holds 64 i + 8 r + c.
  std::uint16_t rows[32][8];
  std::uint32_t plain[32][4], transposed[32][4];
  WarpOperands lanes{};
  for (std::size_t t = 0; t < 32; ++t)
    for (std::size_t c = 0; c < 8; ++c) rows[t][c] = static_cast<std::uint16_t>(8 * t + c);
  for (std::size_t t = 0; t < 32; ++t) lanes[t] = {rows[t], nullptr, plain[t], 0, 0, exchange_matrix_rows};
  exchange_matrix_rows(lanes);
  for (std::size_t t = 0; t < 32; ++t) lanes[t] = {rows[t], nullptr, transposed[t], 1, 0, exchange_matrix_rows};
  exchange_matrix_rows(lanes);
  for (std::uint32_t t = 0; t < 32; ++t)
    for (std::uint32_t i = 0; i < 4; ++i) {
      const std::uint32_t matrix = 64 * i, row = t / 4, column = t % 4 * 2;
      CHECK(plain[t][i] == ((matrix + 8 * row + column) | (matrix + 8 * row + column + 1) << 16));
      CHECK(transposed[t][i] == ((matrix + 8 * column + row) | (matrix + 8 * (column + 1) + row) << 16));
    }
}

TEST_CASE("simt: shuffles and ballots") {
  std::uint32_t values[32], results[32];
  WarpOperands lanes{};
  const auto shuffle = [&](ShuffleKind kind, int operand) {
    for (std::uint32_t t = 0; t < 32; ++t) {
      values[t] = 100 + t;
      lanes[t] = {&values[t], nullptr, &results[t], static_cast<int>(kind), operand, shuffle_lanes};
    }
    shuffle_lanes(lanes);
  };
  shuffle(ShuffleKind::exclusive_or, 5);
  for (std::uint32_t t = 0; t < 32; ++t) CHECK(results[t] == 100 + (t ^ 5));
  shuffle(ShuffleKind::up, 3);
  for (std::uint32_t t = 0; t < 32; ++t) CHECK(results[t] == 100 + (t < 3 ? t : t - 3));
  shuffle(ShuffleKind::down, 3);
  for (std::uint32_t t = 0; t < 32; ++t) CHECK(results[t] == 100 + (t + 3 < 32 ? t + 3 : t));
  shuffle(ShuffleKind::index, 9);
  for (const std::uint32_t result : results) CHECK(result == 109);
  for (std::uint32_t t = 0; t < 32; ++t)
    lanes[t] = {nullptr, nullptr, &results[t], 0, t % 3 == 0 ? 1 : 0, ballot_lanes};
  ballot_lanes(lanes);
  for (const std::uint32_t result : results) CHECK(result == 0b01001001001001001001001001001001U);
}

TEST_CASE("simt: halves are the compiler's") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half_bits = static_cast<std::uint16_t>(bits);
    _Float16 half;
    std::memcpy(&half, &half_bits, sizeof half);
    const auto expected = static_cast<float>(half), found = from_fp16(half_bits);
    if (expected != expected) {
      REQUIRE(found != found);
    } else {
      REQUIRE(found == expected);
      REQUIRE(to_fp16(found) == half_bits);
    }
  }
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    const std::uint32_t bits = random();
    float value;
    std::memcpy(&value, &bits, sizeof value);
    if (value != value) continue;
    const auto half = static_cast<_Float16>(value);
    std::uint16_t expected;
    std::memcpy(&expected, &half, sizeof expected);
    REQUIRE(to_fp16(value) == expected);
  }
}

TEST_CASE("simt: bfloat16 rounds to nearest, ties to even") {
  CHECK(to_bf16(1.0F) == 0x3F80);
  CHECK(to_bf16(1.0F + 0x1p-8F) == 0x3F80);  // a tie, to even
  CHECK(to_bf16(1.0F + 0x1p-8F + 0x1p-20F) == 0x3F81);
  CHECK(to_bf16(1.0F + 0x1p-7F + 0x1p-8F) == 0x3F82);  // a tie, to even
  CHECK(to_bf16(INFINITY) == 0x7F80);
  CHECK(to_bf16(-2.5F) == 0xC020);
  for (std::uint32_t bits = 0; bits < 0x7F80; ++bits)
    REQUIRE(to_bf16(from_bf16(static_cast<std::uint16_t>(bits))) == bits);
}
