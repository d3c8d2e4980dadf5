#pragma once

#include <cstddef>
#include <cstdint>

#include "lisa/cuda/device_function.hpp"
#include "lisa/cuda/element.hpp"
#include "lisa/cuda/element_vector.cuh"
#include "lisa/cuda/launch_geometry.hpp"
#include "lisa/cuda/weight_rows.cuh"

namespace lisa::cuda {

/// What becomes of the products of `gemv`.
enum class GemvResult {
  sum,      ///< out[0] = x w[0]^T, plus `residual` where one is given
  gated,    ///< out[0] = silu(x w[0]^T) * (x w[1]^T), two matrices of one shape
  rotated,  ///< out[0] and out[1] = x w[0]^T and x w[1]^T (q and k) with rotary positions, out[2] = x w[2]^T (v)
};

/// Rows of results; the stride from row to row is in elements.
template <class Element>
struct GemvOutput {
  Element* begin;  // [rows, outputs] by the stride
  std::int64_t stride;
};

/// Products of up to 8 rows with matrices of weights (decoding). The weights are taken as they are, in fp32 registers;
/// sums are fp32, and what is done with them is too: a result is rounded to Element once.
/// @tparam Element Bf16 or Fp16
template <class Element>
struct GemvArguments {
  const Element* x;       // [rows, in] by the stride; finite
  std::int64_t x_stride;  // elements
  int rows, in;
  WeightStorage storage;
  GemvResult result;
  WeightMatrix weights[3];  // as many as `result` says
  GemvOutput<Element> out[3];
  const Element* residual;  // [rows, weights[0].out], or nullptr; may be the memory of out[0]
  std::int64_t residual_stride;
  const Element* cosine;  // [positions, head_dim], a rotary table whose halves are equal (lisa::RotaryEmbedding)
  const Element* sine;
  const int* positions;  // [rows], inside the table
  int head_dim;          // of q, k and v, whose columns are heads beside each other
};

/// How many of `weights` and `out` a result has.
[[nodiscard]] LISA_HOST_DEVICE constexpr int gemv_matrices(GemvResult result) {
  return result == GemvResult::sum ? 1 : result == GemvResult::gated ? 2 : 3;
}

/// Why the kernel can't do this, in words; nullptr where it can. `rows` may be 0.
template <class Element>
[[nodiscard]] inline const char* gemv_refusal(const GemvArguments<Element>& a) {
  if (a.rows < 0 || a.rows > 8) return "gemv: takes 0 to 8 rows";
  if (a.in < 1 || a.in % input_unit(a.storage) != 0)
    return "gemv: inputs must be a multiple of 8 for 16-bit weights, of 16 for int8, of their group for int4";
  if (!rows_aligned(a.x, a.x_stride))
    return "gemv: x must start at a multiple of 16 bytes, with a stride of whole 16 bytes";
  for (int i = 0; i < gemv_matrices(a.result); ++i) {
    if (a.weights[i].out < 1 || a.weights[i].out > 1 << 28) return "gemv: a matrix must have 1 to 2^28 outputs";
    if (!rows_aligned(a.weights[i].bytes, 0)) return "gemv: weights must start at a multiple of 16 bytes";
  }
  if (a.result == GemvResult::gated && a.weights[0].out != a.weights[1].out)
    return "gemv: the two matrices of a gated result must have the same number of outputs";
  if (a.result == GemvResult::rotated) {
    if (a.head_dim < 2 || a.head_dim % 2 != 0) return "gemv: rotary positions need an even head_dim";
    for (const WeightMatrix& matrix : a.weights)
      if (matrix.out % a.head_dim != 0) return "gemv: q, k and v must have whole heads of outputs";
  }
  return nullptr;
}

/// Warps of a block; each computes two rows of weights.
inline constexpr int gemv_warps = 8;
/// Bytes of inputs that a block holds in shared memory at a time, at most.
inline constexpr int gemv_staged_bytes = 32 * 1024;

/// Inputs that are staged at a time: whole blocks of int4, 512 inputs, unless all fit.
[[nodiscard]] LISA_HOST_DEVICE constexpr int gemv_tile(int rows, int in) {
  constexpr int element_bytes = 2, int4_block = 512;
  const int fit = gemv_staged_bytes / element_bytes / rows / int4_block * int4_block;
  return in < fit ? in : fit;
}

/// Pairs of rows of weights.
template <class Element>
[[nodiscard]] LISA_HOST_DEVICE constexpr int gemv_pairs(const GemvArguments<Element>& a) {
  if (a.result == GemvResult::sum) return ceil_div(a.weights[0].out, 2);
  if (a.result == GemvResult::gated) return a.weights[0].out;
  return (a.weights[0].out + a.weights[1].out + a.weights[2].out) / 2;
}

/// Launch of `gemv`.
template <class Element>
[[nodiscard]] constexpr LaunchGeometry gemv_geometry(const GemvArguments<Element>& a) {
  const int blocks = a.rows == 0 ? 0 : ceil_div(gemv_pairs(a), gemv_warps);
  const int shared = a.rows == 0 ? 0 : a.rows * gemv_tile(a.rows, a.in) * static_cast<int>(sizeof(Element));
  return {{blocks, 1, 1}, gemv_warps * 32, shared};
}

/// The two rows of weights that a warp computes, because their results belong together.
struct WeightPair {
  int matrix[2];
  int row[2];
};

/// Pair number `pair`: neighbouring outputs of a sum (the last one twice, where their number is odd), gate and up of an
/// output, the two outputs of a head that rotate together.
template <class Element>
LISA_DEVICE WeightPair weight_pair(const GemvArguments<Element>& a, int pair) {
  if (a.result == GemvResult::gated) return {{0, 1}, {pair, pair}};
  if (a.result == GemvResult::sum) {
    const int last = a.weights[0].out - 1;
    return {{0, 0}, {2 * pair, 2 * pair < last ? 2 * pair + 1 : last}};
  }
  const int q_pairs = a.weights[0].out / 2, k_pairs = a.weights[1].out / 2;
  const int matrix = pair < q_pairs ? 0 : pair < q_pairs + k_pairs ? 1 : 2;
  const int in_matrix = pair - (matrix > 0 ? q_pairs : 0) - (matrix > 1 ? k_pairs : 0);
  const int half = a.head_dim / 2, low = in_matrix / half * a.head_dim + in_matrix % half;
  return {{matrix, matrix}, {low, low + half}};
}

/// The inputs of a tile in shared memory, in the order in which lanes need them: piece p of a row's chunks lies in one
/// strip, 16 bytes for each chunk, so that the lanes of a warp, which have neighbouring chunks, read neighbouring ones.
template <class Element, class Weights>
struct StagedInputs {
  static constexpr int pieces = Weights::chunk_inputs / vector_elements;

