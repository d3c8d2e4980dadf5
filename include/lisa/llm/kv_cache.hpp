#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/config/dim.hpp"

namespace lisa {

/// Keys and values of one sequence, every layer. Grows by doubling up to its capacity limit; `truncate` forgets the
/// newest positions, so that a later prompt with the same beginning continues from there.
class KvCache {
 public:
  /// @param limit longest sequence in positions; `append` beyond it throws InputError
  explicit KvCache(dim layers, dim limit) : layers_(static_cast<std::size_t>(layers)), limit_(limit) {}

  /// Positions held by every layer.
  [[nodiscard]] dim length() const noexcept { return length_; }
  [[nodiscard]] dim limit() const noexcept { return limit_; }

  /// Stores the rows of one layer behind the `length()` valid ones and returns all keys and values up to and
  /// including them. The rows become part of the sequence when `advance` is called after the last layer.
  /// @param key    [kv_heads, T, head_dim]
  /// @param value  [kv_heads, T, head_dim]
  struct KeysValues {
    at::Tensor keys;    // [kv_heads, S, head_dim]
    at::Tensor values;  // [kv_heads, S, head_dim]
  };
  [[nodiscard]] KeysValues append(dim layer, const at::Tensor& key, const at::Tensor& value) {
    Layer& slot = layers_[static_cast<std::size_t>(layer)];
    const dim rows = key.size(1);
    reserve(slot, key, length_ + rows);
    slot.keys.narrow(1, length_, rows).copy_(key);
    slot.values.narrow(1, length_, rows).copy_(value);
    return {slot.keys.narrow(1, 0, length_ + rows), slot.values.narrow(1, 0, length_ + rows)};
  }

  void advance(dim rows) noexcept { length_ += rows; }

  /// Keeps the first `length` positions.
  void truncate(dim length) noexcept { length_ = std::min(length_, length); }

  /// A cache with the same content and storage of its own.
  [[nodiscard]] KvCache fork() const {
    KvCache copy = *this;
    for (Layer& layer : copy.layers_) {
      if (!layer.keys.defined()) continue;
      layer.keys = layer.keys.narrow(1, 0, length_).clone();
      layer.values = layer.values.narrow(1, 0, length_).clone();
    }
    return copy;
  }

 private:
  struct Layer {
    at::Tensor keys;    // [kv_heads, capacity, head_dim]
    at::Tensor values;  // [kv_heads, capacity, head_dim]
  };

  void reserve(Layer& layer, const at::Tensor& rows, dim needed) const {
    if (needed > limit_)
      throw InputError("sequence", found_expected(std::to_string(needed) + " positions",
                                                  "at most " + std::to_string(limit_) + ", the model's context"));
    const dim capacity = layer.keys.defined() ? layer.keys.size(1) : 0;
    if (needed <= capacity) return;
    // A first prompt of ordinary length and its answer fit without another copy.
    const dim grown = std::min(limit_, std::max(needed + 64, capacity + capacity / 2));
    for (at::Tensor* held : {&layer.keys, &layer.values}) {
      const at::Tensor larger = at::empty({rows.size(0), grown, rows.size(2)}, rows.options());
      if (length_ > 0) larger.narrow(1, 0, length_).copy_(held->narrow(1, 0, length_));
      *held = larger;
    }
  }

  std::vector<Layer> layers_;
  dim limit_;
  dim length_ = 0;
};

}  // namespace lisa
