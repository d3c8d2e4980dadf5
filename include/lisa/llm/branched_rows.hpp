#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"

namespace lisa {

/// Sequences that begin alike, as one item: the rows of what they share, then those of each sequence's rest.
struct BranchedItem {
  dim trunk = 0;              ///< rows of the shared beginning, >= 1
  std::vector<dim> branches;  ///< rows of each sequence's rest; may be 0

  /// Positions of the longest sequence.
  [[nodiscard]] dim longest() const {
    return trunk + (branches.empty() ? 0 : *std::max_element(branches.begin(), branches.end()));
  }
  /// Rows of the item.
  [[nodiscard]] dim size() const {
    dim total = trunk;
    for (const dim branch : branches) total += branch;
    return total;
  }
};

/// Attention over the rows of a batch of plain sequences, differentiable: each row sees what stands before it in its
/// own sequence, and itself. What it gives for padding means nothing, but is finite. query [items * T, heads,
/// head_dim], key and value [items * T, kv_heads, head_dim] -> as query.
using RowAttention = std::function<at::Tensor(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value)>;

/// A batch of such items for the language model, padded at their ends to one length. A row sees the shared beginning
/// and what stands before it in its own branch, so that every sequence is computed as if it stood alone while its
/// beginning is computed once. Questions about one image share the image.
struct BranchedRows {
  dim items = 0;
  dim length = 0;        ///< T, rows of the longest item
  dim longest = 0;       ///< positions of the longest sequence
  at::Tensor positions;  ///< int64 [items * T], each row's position in its sequence
  at::Tensor bias;       ///< [items, 1, T, T] in the model's dtype: 0 where the row sees the column, else -infinity
  /// Rows of each item without padding, where every item is one plain sequence; else empty.
  std::vector<dim> plain_rows{};
  RowAttention attend{};  ///< takes the place of attention with the bias, where it is given
};

namespace detail {

/// Bias and positions of one item in memory that holds -infinity and 0.
inline void fill_item(const BranchedItem& item, dim length, float* bias, std::int64_t* positions) {
  // Row `row` sees columns [begin, end).
  const auto see = [&](dim row, dim begin, dim end) {
    std::fill(bias + row * length + begin, bias + row * length + end, 0.0F);
  };
  for (dim row = 0; row < item.trunk; ++row) {
    positions[row] = row;
    see(row, 0, row + 1);
  }
  dim begin = item.trunk;
  for (const dim branch : item.branches) {
    for (dim i = 0; i < branch; ++i) {
      positions[begin + i] = item.trunk + i;
      see(begin + i, 0, item.trunk);
      see(begin + i, begin, begin + i + 1);
    }
    begin += branch;
  }
  for (dim row = begin; row < length; ++row) see(row, 0, 1);  // padding: a softmax needs something to see
}

/// `BranchedRows::plain_rows`: one branch goes on from its trunk like any sequence.
[[nodiscard]] inline std::vector<dim> plain_rows(const std::vector<BranchedItem>& items) {
  std::vector<dim> rows;
  for (const BranchedItem& item : items) {
    if (item.branches.size() > 1) return {};
    rows.push_back(item.size());
  }
  return rows;
}

}  // namespace detail

/// @param options dtype and device of the model's rows
[[nodiscard]] inline BranchedRows branched_rows(const std::vector<BranchedItem>& items,
                                                const at::TensorOptions& options) {
  const auto count = static_cast<dim>(items.size());
  dim length = 0, longest = 0;
  for (const BranchedItem& item : items) {
    length = std::max(length, item.size());
    longest = std::max(longest, item.longest());
  }
  at::Tensor bias = aten::full({count, 1, length, length}, -std::numeric_limits<double>::infinity(), at::kFloat);
  at::Tensor positions = aten::zeros({count * length}, at::kLong);
  for (dim i = 0; i < count; ++i)
    detail::fill_item(items[static_cast<std::size_t>(i)], length, bias.mutable_data_ptr<float>() + i * length * length,
                      positions.mutable_data_ptr<std::int64_t>() + i * length);
  return {.items = count,
          .length = length,
          .longest = longest,
          .positions = positions.to(options.device()),
          .bias = bias.to(options),
          .plain_rows = detail::plain_rows(items)};
}

}  // namespace lisa
