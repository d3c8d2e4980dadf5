#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <optional>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/cpu/bfloat16.hpp"
#include "lisa/cpu/few_token_attention.hpp"
#include "lisa/cpu/own_kernels.hpp"

namespace lisa {

namespace detail {

/// Items of a batch in which queries or keys may be a single one that stands for all.
template <class Element>
[[nodiscard]] cpu::FewTokenAttention<Element> few_token_item(const at::Tensor& queries, const at::Tensor& keys,
                                                             const at::Tensor& values, const at::Tensor& out, dim item,
                                                             bool pixels_ask) {
  const auto data = [item](const at::Tensor& t) {
    return static_cast<const Element*>(t.const_data_ptr()) + (t.size(0) == 1 ? 0 : item) * t.size(1) * t.size(2);
  };
  return {.queries = data(queries),
          .keys = data(keys),
          .values = data(values),
          .out = static_cast<Element*>(out.mutable_data_ptr()) + item * out.size(1) * out.size(2),
          .pixels = pixels_ask ? queries.size(1) : keys.size(1),
          .tokens = pixels_ask ? keys.size(1) : queries.size(1),
          .heads = out.size(2) / cpu::few_token_head_width};
}

template <class Element>
void run_few_token_attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                             const at::Tensor& out, bool pixels_ask) {
  const auto kernel =
      pixels_ask ? cpu::find_pixels_attend_to_tokens<Element>() : cpu::find_tokens_attend_to_pixels<Element>();
  const auto item = [&](dim i) { return few_token_item<Element>(queries, keys, values, out, i, pixels_ask); };
  // Of an item, groups of pixels or heads are computed apart: 32 groups do about what a head over all of SAM's does.
  const dim parts = pixels_ask ? (queries.size(1) + cpu::few_token_pixels - 1) / cpu::few_token_pixels
                               : out.size(2) / cpu::few_token_head_width;
  at::parallel_for(0, out.size(0) * parts, pixels_ask ? 32 : 1, [&](dim begin, dim end) {
    while (begin < end) {
      const dim i = begin / parts, last = std::min(end, (i + 1) * parts);
      kernel(item(i), begin - i * parts, last - i * parts);
      begin = last;
    }
  });
}

}  // namespace detail

/// Attention between a few tokens and many pixels by the CPU's own kernel (`cpu/few_token_attention.hpp`), rounded as
/// single operators round; nothing where it does not apply: other devices, dtypes and widths, operands that record
/// gradients, more tokens than a handful, and where a picture has few pixels as well.
/// @param queries [Bq, Tq, heads * w]
/// @param keys    [Bk, Tk, heads * w], `values` the same; Bq == Bk, or one of them is 1
/// @return [max(Bq, Bk), Tq, heads * w]
[[nodiscard]] inline std::optional<at::Tensor> few_token_attention(const at::Tensor& queries, const at::Tensor& keys,
                                                                   const at::Tensor& values, dim heads) {
  constexpr dim many = 4 * cpu::most_few_tokens;
  const at::ScalarType dtype = queries.scalar_type();
  const bool pixels_ask = queries.size(1) > keys.size(1);
  const dim tokens = std::min(queries.size(1), keys.size(1)), pixels = std::max(queries.size(1), keys.size(1));
  const auto plain = [dtype](const at::Tensor& t) {
    return t.device().is_cpu() && t.scalar_type() == dtype && t.is_contiguous() &&
           !(at::GradMode::is_enabled() && t.requires_grad());
  };
  const bool bf16 = dtype == at::kBFloat16;
  if (!cpu::own_kernels_enabled() || !(bf16 || dtype == at::kFloat) || tokens == 0 || tokens > cpu::most_few_tokens ||
      pixels < many || queries.size(2) != heads * cpu::few_token_head_width ||
      cpu::find_pixels_attend_to_tokens<float>() == nullptr || !plain(queries) || !plain(keys) || !plain(values))
    return std::nullopt;
  at::Tensor out =
      aten::empty({std::max(queries.size(0), keys.size(0)), queries.size(1), queries.size(2)}, queries.options());
  if (bf16)
    detail::run_few_token_attention<cpu::Bf16Bits>(queries, keys, values, out, pixels_ask);
  else
    detail::run_few_token_attention<float>(queries, keys, values, out, pixels_ask);
  return out;
}

}  // namespace lisa
