#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"

namespace lisa {

/// Likely answers as a tree of tokens: answers that begin alike share the nodes of their beginning. Its nodes are run
/// as rows behind a prompt, each seeing the prompt and what leads to it, so that one run of the model gives the states
/// of every beginning of every likely answer (Miao et al. 2023, SpecInfer, arXiv:2305.09781).
class DraftTree {
 public:
  /// The place before the first token of an answer.
  static constexpr dim root = -1;

  DraftTree() = default;

  /// @param drafts      token ids of each likely answer, of the model's vocabulary
  /// @param end_token   a draft is cut off before it: an end is chosen and not run
  /// @param most_depth  longest beginning that is kept, >= 0
  /// @param most_nodes  nodes that are kept; those of the first drafts are
  DraftTree(const std::vector<std::vector<std::int64_t>>& drafts, std::int64_t end_token, dim most_depth,
            dim most_nodes) {
    for (const std::vector<std::int64_t>& draft : drafts) {
      dim node = root, depth = 0;
      for (const std::int64_t token : draft) {
        if (token == end_token || ++depth > most_depth) break;
        if (const std::optional<dim> known = child(node, token)) {
          node = *known;
          continue;
        }
        if (size() >= most_nodes) return;
        tokens_.push_back(token);
        parents_.push_back(node);
        depths_.push_back(depth);
        node = size() - 1;
      }
    }
  }

  /// Number of nodes. A node stands behind its parent.
  [[nodiscard]] dim size() const noexcept { return static_cast<dim>(tokens_.size()); }
  [[nodiscard]] const std::vector<std::int64_t>& tokens() const noexcept { return tokens_; }
  /// `root` for the first token of an answer.
  [[nodiscard]] dim parent(dim node) const { return parents_[static_cast<std::size_t>(node)]; }
  /// Tokens from the answer's beginning to each node, itself included.
  [[nodiscard]] const std::vector<dim>& depths() const noexcept { return depths_; }

  /// The node of `token` behind `node`, if a draft has one.
  [[nodiscard]] std::optional<dim> child(dim node, std::int64_t token) const {
    for (dim i = node + 1; i < size(); ++i)
      if (parent(i) == node && tokens_[static_cast<std::size_t>(i)] == token) return i;
    return std::nullopt;
  }

 private:
  std::vector<std::int64_t> tokens_;
  std::vector<dim> parents_;
  std::vector<dim> depths_;
};

/// The rows of a tree as attention needs them.
struct DraftRows {
  dim count = 0;
  at::Tensor depths;  ///< int64 [count], how many positions behind the prompt's last one each row stands
  at::Tensor bias;    ///< [1, 1, count, count] in the model's dtype: 0 where the row sees the column, else -infinity
};

/// @param options dtype and device of the model's rows
[[nodiscard]] inline DraftRows draft_rows(const DraftTree& tree, const at::TensorOptions& options) {
  const dim count = tree.size();
  at::Tensor bias = aten::full({count, count}, -std::numeric_limits<double>::infinity(), at::kFloat);
  float* const seen = bias.mutable_data_ptr<float>();
  for (dim row = 0; row < count; ++row)
    for (dim node = row; node != DraftTree::root; node = tree.parent(node)) seen[row * count + node] = 0;
  return {count, at::tensor(tree.depths(), at::kLong).to(options.device()),
          bias.view({1, 1, count, count}).to(options)};
}

}  // namespace lisa
