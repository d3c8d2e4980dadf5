#pragma once

#include <cstddef>
#include <cstdint>

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/element.hpp"
#include "lisa/cuda/element_vector.cuh"

// Weights as the GPU's memory holds them, in the formats of lisa::WeightFormat, taken apart 16 bytes at a time.
//
// A chunk is 16 bytes of a row's values: 8, 16 or 32 weights. A piece is 8 of its weights, those in the chunk's words
// in order, and a place says where 4 neighbouring inputs meet their weights. A product that has its inputs in the order
// of places needs no more to know of the format.

namespace lisa::cuda {

/// A matrix of weights [out, in], aligned to 16 bytes: all values, row by row, then all scales, row by row.
struct WeightMatrix {
  const std::byte* bytes;
  int out;
};

/// How `WeightMatrix::bytes` are to be understood.
enum class WeightStorage {
  element,       ///< bf16 or fp16, as the inputs; no scales
  int8_row,      ///< lisa::WeightFormat::int8_row
  int4_group32,  ///< lisa::WeightFormat::int4_group32
  int4_group128  ///< lisa::WeightFormat::int4_group128
};

/// Inputs that a row must have a multiple of.
[[nodiscard]] constexpr int input_unit(WeightStorage storage) {
  switch (storage) {
    case WeightStorage::element:
      return 8;
    case WeightStorage::int8_row:
      return 16;
    case WeightStorage::int4_group32:
      return 32;
    case WeightStorage::int4_group128:
      return 128;
  }
  return 0;
}

/// Where four neighbouring inputs meet their weights: in a half of a piece of a chunk.
struct InputPlace {
  int chunk, piece, half;
};

/// The place of inputs 4 `four` to 4 `four` + 3 where weights lie in the order of the inputs.
template <int chunk_inputs>
LISA_DEVICE InputPlace ordered_place(int four) {
  constexpr int fours = chunk_inputs / 4;
  return {four / fours, four % fours / 2, four % 2};
}

/// Byte `k` of a word less `offset`, exact: the byte becomes the last bits of the float 2^23, which is taken away
/// again.
template <class Dev>
LISA_DEVICE float small_integer(std::uint32_t word, int k, int offset) {
  constexpr std::uint32_t two_to_23 = 0x4B000000, byte_0_zeros_byte_7 = 0x7440;
  const std::uint32_t bits = Dev::select_bytes(word, two_to_23, byte_0_zeros_byte_7 + static_cast<std::uint32_t>(k));
  return Dev::float_of_bits(bits) - static_cast<float>(0x800000 + offset);
}

/// Weights of the inputs' own type.
template <class Element>
struct ElementWeights {
  static constexpr int chunk_inputs = 8;
  using Chunk = Vector16;

  template <class Dev>
  class Row {
   public:
    LISA_DEVICE Row(const WeightMatrix& matrix, int row, int in)
        : values_(matrix.bytes + static_cast<std::int64_t>(row) * in * static_cast<int>(sizeof(Element))) {}
    LISA_DEVICE Chunk load(int chunk) const {
      return Dev::load16_once(values_ + static_cast<std::int64_t>(chunk) * 16);
    }
    LISA_DEVICE float scale() const { return 1.0F; }

   private:
    const std::byte* values_;
  };

  static LISA_DEVICE InputPlace place(int, int four) { return ordered_place<chunk_inputs>(four); }
  template <class Dev>
  static LISA_DEVICE float scale_of(const Chunk&, int) {
    return 1.0F;
  }
  template <class Dev>
  static LISA_DEVICE void unpack_piece(const Chunk& chunk, int, float (&weights)[8]) {
    unpack<Dev, Element>(chunk, weights);
  }
};

/// lisa::WeightFormat::int8_row: bytes in the order of the inputs, an fp32 scale for each row.
struct Int8Weights {
  static constexpr int chunk_inputs = 16;
  using Chunk = Vector16;

  template <class Dev>
  class Row {
   public:
    LISA_DEVICE Row(const WeightMatrix& matrix, int row, int in)
        : values_(matrix.bytes + static_cast<std::int64_t>(row) * in),
          scale_(reinterpret_cast<const float*>(matrix.bytes + static_cast<std::int64_t>(matrix.out) * in)[row]) {}
    LISA_DEVICE Chunk load(int chunk) const {
      return Dev::load16_once(values_ + static_cast<std::int64_t>(chunk) * 16);
    }
    LISA_DEVICE float scale() const { return scale_; }

