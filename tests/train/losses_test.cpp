#include "lisa/train/losses.hpp"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lisa/files/json.hpp"
#include "tests/support/golden.hpp"
#include "tests/support/gradient_check.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

using namespace lisa;

namespace {

/// Averages as the original's functions do: over `count` masks.
at::Tensor mean_of(const at::Tensor& per_mask, double count) { return per_mask.sum().div(count + 1e-8); }

}  // namespace

TEST_CASE("BCE and DICE of masks equal the original's, gradients too") {
  const Json json = read_json(LISA_TEST_DATA "/golden/units/losses.json");
  const auto tensors = test::golden_tensors("units/losses.safetensors");
  REQUIRE(json.at("rows").size() == 4);
  for (const Json& row : json.at("rows")) {
    const auto name = row.at("name").get<std::string>();
    CAPTURE(name);
    const auto count = row.at("num_masks").get<double>();
    const auto check = [&](const char* loss, const auto& per_mask) {
      const at::Tensor logits = tensors.at(name + ".logits").clone().requires_grad_(true);
      const at::Tensor found = mean_of(per_mask(logits, tensors.at(name + ".target")), count);
      CHECK(found.item<double>() == doctest::Approx(row.at(loss).get<double>()).epsilon(1e-5));
      found.backward();
      CHECK(test::largest_difference(logits.grad(), tensors.at(name + "." + loss + "_grad")) < 1e-7);
    };
    check("bce", [](const auto& x, const auto& y) { return bce_per_mask(x, y); });
    check("dice", [](const auto& x, const auto& y) { return dice_per_mask(x, y); });
  }
}

TEST_CASE("gradients of the losses are those of their values") {
  const at::Tensor logits = test::random_tensor({2, 3, 4}, 1, at::kDouble);
  const at::Tensor targets = test::random_tensor({2, 3, 4}, 2).gt(0).to(at::kDouble);
  CHECK(test::gradient_error([&] { return bce_per_mask(logits, targets); }, {logits}) < 1e-7);
  CHECK(test::gradient_error([&] { return dice_per_mask(logits, targets); }, {logits}) < 1e-7);
  const at::Tensor scores = test::random_tensor({3, 7}, 3, at::kDouble);
  const at::Tensor labels = at::tensor({6, 0, 3}, at::kLong);
  CHECK(test::gradient_error([&] { return text_loss_sum(scores, labels); }, {scores}) < 1e-7);
}

TEST_CASE("the text loss of reduced precision is computed in fp32") {
  const at::Tensor scores = test::random_tensor({5, 11}, 4, at::kBFloat16);
  const at::Tensor labels = at::tensor({1, 2, 3, 4, 5}, at::kLong);
  const at::Tensor found = text_loss_sum(scores, labels);
  CHECK((found.scalar_type() == at::kFloat));
  CHECK(found.item<double>() ==
        doctest::Approx(text_loss_sum(scores.to(at::kDouble), labels).item<double>()).epsilon(1e-6));
}

TEST_CASE("the parts add up to the loss") {
  const LossParts parts{at::full({}, 1.5), at::full({}, 0.25), at::full({}, 4.0)};
  CHECK(parts.mask().item<double>() == 4.25);
  CHECK(parts.total().item<double>() == 5.75);
}
