#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <vector>

#include "attention_reference.hpp"
#include "element_values.hpp"
#include "launch.hpp"
#include "lisa/cuda/causal_attention.cuh"

namespace simt {

/// Positions of a sequence: keys held before, and queries of now.
struct Length {
  int held, queries;
};

/// Which of rows and heads is the outer axis of the tensors: projections have rows outside, caches heads.
enum class Outer { rows, heads };

/// A batch of sequences and heads.
struct Batch {
  std::vector<Length> lengths;
  int heads = 1, kv_heads = 1;
  Outer outer = Outer::rows;
};

/// Rows of heads x head_dim, and where they lie.
struct RowLayout {
  std::int64_t rows, row_stride, head_stride;

  RowLayout(std::int64_t count, int heads, int head_dim, Outer outer)
      : rows(count),
        row_stride(outer == Outer::rows ? std::int64_t{heads} * head_dim : head_dim),
        head_stride(outer == Outer::rows ? head_dim : count * head_dim) {}
  [[nodiscard]] std::size_t index(std::int64_t row, int head) const {
    return at(row * row_stride + head * head_stride);
  }
};

/// Inputs of causal attention. Between the keys of two sequences lie rows that are NaN, as what an allocator left
/// behind the end of a cache may be; sequences lie in the reverse of their order, so that none starts where the last
/// one ends.
template <class Element, int head_dim>
struct CausalProblem {
  static constexpr int gap = 3;

  Batch batch;
  std::vector<lisa::cuda::SequenceRows> sequences;
  RowLayout query_rows, key_rows;
  Values<Element> q, k, v;
  Memory memory;
  lisa::cuda::CausalAttentionArguments<Element> arguments{};

  explicit CausalProblem(const Batch& b, float deviation = 1.0F)
      : batch(b),
        query_rows(total(b, &Length::queries), b.heads, head_dim, b.outer),
        key_rows(total(b, &Length::held) + query_rows.rows + gaps(b), b.kv_heads, head_dim, b.outer),
        q(at(query_rows.rows * b.heads * head_dim), deviation, 1),
        k(at(key_rows.rows * b.kv_heads * head_dim), deviation, 2),
        v(at(key_rows.rows * b.kv_heads * head_dim), deviation, 3) {
    place_sequences();
    for (Values<Element>* const values : {&k, &v}) forget_gaps(*values);
    const RowLayout log_sums(query_rows.rows, b.heads, 1, Outer::heads);
    arguments.q = memory.input(q.elements, "q");
    arguments.k = memory.input(k.elements, "k");
    arguments.v = memory.input(v.elements, "v");
    arguments.out = memory.output<Element>(q.elements.size(), "out");
    arguments.log_sum = memory.output<float>(at(query_rows.rows * b.heads), "log_sum");
    arguments.sequences = memory.input(sequences, "sequences");
    arguments.query_stride = arguments.out_stride = query_rows.row_stride;
    arguments.query_head_stride = arguments.out_head_stride = query_rows.head_stride;
    arguments.key_stride = key_rows.row_stride;
    arguments.key_head_stride = key_rows.head_stride;
    arguments.log_sum_head_stride = log_sums.head_stride;
    arguments.scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
    arguments.batch = static_cast<int>(b.lengths.size());
    arguments.heads = b.heads;
    arguments.kv_heads = b.kv_heads;
    for (const Length& length : b.lengths) arguments.most_queries = std::max(arguments.most_queries, length.queries);
    arguments.head_dim = head_dim;
  }

  /// Rows of keys that belong to no sequence.
  static std::int64_t gaps(const Batch& b) { return b.lengths.empty() ? 0 : gap * (std::ssize(b.lengths) - 1); }

  [[nodiscard]] const float* query(const lisa::cuda::SequenceRows& rows, int head, int i) const {
    return q.floats.data() + query_rows.index(rows.first_query + i, head);
  }
  /// @param head a query head
  [[nodiscard]] const float* key(const lisa::cuda::SequenceRows& rows, int head, int i) const {
    return k.floats.data() + key_rows.index(rows.first_key + i, head / (batch.heads / batch.kv_heads));
  }
  [[nodiscard]] const float* value(const lisa::cuda::SequenceRows& rows, int head, int i) const {
    return v.floats.data() + key_rows.index(rows.first_key + i, head / (batch.heads / batch.kv_heads));
  }

 private:
  static std::int64_t total(const Batch& b, int Length::* member) {
    std::int64_t rows = 0;
    for (const Length& length : b.lengths) rows += length.*member;
    return rows;
  }

  void place_sequences() {
    std::int64_t query = query_rows.rows, key = key_rows.rows;
    for (const Length& length : batch.lengths) {
      query -= length.queries;
      key -= length.held + length.queries;
      sequences.push_back({query, key, length.queries, length.held + length.queries});
      key -= gap;
    }
  }

  void forget_gaps(Values<Element>& values) const {
    for (std::size_t i = 1; i < sequences.size(); ++i)
      for (int row = sequences[i].keys; row < sequences[i].keys + gap; ++row)
        for (int head = 0; head < batch.kv_heads; ++head)
          for (std::size_t d = 0; d < head_dim; ++d) {
            const std::size_t place = key_rows.index(sequences[i].first_key + row, head) + d;
            values.elements[place] = to_element<Element>(NAN);
            values.floats[place] = NAN;
          }
  }
};

/// All queries' outputs and sums of exponentials against double, the larger of each error over its bound.
///
/// The bound of the logarithm of the sum: a score in units of log2 is (head_dim + 4) u A away, A the largest sum of
/// magnitudes, and no exponential's argument is rounded elsewhere; the sum of n of them adds 2^-22 + (n + rescalings) u
/// relative to itself, the logarithm and the sum with the maximum a few u of what they give. log_sum is in units of e,
/// none of which is smaller.
/// @param rescalings_of how often a query that sees so many keys multiplies by a factor that is u away
template <class Element, int head_dim>
double worst_of_causal(const CausalProblem<Element, head_dim>& problem, int (*rescalings_of)(int seen)) {
  constexpr double u = 0x1p-24;
  const std::vector<float> nothing(head_dim);
  double worst = 0;
  for (const lisa::cuda::SequenceRows& rows : problem.sequences)
    for (int head = 0; head < problem.batch.heads; ++head)
      for (int i = 0; i < rows.queries; ++i) {
        const int seen = rows.keys - rows.queries + i + 1;
        std::vector<ReferenceKey> keys;
        for (int key = 0; key < seen; ++key)
          keys.push_back(
              {problem.key(rows, head, key), problem.value(rows, head, key), nothing.data(), nothing.data()});
        const float* const query = problem.query(rows, head, i);
        const int rescalings = rescalings_of(seen);
        const ReferenceRow expected =
            attention_reference(query, keys, head_dim, problem.arguments.scale, rescalings, rounding_of<Element>);
        const Element* const found = problem.arguments.out + problem.query_rows.index(rows.first_query + i, head);
        for (std::size_t d = 0; d < head_dim; ++d)
          worst = worse(std::fabs(as_float(found[d]) - expected.out[d]) / expected.bound[d], worst);
        if (problem.arguments.log_sum == nullptr) continue;
        const double bound = 1.05 * ((head_dim + 8) * u * expected.magnitude + 0x1p-22 + (seen + rescalings) * u +
                                     4 * u * (std::fabs(expected.log_sum) + 1));
        const float log_sum =
            problem.arguments.log_sum[head * problem.arguments.log_sum_head_stride + rows.first_query + i];
        worst = worse(std::fabs(log_sum - expected.log_sum) / bound, worst);
      }
  return worst;
}

}  // namespace simt