   private:
    const std::byte* values_;
    float scale_;
  };

  static LISA_DEVICE InputPlace place(int, int four) { return ordered_place<chunk_inputs>(four); }
  template <class Dev>
  static LISA_DEVICE float scale_of(const Chunk&, int) {
    return 1.0F;
  }
  template <class Dev>
  static LISA_DEVICE void unpack_piece(const Chunk& chunk, int piece, float (&weights)[8]) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const std::uint32_t unsigned_bytes = chunk.words[2 * piece + i / 4] ^ 0x80808080;  // the integers + 128
      weights[i] = small_integer<Dev>(unsigned_bytes, i % 4, 128);
    }
  }
};

/// The runs of 32 inputs that a chunk of int4 has weights of: its words are those of neighbouring lanes of one of a
/// block's four vectors, or of two, where a last block has other than a multiple of 4 lanes.
struct Int4Runs {
  int block_runs;  ///< runs in front of the block
  int lanes;       ///< of the block: 16, or fewer in the last
  int word;        ///< of the block that the chunk begins with

  LISA_DEVICE Int4Runs(int chunk, int in)
      : block_runs(chunk / 16 * 16),
        lanes(in / 32 - block_runs < 16 ? in / 32 - block_runs : 16),
        word(chunk % 16 * 4) {}
  LISA_DEVICE int of_piece(int piece) const {
    return block_runs + (lanes == 16 ? (word + piece) % 16 : (word + piece) % lanes);
  }
};

/// lisa::WeightFormat::int4_group32 and int4_group128: two weights in a byte, a bf16 scale for each group.
template <int group>
struct Int4Weights {
  static_assert(group == 32 || group == 128, "Int4Weights: groups have 32 or 128 inputs");
  static constexpr int chunk_inputs = 32;
  /// A group of 128 has the same scale for all words of a chunk.
  static constexpr int chunk_scales = group == 32 ? 4 : 1;
  struct Chunk {
    Vector16 values;
    Bf16 scales[chunk_scales];
  };

  template <class Dev>
  class Row {
   public:
    LISA_DEVICE Row(const WeightMatrix& matrix, int row, int in)
        : in_(in),
          values_(matrix.bytes + static_cast<std::int64_t>(row) * (in / 2)),
          scales_(reinterpret_cast<const Bf16*>(matrix.bytes + static_cast<std::int64_t>(matrix.out) * (in / 2)) +
                  static_cast<std::int64_t>(row) * (in / group)) {}
    LISA_DEVICE Chunk load(int chunk) const {
      Chunk loaded{Dev::load16_once(values_ + static_cast<std::int64_t>(chunk) * 16), {}};
      const Int4Runs runs(chunk, in_);
#pragma unroll
      for (int i = 0; i < chunk_scales; ++i) loaded.scales[i] = scales_[runs.of_piece(i) * 32 / group];
      return loaded;
    }
    LISA_DEVICE float scale() const { return 1.0F; }

   private:
    int in_;
    const std::byte* values_;
    const Bf16* scales_;
  };

  static LISA_DEVICE InputPlace place(int in, int four) {
    const int run = four / 8, in_run = four % 8;
    const int block = run / 16, left = in / 32 - block * 16, lanes = left < 16 ? left : 16;
    const int word = in_run % 4 * lanes + run % 16;
    return {block * 16 + word / 4, word % 4, in_run / 4};
  }
  template <class Dev>
  static LISA_DEVICE float scale_of(const Chunk& chunk, int piece) {
    return Dev::to_float(chunk.scales[chunk_scales == 1 ? 0 : piece]);
  }
  template <class Dev>
  static LISA_DEVICE void unpack_piece(const Chunk& chunk, int piece, float (&weights)[8]) {
    const std::uint32_t word = chunk.values.words[piece];
    const std::uint32_t low = word & 0x0F0F0F0F, high = word >> 4 & 0x0F0F0F0F;
#pragma unroll
    for (int i = 0; i < 8; ++i) weights[i] = small_integer<Dev>(i < 4 ? low : high, i % 4, 8);
  }
};

}  // namespace lisa::cuda