  Element* begin;  // [rows, pieces, chunks, 8]
  int chunks;      // that there is room for in a strip

  LISA_DEVICE Element* piece(int row, int piece, int chunk) const {
    return begin + ((row * pieces + piece) * chunks + chunk) * vector_elements;
  }

  /// Brings inputs `first` to `first + count` of all rows.
  template <class Dev>
  LISA_DEVICE void fill(const GemvArguments<Element>& a, int first, int count) const {
    const int vectors = count / vector_elements;
    for (int i = Dev::thread_index(); i < a.rows * vectors; i += gemv_warps * 32) {
      const int row = i / vectors, input = first + i % vectors * vector_elements;
      const Vector16 vector = Dev::load16(a.x + row * a.x_stride + input);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const InputPlace place = Weights::place(a.in, input / 4 + half);
        auto* const to = reinterpret_cast<ElementPair*>(
            piece(row, place.piece, place.chunk - first / Weights::chunk_inputs) + place.half * 4);
        to[0] = vector.words[2 * half];
        to[1] = vector.words[2 * half + 1];
      }
    }
  }
};

/// A lane's part of the products of two rows of weights with up to `max_rows` rows of inputs.
template <class Dev, class Element, class Weights, int max_rows>
class PairProducts {
 public:
  using Row = typename Weights::template Row<Dev>;

  LISA_DEVICE PairProducts(const Row& first, const Row& second, int rows) : weights_{first, second}, rows_(rows) {}

  /// Asks for weights of a tile's `chunks`: those of chunk `chunk` and of every 32nd behind it. `first_chunk` of the
  /// row is the tile's first.
  LISA_DEVICE void request(int first_chunk, int chunk, int chunks) {
#pragma unroll
    for (int i = 0; i < ahead; ++i)
#pragma unroll
      for (int k = 0; k < 2; ++k)
        if (chunk + 32 * i < chunks) loaded_[i][k] = weights_[k].load(first_chunk + chunk + 32 * i);
  }

  /// Adds the products of a tile's chunks; the lane's first have been asked for.
  LISA_DEVICE void add(const StagedInputs<Element, Weights>& inputs, int first_chunk, int chunks, int lane) {
    for (int chunk = lane; chunk < chunks; chunk += ahead * 32) {
#pragma unroll
      for (int i = 0; i < ahead; ++i)
        if (chunk + 32 * i < chunks) multiply(loaded_[i], inputs, chunk + 32 * i);
      request(first_chunk, chunk + ahead * 32, chunks);
    }
  }

  /// The whole sums of row `row` in its lane: over all lanes, and with the scales of the rows of weights.
  LISA_DEVICE void reduce(int lane, float (&totals)[2]) {
    totals[0] = totals[1] = 0.0F;
#pragma unroll
    for (int n = 0; n < max_rows; ++n)
      if (n < rows_) {
#pragma unroll
        for (int k = 0; k < 2; ++k) {
          const float total = warp_sum<Dev>(sums_[n][k]) * weights_[k].scale();
          if (n == lane) totals[k] = total;
        }
      }
  }

