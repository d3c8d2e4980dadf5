#include "lisa/sam/prompt_encoder.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>

#include <string>

#include "tests/support/golden.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

at::Tensor chosen(const at::Tensor& encoding, const at::Tensor& index) {
  return encoding.index_select(1, index).index_select(2, index);
}

TEST_CASE("the dense positional encoding of SAM's 64 x 64 grid is the original's, in fp32 and with bf16's rounding") {
  const auto unit = golden_tensors("units/sam.safetensors");
  const at::Tensor gaussian = unit.at("pe_gaussian"), index = unit.at("pe_rows_and_columns");
  const auto encoding = [&](at::ScalarType dtype, PositionalPrecision precision) {
    return chosen(dense_positional_encoding(gaussian.to(dtype), 64, 64, precision), index);
  };
  CHECK(largest_difference(encoding(at::kFloat, PositionalPrecision::weights), unit.at("pe_fp32")) < 1e-5);
  CHECK(at::equal(encoding(at::kBFloat16, PositionalPrecision::weights), unit.at("pe_bf16")));
  // Without the rounding of the argument, bf16 is far from what checkpoints run in bf16 were used with.
  const at::Tensor unrounded = encoding(at::kBFloat16, PositionalPrecision::fp32);
  CHECK(bool(unrounded.scalar_type() == at::kBFloat16));
  CHECK(largest_difference(unrounded, unit.at("pe_bf16")) > 0.02);
}

TEST_CASE("in fp32 both precisions are the same") {
  const at::Tensor gaussian = random_tensor({2, 8}, 31);
  CHECK(at::equal(dense_positional_encoding(gaussian, 5, 7, PositionalPrecision::fp32),
                  dense_positional_encoding(gaussian, 5, 7, PositionalPrecision::weights)));
}

TEST_CASE("rows and columns are the centres of the grid's cells") {
  at::Tensor gaussian = at::zeros({2, 2});
  gaussian[0][0].fill_(0.25);   // x: sin(pi / 2 * x)
  gaussian[1][1].fill_(0.125);  // y: sin(pi / 4 * y)
  const at::Tensor pe = dense_positional_encoding(gaussian, 4, 2, PositionalPrecision::weights);
  REQUIRE(shape_of(pe) == Shape{4, 4, 2});
  CHECK(pe[0][3][0].item<double>() == doctest::Approx(-0.7071068));  // x = -1/2
  CHECK(pe[0][0][1].item<double>() == doctest::Approx(0.7071068));   // x = +1/2
  CHECK(pe[1][0][0].item<double>() == doctest::Approx(-0.5555702));  // y = -3/4
  CHECK(pe[3][3][1].item<double>() == doctest::Approx(0.8314696));   // cosine at y = 3/4
}

TEST_CASE("the prompt encoder gives the original's embeddings and positional encoding") {
  SamPromptEncoder<golden_sam> encoder;
  assign_parameters(encoder, "model.visual_model.prompt_encoder", golden_tensors("model_a"));
  for (const std::string name : {"a1", "a2"}) {
    CAPTURE(name);
    const auto golden = golden_tensors(name + "/" + name + ".safetensors");
    const PromptEmbeddings prompts = encoder.forward(golden.at("seg_vectors").unsqueeze(1));
    CHECK(at::equal(prompts.sparse, golden.at("sparse_embeddings")));
    CHECK(at::equal(prompts.dense.flatten(), golden.at("no_mask_embed").flatten()));
    CHECK(shape_of(prompts.dense) == Shape{1, 32, 1, 1});
    CHECK(relative_l2(encoder.dense_pe().flatten(), golden.at("dense_pe").flatten()) < 1e-6);
  }
}

TEST_CASE("the prompt encoder holds every tensor of SAM's") {
  SamPromptEncoder<golden_sam> encoder;
  const std::string prefix = "model.visual_model.prompt_encoder";
  std::size_t held = 0, stored = 0;
  dim elements = 0;
  encoder.for_each_parameter(prefix, [&](const std::string& name, at::Tensor&, const Shape& shape) {
    ++held;
    dim product = 1;
    for (const dim extent : shape) product *= extent;
    if (!name.ends_with("gaussian_matrix")) elements += product;
  });
  for (const auto& [name, tensor] : golden_tensors("model_a")) stored += name.starts_with(prefix + ".") ? 1 : 0;
  CHECK(held == stored);
  CHECK(elements == prompt_encoder_parameters(golden_sam));
}

TEST_CASE("prompts of another width are refused") {
  SamPromptEncoder<golden_sam> encoder;
  fill_parameters(encoder, 32);
  CHECK_THROWS_WITH_AS((void)encoder.forward(at::zeros({2, 1, 31})),
                       "text_embeddings: found shape [2, 1, 31], expected [-1, -1, 32]", InputError);
}

}  // namespace
