#include "lisa/llm/greedy_tokens.hpp"

#include <ATen/ops/tensor.h>

#include <cstdint>
#include <limits>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa;

TEST_CASE("the largest logit of each row, without NaN, the lowest id among equals, and only if it is finite") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> values{1,   3,   2,        3,          //
                                   -5,  nan, -4,       -infinity,  //
                                   1,   2,   infinity, 0,          //
                                   nan, nan, nan,      nan};
  const at::Tensor logits = at::tensor(values, at::kDouble).view({4, 4});
  const at::Tensor expected = at::tensor(std::vector<std::int64_t>{1, 2, -1, -1}, at::kLong);
  CHECK(greedy_tokens(logits).equal(expected));
  CHECK(greedy_tokens(logits.to(at::kBFloat16)).equal(expected));
  CHECK(greedy_tokens(logits.narrow(0, 1, 1)).equal(expected.narrow(0, 1, 1)));
}