 private:
  /// Chunks of each row of weights that are on their way at a time.
  static constexpr int ahead = max_rows == 1 ? 4 : 2;

  LISA_DEVICE void multiply(const typename Weights::Chunk (&loaded)[2], const StagedInputs<Element, Weights>& inputs,
                            int chunk) {
#pragma unroll
    for (int piece = 0; piece < StagedInputs<Element, Weights>::pieces; ++piece) {
      float weights[2][vector_elements], scales[2];
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        Weights::template unpack_piece<Dev>(loaded[k], piece, weights[k]);
        scales[k] = Weights::template scale_of<Dev>(loaded[k], piece);
      }
#pragma unroll
      for (int n = 0; n < max_rows; ++n)
        if (n < rows_) {
          float x[vector_elements];
          load_elements<Dev>(static_cast<const Element*>(inputs.piece(n, piece, chunk)), x);
#pragma unroll
          for (int k = 0; k < 2; ++k) {
            float sum = 0.0F;
#pragma unroll
            for (int i = 0; i < vector_elements; ++i) sum += weights[k][i] * x[i];
            sums_[n][k] += scales[k] * sum;
          }
        }
    }
  }

  Row weights_[2];
  int rows_;
  typename Weights::Chunk loaded_[ahead][2] = {};
  float sums_[max_rows][2] = {};
};

/// What is stored of a pair's sums for one row.
template <class Dev, class Element>
LISA_DEVICE void store_pair(const GemvArguments<Element>& a, const WeightPair& pair, int row, const float (&sums)[2]) {
  const int first = pair.row[0], second = pair.row[1];
  const GemvOutput<Element> output = a.out[a.result == GemvResult::rotated ? pair.matrix[0] : 0];
  Element* const out = output.begin + row * output.stride;
  if (a.result == GemvResult::gated) {
    const float silu = sums[0] / (1.0F + Dev::exp2(sums[0] * -1.44269504F));
    out[first] = to_element<Dev, Element>(silu * sums[1]);
    return;
  }
  float low = sums[0], high = sums[1];
  if (a.result == GemvResult::rotated && pair.matrix[0] < 2) {
    const std::int64_t angle = static_cast<std::int64_t>(a.positions[row]) * a.head_dim + first % a.head_dim;
    const float cosine = Dev::to_float(a.cosine[angle]), sine = Dev::to_float(a.sine[angle]);
    low = sums[0] * cosine - sums[1] * sine;
    high = sums[1] * cosine + sums[0] * sine;
  } else if (a.result == GemvResult::sum && a.residual != nullptr) {
    const Element* const residual = a.residual + row * a.residual_stride;
    low += Dev::to_float(residual[first]);
    high += Dev::to_float(residual[second]);
  }
  out[first] = to_element<Dev, Element>(low);
  if (second != first) out[second] = to_element<Dev, Element>(high);
}

/// The kernel: inputs go through shared memory, a tile at a time; each warp streams its two rows of weights past them.
/// @tparam Weights ElementWeights<Element>, Int8Weights or Int4Weights, as `storage` says
/// @tparam max_rows 1 or 8, at least `rows`
template <class Dev, class Element, class Weights, int max_rows>
LISA_DEVICE void gemv(const GemvArguments<Element>& a) {
  using Row = typename Weights::template Row<Dev>;
  const int lane = Dev::thread_index() % 32, warp = Dev::thread_index() / 32;
  const int number = Dev::block_index().x * gemv_warps + warp;
  const bool wanted = number < gemv_pairs(a);  // else the warp helps to bring the inputs
  const WeightPair pair = weight_pair(a, wanted ? number : 0);
  const int tile = gemv_tile(a.rows, a.in);
  const StagedInputs<Element, Weights> inputs{reinterpret_cast<Element*>(Dev::shared_memory()),
                                              tile / Weights::chunk_inputs};
  PairProducts<Dev, Element, Weights, max_rows> products(Row(a.weights[pair.matrix[0]], pair.row[0], a.in),
                                                         Row(a.weights[pair.matrix[1]], pair.row[1], a.in), a.rows);
  for (int first = 0; first < a.in; first += tile) {
    const int count = a.in - first < tile ? a.in - first : tile;
    const int first_chunk = first / Weights::chunk_inputs, chunks = count / Weights::chunk_inputs;
    if (wanted) products.request(first_chunk, lane, chunks);  // weights are on their way while the inputs come
    if (first > 0) Dev::barrier();                            // nobody needs the tile before any more
    inputs.template fill<Dev>(a, first, count);
    Dev::barrier();
    if (wanted) products.add(inputs, first_chunk, chunks, lane);
  }
  if (!wanted) return;  // the whole warp
  float sums[2];
  products.reduce(lane, sums);
  if (lane < a.rows) store_pair<Dev>(a, pair, lane, sums);
}

}  // namespace lisa::cuda
