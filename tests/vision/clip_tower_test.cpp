#include "lisa/vision/clip_tower.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <set>
#include <string>

#include "tests/support/golden.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

constexpr ClipConfig small{.image = 42, .patch = 14, .hidden = 24, .mlp = 40, .layers = 4, .heads = 3};

template <ClipConfig C>
ClipTower<C> random_tower(at::ScalarType dtype = at::kFloat) {
  ClipTower<C> tower;
  fill_parameters(tower, 11, dtype);
  return tower;
}

constexpr ClipConfig with(ClipConfig c, dim feature_layer, FeatureSelect select) {
  c.feature_layer = feature_layer;
  c.select = select;
  return c;
}

TEST_CASE("the tower gives the original's features") {
  const c10::InferenceMode inference;
  ClipTower<golden_clip> tower;
  assign_parameters(tower, "", golden_tensors("clip_a"));
  for (const std::string name : {"a1", "a2", "a3"}) {
    CAPTURE(name);
    const auto golden = golden_tensors(name + "/" + name + ".safetensors");
    const at::Tensor features = tower.forward(golden.at("pixel_values").view({1, 3, 224, 224}));
    CHECK(shape_of(features) == Shape{1, 256, 32});
    CHECK(relative_l2(features.flatten(), golden.at("clip_features").flatten()) < 1e-5);
  }
}

TEST_CASE("a batch gives the features of its images") {
  const c10::InferenceMode inference;
  const auto tower = random_tower<small>();
  const at::Tensor images = random_tensor({3, 3, 42, 42}, 5);
  const at::Tensor together = tower.forward(images);
  CHECK(shape_of(together) == Shape{3, ClipTower<small>::tokens, ClipTower<small>::out_features});
  for (std::int64_t i = 0; i < 3; ++i) {
    CHECK(relative_l2(together.narrow(0, i, 1), tower.forward(images.narrow(0, i, 1))) < 1e-6);
  }
}

TEST_CASE("the feature layer counts as in hidden_states, and cls_patch keeps the class token in front") {
  const c10::InferenceMode inference;
  const at::Tensor image = random_tensor({1, 3, 42, 42}, 6);
  constexpr ClipConfig last = with(small, -1, FeatureSelect::cls_patch);
  constexpr ClipConfig fourth = with(small, 4, FeatureSelect::patch);
  constexpr ClipConfig embedding = with(small, 0, FeatureSelect::cls_patch);
  const at::Tensor with_class = random_tower<last>().forward(image);
  CHECK(ClipTower<last>::tokens == 10);
  CHECK(with_class.size(1) == 10);
  CHECK(at::equal(with_class.narrow(1, 1, 9), random_tower<fourth>().forward(image)));
  // Layer 0 is the normalised embedding, which no block has touched.
  const auto tower = random_tower<embedding>();
  const at::Tensor patches = at::conv2d(image, tower.patch_embedding, {}, 14).flatten(2).transpose(1, 2);
  const at::Tensor expected = tower.pre_layrnorm.forward(
      at::cat({tower.class_embedding.view({1, 1, -1}), patches}, 1).add(tower.position_embedding));
  CHECK(at::equal(tower.forward(image), expected));
}

TEST_CASE("one block equals the formula of the paper in double precision") {
  const c10::InferenceMode inference;
  constexpr ClipConfig one = with(small, 1, FeatureSelect::cls_patch);
  constexpr ClipConfig none = with(small, 0, FeatureSelect::cls_patch);
  const at::Tensor image = random_tensor({2, 3, 42, 42}, 7, at::kDouble);
  auto tower = random_tower<one>(at::kDouble);
  const at::Tensor x = random_tower<none>(at::kDouble).forward(image);
  const auto& block = tower.layers[0];
  const at::Tensor normed = block.layer_norm1.forward(x);
  at::Tensor attended = at::zeros_like(x);
  for (std::int64_t head = 0; head < 3; ++head) {
    const auto part = [&](const at::Tensor& t) { return t.narrow(-1, 8 * head, 8); };
    const at::Tensor q = part(block.self_attn.q_proj.forward(normed)), k = part(block.self_attn.k_proj.forward(normed));
    const at::Tensor scores = at::matmul(q, k.transpose(1, 2)).div(std::sqrt(8.0));
    part(attended).copy_(at::matmul(at::softmax(scores, -1), part(block.self_attn.v_proj.forward(normed))));
  }
  const at::Tensor middle = x.add(block.self_attn.out_proj.forward(attended));
  const at::Tensor inner = block.fc1.forward(block.layer_norm2.forward(middle));
  const at::Tensor expected = middle.add(block.fc2.forward(inner.div(inner.mul(-1.702).exp().add(1))));
  CHECK(relative_l2(tower.forward(image), expected) < 1e-12);
}

TEST_CASE("reduced precision stays near fp32") {
  const c10::InferenceMode inference;
  const at::Tensor image = random_tensor({1, 3, 42, 42}, 8);
  const at::Tensor reference = random_tower<small>().forward(image);
  const at::Tensor bf16 = random_tower<small>(at::kBFloat16).forward(image.to(at::kBFloat16));
  const at::Tensor fp16 = random_tower<small>(at::kHalf).forward(image.to(at::kHalf));
  CHECK(bool(bf16.scalar_type() == at::kBFloat16));
  CHECK(relative_l2(bf16, reference) < 3e-2);
  CHECK(relative_l2(fp16, reference) < 4e-3);
}

TEST_CASE("a picture of another size is refused by name, found and expected shape") {
  const auto tower = random_tower<small>();
  CHECK_THROWS_WITH_AS((void)tower.forward(at::zeros({1, 3, 28, 42})),
                       "pixel_values: found shape [1, 3, 28, 42], expected [-1, 3, 42, 42]", InputError);
  CHECK_THROWS_AS((void)tower.forward(at::zeros({3, 42, 42})), InputError);
}

TEST_CASE("the tower asks for what it runs, and the rest of a CLIP checkpoint is known as unused") {
  ClipTower<golden_clip> tower;
  std::set<std::string> asked;
  tower.for_each_parameter("", [&](const std::string& name, at::Tensor&, const Shape&) { asked.insert(name); });
  for (const auto& [name, tensor] : golden_tensors("clip_a")) {
    CAPTURE(name);
    CHECK((asked.count(name) == 1) != ClipTower<golden_clip>::is_unused(name));
  }
  for (const char* foreign :
       {"vision_model.embeddings.class_embeding", "vision_model.encoder.layers.1.self_attn.q_proj.weight",
        "vision_model.encoder.layers.3.self_attn.q_proj.weight", "vision_model.encoder.layers.2", "mm_projector.weight",
        "vision_model.encoder.layers.-2.mlp.fc1.bias"}) {
    CAPTURE(foreign);
    CHECK_FALSE(ClipTower<golden_clip>::is_unused(foreign));
  }
}

}  // namespace
