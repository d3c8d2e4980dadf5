#include "lisa/sam/upsample.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/support/golden.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/tensor_compare.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

/// Bilinear interpolation with half-pixel centres along one axis of a row-major [rows, columns] grid.
std::vector<double> stretch_rows(const std::vector<double>& grid, dim rows, dim columns, dim out_rows) {
  std::vector<double> out(static_cast<std::size_t>(out_rows * columns));
  for (dim y = 0; y < out_rows; ++y) {
    const double centre =
        std::max(0.0, (static_cast<double>(y) + 0.5) * static_cast<double>(rows) / static_cast<double>(out_rows) - 0.5);
    const dim low = std::min<dim>(static_cast<dim>(centre), rows - 1), high = std::min(low + 1, rows - 1);
    const double weight = centre - static_cast<double>(low);
    for (dim x = 0; x < columns; ++x) {
      out[static_cast<std::size_t>(y * columns + x)] =
          (1 - weight) * grid[static_cast<std::size_t>(low * columns + x)] +
          weight * grid[static_cast<std::size_t>(high * columns + x)];
    }
  }
  return out;
}

at::Tensor stretch(const at::Tensor& grid, dim rows, dim columns) {
  const auto values = [](const at::Tensor& t) {
    const at::Tensor wide = t.to(at::kDouble).contiguous();
    return std::vector<double>(wide.const_data_ptr<double>(), wide.const_data_ptr<double>() + wide.numel());
  };
  const at::Tensor tall =
      at::tensor(stretch_rows(values(grid), grid.size(0), grid.size(1), rows), at::kDouble).view({rows, grid.size(1)});
  return at::tensor(stretch_rows(values(tall.t()), grid.size(1), rows, columns), at::kDouble).view({columns, rows}).t();
}

TEST_CASE("masks leave at the original's values, from fp32 and from bf16") {
  const auto unit = golden_tensors("units/sam.safetensors");
  const at::Tensor low = unit.at("low_res");
  const ImageExtent resized{657, 1024}, original{120, 187};
  CHECK(largest_difference(mask_logits(low, 1024, resized, original), unit.at("upscaled")) < 1e-5);
  const at::Tensor rounded = mask_logits(low.narrow(0, 0, 1).to(at::kBFloat16), 1024, resized, original);
  CHECK(bool(rounded.scalar_type() == at::kFloat));
  CHECK(largest_difference(rounded, unit.at("upscaled_from_bf16")) < 1e-5);
}

TEST_CASE("both interpolations and the crop follow the half-pixel rule at any extent") {
  const at::Tensor low = random_tensor({1, 1, 6, 6}, 51);
  struct Case {
    ImageExtent resized, original;
  };
  for (const Case c : {Case{{24, 24}, {24, 24}}, Case{{24, 7}, {50, 13}}, Case{{5, 24}, {3, 100}},
                       Case{{1, 24}, {1, 9}}, Case{{24, 1}, {31, 1}}, Case{{13, 11}, {1, 1}}}) {
    CAPTURE(c.resized.height);
    CAPTURE(c.original.height);
    const at::Tensor square = stretch(low[0][0], 24, 24);
    const at::Tensor part = square.narrow(0, 0, c.resized.height).narrow(1, 0, c.resized.width);
    const at::Tensor expected = stretch(part, c.original.height, c.original.width);
    const at::Tensor found = mask_logits(low, 24, c.resized, c.original);
    CHECK(shape_of(found) == Shape{1, 1, c.original.height, c.original.width});
    CHECK(largest_difference(found[0][0], expected) < 1e-5);
  }
}

TEST_CASE("binary masks and their stability are those of the logits") {
  const at::Tensor low = random_tensor({3, 2, 16, 16}, 52).mul(3).set_requires_grad(true);
  const ImageExtent resized{40, 64}, original{75, 120};
  const at::Tensor logits = mask_logits(low, 64, resized, original).detach();
  const BinaryMasks binary = binary_masks(low, 64, resized, original);
  CHECK(at::equal(binary.masks, logits.gt(0)));
  CHECK(at::equal(binary.stability, stability_score(logits)));
}

TEST_CASE("stability is the ratio of the areas at the two thresholds") {
  const at::Tensor logits = at::tensor({2.0, 0.5, -0.5, -2.0, 3.0, 1.0, -1.0, -5.0}, at::kFloat).view({1, 2, 2, 2});
  const at::Tensor score = stability_score(logits);
  CHECK(score[0][0].item<double>() == doctest::Approx(1.0 / 3));
  CHECK(score[0][1].item<double>() == doctest::Approx(1.0 / 2));  // the thresholds themselves are outside
  CHECK(stability_score(logits, 0.25)[0][0].item<double>() == doctest::Approx(1.0));
  CHECK(stability_score(at::full({1, 1, 2, 2}, -9.0)).item<double>() == 1.0);
  CHECK(stability_score(at::full({1, 1, 2, 2}, 0.0)).item<double>() == 0.0);
}

TEST_CASE("extents that cannot be are refused in words") {
  const at::Tensor low = at::zeros({1, 1, 4, 4});
  CHECK_THROWS_WITH_AS((void)mask_logits(low, 16, {17, 16}, {8, 8}),
                       "resized extent: found 17 x 16, expected sides of 1 to 16", InputError);
  CHECK_THROWS_WITH_AS((void)mask_logits(low, 16, {16, 0}, {8, 8}),
                       "resized extent: found 16 x 0, expected sides of 1 to 16", InputError);
  CHECK_THROWS_WITH_AS((void)binary_masks(low, 16, {16, 16}, {0, 8}),
                       "original extent: found 0 x 8, expected sides of at least 1", InputError);
  CHECK_THROWS_AS((void)mask_logits(low[0], 16, {16, 16}, {8, 8}), InputError);
}

}  // namespace
