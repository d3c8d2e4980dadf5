#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "lisa/aten/operators.hpp"
#include "lisa/config/dim.hpp"
#include "lisa/gpu/decode_attention.hpp"

namespace lisa {

/// The position of one sequence that a step of decoding runs, in the memory of the model's device: a step that was
/// recorded once sees each new one. Changes are queued like any other operation.
class DecodePosition {
 public:
  /// Position 0.
  explicit DecodePosition(c10::Device device)
      : sequence_(aten::zeros({gpu::sequence_words}, at::TensorOptions().dtype(at::kInt).device(device))) {
    word(gpu::sequence_queries_word).fill_(1);
    set(0);
  }

  void set(dim position) { word(gpu::sequence_keys_word).fill_(position + 1); }
  /// @param positions int64 [1], how many further
  void advance(const at::Tensor& positions) { word(gpu::sequence_keys_word).add_(positions); }

  /// The position, int64 [1].
  [[nodiscard]] at::Tensor index() const { return word(gpu::sequence_keys_word).to(at::kLong).sub_(1); }
  /// The same as kernels read it, see `gpu::DecodeOperands`.
  [[nodiscard]] const at::Tensor& sequence() const noexcept { return sequence_; }

 private:
  [[nodiscard]] at::Tensor word(dim number) const { return sequence_.narrow(0, number, 1); }

  at::Tensor sequence_;  // int32 [gpu::sequence_words]
};

}  // namespace lisa
