#include "lisa/model/mask_bits.hpp"

#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/support/random_parameters.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

struct Case {
  dim side, square;
  ImageExtent resized, original;
};

TEST_CASE("mask bits are the signs of the full-size logits, but for logits of zero to six digits") {
  for (const Case c : {Case{16, 64, {40, 64}, {75, 120}}, Case{64, 256, {256, 171}, {500, 333}},
                       Case{256, 1024, {576, 1024}, {1080, 1920}}, Case{256, 1024, {1024, 683}, {30, 20}},
                       Case{32, 8, {8, 6}, {20, 15}}}) {
    CAPTURE(c.original.width);
    const at::Tensor low_res = random_tensor({3, c.side, c.side}, 61).mul(4);
    const at::Tensor logits = mask_logits(low_res.unsqueeze(1), c.square, c.resized, c.original);
    const double bound = 1e-6 * low_res.abs().max().item<double>();
    const std::vector<BitMask> masks = mask_bits(low_res, c.square, c.resized, c.original);
    REQUIRE(masks.size() == 3);
    for (std::size_t i = 0; i < masks.size(); ++i) {
      const at::Tensor mask = logits[static_cast<dim>(i)][0];
      const at::Tensor wrong = mask_tensor(masks[i]).ne(mask.gt(0)).logical_and(mask.abs().gt(bound));
      CHECK(wrong.sum().item<std::int64_t>() == 0);
    }
  }
}

TEST_CASE("masks come from every floating dtype, and none from none") {
  const at::Tensor low_res = random_tensor({2, 16, 16}, 62).to(at::kBFloat16);
  const auto wide = mask_bits(low_res.to(at::kDouble), 64, {64, 48}, {100, 75});
  CHECK((mask_bits(low_res, 64, {64, 48}, {100, 75}) == wide));
  CHECK((mask_bits(low_res.transpose(1, 2), 64, {64, 48}, {100, 75}) != wide));
  CHECK(mask_bits(low_res.narrow(0, 0, 0), 64, {64, 48}, {100, 75}).empty());
}

TEST_CASE("extents that cannot be are refused in words") {
  const at::Tensor low_res = random_tensor({1, 4, 4}, 63);
  CHECK_THROWS_WITH_AS((void)mask_bits(low_res, 16, {17, 16}, {8, 8}),
                       "resized extent: found 17 x 16, expected sides of 1 to 16", InputError);
  CHECK_THROWS_WITH_AS((void)mask_bits(low_res, 16, {16, 16}, {0, 8}),
                       "original extent: found 0 x 8, expected sides of at least 1", InputError);
  CHECK_THROWS_AS((void)mask_bits(low_res[0], 16, {16, 16}, {8, 8}), InputError);
}

}  // namespace
