#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <string>

#include "bench/gpu/plain_sam.hpp"
#include "bench/gpu/require_close.hpp"
#include "bench/gpu/unit_gain.hpp"
#include "lisa/sam/image_encoder.hpp"
#include "tests/support/tensor_compare.hpp"

namespace lisa::gpu_bench {

/// SAM's image encoder with random weights in bf16 at one picture, on any device: the library's way and the plain ones,
/// whole and block by block.
template <SamConfig C>
class SamWork {
 public:
  explicit SamWork(c10::Device device)
      : image_(at::empty({1, 3, C.image, C.image}, options(device)).normal_()),
        tokens_(at::empty({1, grid(C), grid(C), C.hidden}, options(device)).normal_()) {
    fill_unit_gain(encoder_, options(device));
  }

  [[nodiscard]] at::Tensor whole() const { return encoder_.forward(image_); }
  [[nodiscard]] at::Tensor whole(PlainAttention how) const { return plain_encoder(encoder_, image_, how); }

  /// One block with its norms, projections and residuals.
  [[nodiscard]] at::Tensor block(dim layer) const {
    return at_layer(layer).feed_forward(at_layer(layer).attend(tokens_, attention_side(C, layer)));
  }
  [[nodiscard]] at::Tensor block(dim layer, PlainAttention how) const {
    return plain_block(at_layer(layer), tokens_, attention_side(C, layer), how);
  }

  /// Holds all ways against the plain one in fp32. @throws MismatchError
  void require_outputs(const std::string& name) const {
    const auto as_published = PlainAttention::scores;
    require(name, whole(), whole(PlainAttention::dense_bias), whole(as_published),
            plain_encoder(encoder_, image_.to(at::kFloat), as_published));
  }
  void require_outputs(const std::string& name, dim layer) const {
    const auto as_published = PlainAttention::scores;
    require(name, block(layer), block(layer, PlainAttention::dense_bias), block(layer, as_published),
            plain_block(at_layer(layer), tokens_.to(at::kFloat), attention_side(C, layer), as_published));
  }

 private:
  static at::TensorOptions options(c10::Device device) {
    return at::TensorOptions().dtype(at::kBFloat16).device(device);
  }

  static void require(const std::string& name, const at::Tensor& own, const at::Tensor& dense_bias,
                      const at::Tensor& published, const at::Tensor& exact) {
    const double of_published = test::relative_l2(published, exact);
    require_as_close(name, test::relative_l2(own, exact), of_published, 0x1p-8);
    require_as_close(name + ", dense bias", test::relative_l2(dense_bias, exact), of_published, 0x1p-8);
  }

  [[nodiscard]] const SamImageBlock<C>& at_layer(dim layer) const {
    return encoder_.blocks[static_cast<std::size_t>(layer)];
  }

  SamImageEncoder<C> encoder_;
  at::Tensor image_;   // [1, 3, image, image]
  at::Tensor tokens_;  // [1, g, g, hidden]
};

}  // namespace lisa::gpu_bench
