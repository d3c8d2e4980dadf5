#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "lisa/aten/operators.hpp"
#include "lisa/base/error.hpp"
#include "lisa/config/dim.hpp"

namespace lisa {

/// Keys and values of one sequence, every layer. Its storage grows by half up to the limit; `truncate` forgets the
/// newest positions, so that a later prompt with the same beginning continues from there. Move-only, because a copy
/// would share the storage; `fork` gives a sequence of its own.
class KvCache {
 public:
  /// @param limit longest sequence in positions; `append` beyond it throws InputError
  KvCache(dim layers, dim limit) : layers_(static_cast<std::size_t>(layers)), limit_(limit) {}
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;
  KvCache(KvCache&&) = default;
  KvCache& operator=(KvCache&&) = default;
  ~KvCache() = default;

  /// Positions held by every layer.
  [[nodiscard]] dim length() const noexcept { return length_; }
  [[nodiscard]] dim limit() const noexcept { return limit_; }

  /// Throws InputError unless `rows` more positions fit.
  void require_room(dim rows) const {
    if (length_ + rows > limit_)
      throw InputError("sequence", found_expected(std::to_string(length_ + rows) + " positions",
                                                  "at most " + std::to_string(limit_) + ", the model's context"));
  }

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
    require_room(rows);
    reserve(slot, key, length_ + rows);
    slot.keys.narrow(1, length_, rows).copy_(key);
    slot.values.narrow(1, length_, rows).copy_(value);
    return {slot.keys.narrow(1, 0, length_ + rows), slot.values.narrow(1, 0, length_ + rows)};
  }

  void advance(dim rows) noexcept { length_ += rows; }

  /// Takes storage for `limit()` positions, which never moves again, so that work that was recorded with its addresses
  /// stays right; what is not stored yet is 0 there. Call with at least one position held.
  void reserve_limit() {
    if (std::exchange(has_limit_reserved_, true)) return;
    for (Layer& layer : layers_) {
      reserve_rows(layer, layer.keys, limit_);
      for (const at::Tensor& held : {layer.keys, layer.values}) held.narrow(1, length_, limit_ - length_).zero_();
    }
  }

  /// All of a layer's storage, with what stands behind the sequence.
  [[nodiscard]] KeysValues storage(dim layer) const {
    const Layer& slot = layers_[static_cast<std::size_t>(layer)];
    return {slot.keys, slot.values};
  }

  /// Where the storage of every layer lies.
  [[nodiscard]] std::vector<const void*> addresses() const {
    std::vector<const void*> all;
    for (const Layer& layer : layers_)
      for (const at::Tensor& held : {layer.keys, layer.values})
        all.push_back(held.defined() ? held.const_data_ptr() : nullptr);
    return all;
  }

  /// Makes a row that was stored behind the sequence without becoming part of it the next position.
  /// @param row  its place, >= length(); nothing was stored there since
  void adopt(dim row) {
    if (row != length_)
      for (Layer& layer : layers_)
        for (at::Tensor* const held : {&layer.keys, &layer.values})
          held->narrow(1, length_, 1).copy_(held->narrow(1, row, 1));
    advance(1);
  }

  /// Keeps the first `length` positions.
  void truncate(dim length) noexcept { length_ = std::min(length_, length); }

  /// A cache with the same content and storage of its own, which has no room to spare.
  [[nodiscard]] KvCache fork() const { return fork(length_); }

  /// The same with the first `length` positions only.
  [[nodiscard]] KvCache fork(dim length) const {
    KvCache copy(static_cast<dim>(layers_.size()), limit_);
    copy.length_ = std::min(length, length_);
    if (copy.length_ == 0) return copy;
    for (std::size_t i = 0; i < layers_.size(); ++i)
      copy.layers_[i] = {layers_[i].keys.narrow(1, 0, copy.length_).clone(),
                         layers_[i].values.narrow(1, 0, copy.length_).clone()};
    return copy;
  }

  /// Memory of a fork with `length` positions.
  [[nodiscard]] std::size_t bytes(dim length) const {
    std::size_t bytes = 0;
    if (length_ == 0) return bytes;
    for (const Layer& layer : layers_) bytes += layer.keys.narrow(1, 0, std::min(length, length_)).nbytes() * 2;
    return bytes;
  }

 private:
  struct Layer {
    at::Tensor keys;    // [kv_heads, capacity, head_dim]
    at::Tensor values;  // [kv_heads, capacity, head_dim]
  };

  void reserve(Layer& layer, const at::Tensor& rows, dim needed) const {
    const dim capacity = layer.keys.defined() ? layer.keys.size(1) : 0;
    if (needed <= capacity) return;
    // A first prompt of ordinary length and its answer fit without another copy.
    reserve_rows(layer, rows, std::min(limit_, std::max(needed + 64, capacity + capacity / 2)));
  }

  /// @param like  rows of the layer, [kv_heads, any, head_dim]
  void reserve_rows(Layer& layer, const at::Tensor& like, dim capacity) const {
    const auto enlarged = [&](const at::Tensor& held) {
      at::Tensor larger = aten::empty({like.size(0), capacity, like.size(2)}, like.options());
      if (length_ > 0) larger.narrow(1, 0, length_).copy_(held.narrow(1, 0, length_));
      return larger;
    };
    layer = Layer{enlarged(layer.keys), enlarged(layer.values)};
  }

  std::vector<Layer> layers_;
  dim limit_;
  dim length_ = 0;
  bool has_limit_reserved_ = false;
};

}  // namespace lisa
