#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/llm/branched_rows.hpp"
#include "lisa/nn/masked_attention.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"

namespace lisa::test {

/// Attention of plain sequences with its gradients by query, key and value.
struct DifferentiatedRows {
  at::Tensor out, query, key, value;

  [[nodiscard]] std::vector<at::Tensor> all() const { return {out, query, key, value}; }
};

/// Random rows of plain sequences, padded to one length.
struct CausalRowCase {
  BranchedRows rows;      // with a bias in fp64
  at::Tensor query;       // [R, heads, head_dim]
  at::Tensor key, value;  // [R, kv_heads, head_dim]
  at::Tensor inside;      // fp64 [R, 1, 1]: 1, and 0 in padding
  at::Tensor weight;      // as query: of each element of the result in what is differentiated, 0 in padding

  /// @param items of one branch at most
  static CausalRowCase make(const std::vector<BranchedItem>& items, dim heads, dim kv_heads, dim head_dim,
                            const at::TensorOptions& options) {
    CausalRowCase made;
    made.rows = branched_rows(items, options.dtype(at::kDouble));
    const dim count = made.rows.items * made.rows.length;
    at::Tensor inside = aten::zeros({made.rows.items, made.rows.length}, at::kDouble);
    for (dim i = 0; i < made.rows.items; ++i)
      inside[i].narrow(0, 0, made.rows.plain_rows[static_cast<std::size_t>(i)]).fill_(1);
    made.inside = inside.view({count, 1, 1}).to(options.device());
    const auto random = [&](dim of_heads, std::uint64_t seed) {
      return random_tensor({count, of_heads, head_dim}, seed).to(options);
    };
    made.query = random(heads, 1);
    made.key = random(kv_heads, 2);
    made.value = random(kv_heads, 3);
    made.weight = random(heads, 4).mul(made.inside.to(options));
    return made;
  }

  [[nodiscard]] DifferentiatedRows differentiated(at::ScalarType dtype, const RowAttention& attend) const {
    const auto variable = [&](const at::Tensor& t) { return t.to(dtype).detach().clone().requires_grad_(); };
    const at::Tensor q = variable(query), k = variable(key), v = variable(value);
    const at::Tensor out = attend(q, k, v);
    out.mul(weight.to(dtype)).sum().backward();
    return {out.detach(), q.grad(), k.grad(), v.grad()};
  }

  /// The same in fp64 by ATen's operators.
  [[nodiscard]] DifferentiatedRows exact() const {
    return differentiated(at::kDouble, [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
      const auto of_items = [&](const at::Tensor& t) {  // [R, h, d] -> [items, h, T, d]
        return t.view({rows.items, rows.length, t.size(1), t.size(2)}).transpose(1, 2);
      };
      return masked_attention(of_items(q), of_items(k), of_items(v), rows.bias).transpose(1, 2).reshape(q.sizes());
    });
  }

  /// The largest relative error of the result and the three gradients of some attention inside of the sequences.
  [[nodiscard]] double largest_error(const RowAttention& attend) const {
    const std::vector<at::Tensor> found = differentiated(query.scalar_type(), attend).all(), expected = exact().all();
    double largest = 0;
    for (std::size_t i = 0; i < found.size(); ++i)
      largest = std::max(largest, relative_l2(found[i].to(at::kDouble).mul(inside).to(at::kCPU),
                                              expected[i].mul(inside).to(at::kCPU)));
    return largest;
  }

  /// The largest number that some attention and its gradients leave in padding; 0 is right.
  [[nodiscard]] double largest_in_padding(const RowAttention& attend) const {
    double largest = 0;
    for (const at::Tensor& t : differentiated(query.scalar_type(), attend).all())
      largest = std::max(largest, t.to(at::kDouble).mul(inside.neg().add(1)).abs().max().item<double>());
    return largest;
  }
};

/// Of `largest_error`: weights, their slopes, the result and each gradient are rounded once, and what they are sums of.
/// @param unit roundoff of the dtype
[[nodiscard]] constexpr double causal_row_bound(double unit) { return 4 * unit; }

}  // namespace lisa::test
