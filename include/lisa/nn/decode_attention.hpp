#pragma once

#include <ATen/core/Tensor.h>

#include <limits>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/decode_attention.hpp"
#include "lisa/nn/decode_position.hpp"
#include "lisa/nn/masked_attention.hpp"
#include "lisa/nn/rotary.hpp"

namespace lisa {

/// Causal attention of one new position of a sequence over its cache: q and k are rotated to the position, k and v
/// become the cache's row there. The position is never read on the host and no shape depends on it, so that the
/// operation can be recorded once for all positions.
/// @param q       [heads, HeadDim]
/// @param k       [kv_heads, HeadDim]
/// @param v       [kv_heads, HeadDim]
/// @param keys    [kv_heads, capacity, HeadDim], finite also behind the position, where nothing is seen
/// @param values  as `keys`
/// @return        [heads, HeadDim]
template <dim HeadDim>
[[nodiscard]] at::Tensor decode_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                          const RotaryEmbedding<HeadDim>& rotary, const at::Tensor& keys,
                                          const at::Tensor& values, const DecodePosition& position) {
  if (const auto attended =
          gpu::decode_attention({q, k, v, rotary.cosine, rotary.sine, keys, values, position.sequence()}))
    return *attended;
  const at::Tensor index = position.index();
  const RotaryEmbedding<HeadDim> angles = rotary.at_positions(index);  // [1, HeadDim]
  const auto rotated = [&](const at::Tensor& x) {
    return RotaryEmbedding<HeadDim>::rotated(x, angles.cosine, angles.sine);
  };
  keys.index_copy_(1, index, rotated(k).unsqueeze(1));
  values.index_copy_(1, index, v.unsqueeze(1));
  const dim capacity = keys.size(1);
  const at::Tensor later = aten::arange(capacity, index.options()).gt(index);  // [capacity]
  const at::Tensor bias =
      aten::zeros({1, 1, 1, capacity}, q.options()).masked_fill_(later, -std::numeric_limits<double>::infinity());
  return masked_attention(rotated(q).view({1, -1, 1, HeadDim}), keys.unsqueeze(0), values.unsqueeze(0), bias)
      .view({-1, HeadDim});
}

}  // namespace lisa
